import json

import pytest


@pytest.fixture
def some(write, good):
    """Write ten pairs and return the name of their file."""
    return write(*[good(f"What of {number}?", f"It is {number}.", "No.") for number in range(10)])


def test_the_numbers_are_told(run, some):
    code, out, err = run("stats", some)
    assert (code, err) == (0, "")
    assert out.startswith("pairs                 10 in 10 lines, ")
    assert "price" not in out


@pytest.mark.parametrize(("epochs", "words"), [([], "1 epoch"), (["--epochs", "3"], "3 epochs")])
def test_a_price_is_for_the_tokens_of_all_epochs(run, some, epochs, words):
    tokens = json.loads(run("stats", some, "--json")[1])["tokens_per_epoch"]
    _, out, _ = run("stats", some, "--price", "2500", *epochs)
    cost = tokens * int(words[0]) * 2500 / 1e6
    assert out.splitlines()[-1] == f"price                 {cost:,.2f} for {words} at 2500 a million tokens"


@pytest.mark.parametrize(("options", "price"), [([], None), (["--price", "0"], 0.0)])
def test_the_numbers_are_one_json_object(run, some, options, price):
    code, out, _ = run("stats", some, "--json", *options)
    told = json.loads(out)
    assert (code, told["pairs"], told["price"], told["tokens_estimated"]) == (0, 10, price, True)


def test_the_sample_is_measured_alone(run, some):
    assert json.loads(run("stats", some, "--json", "--sample", "4")[1])["sampled"] == 4


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--price", "-1"], "-1.0 is not in the range x>=0"),
        (["--epochs", "0"], "0 is not in the range x>=1"),
        (["--sample", "0"], "0 is not in the range x>=1"),
        (["--tokenizer", "absent.json"], "expected a tokenizer.json"),
    ],
)
def test_an_option_that_cannot_be_is_refused(run, some, options, sentence):
    code, out, err = run("stats", some, *options)
    assert (code, out) == (2, "")
    assert sentence in err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_file_without_a_pair_has_no_numbers_and_the_hint_can_be_pasted(run, write, form):
    code, out, err = run("stats", write({"prompt": "p", "chosen": "a", "rejected": "b"}), *form)
    assert (code, out) == (2, "")
    assert "preftune convert pairs.jsonl pairs.pairs.jsonl --from trl" in err
