import json

import pytest

TRL = {"prompt": "Q?", "chosen": "a", "rejected": "b"}
PKU = {"prompt": "Q?", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1}
TIE = {"prompt": "Q?", "response 1": "a", "response 2": "b", "label": 2}
SEVERAL = {"instruction": "Q?", "generations": ["a", "b", "c"], "ratings": [1, 2, 3]}


@pytest.fixture
def convert(run, folder):
    """Return a function that converts the file and returns what was said and the rows that were written."""

    def convert(name, *options):
        code, out, err = run("convert", name, "out.jsonl", *options)
        assert (code, err) == (0, "")
        return out, [json.loads(line) for line in (folder / "out.jsonl").read_bytes().splitlines()]

    return convert


def answers(rows):
    return [(row["preferred_output"][0]["content"], row["non_preferred_output"][0]["content"]) for row in rows]


def test_a_known_layout_is_told_by_its_keys(convert, write, good):
    out, rows = convert(write(TRL))
    assert (out, rows) == ("out.jsonl: 1 pair from 1 row read as trl\n", [good()])
    assert convert("pairs.jsonl", "--from", "trl")[1] == rows


@pytest.mark.parametrize("target", ["together", "trl", "sharegpt"])
def test_each_target_is_written_and_read_again(run, convert, write, good, target):
    convert(write(TRL), "--to", target)
    assert run("convert", "out.jsonl", "back.jsonl")[1] == f"back.jsonl: 1 pair from 1 row read as {target}\n"


def test_a_field_map_reads_any_names(convert, write, good):
    row = {"q=1": "Q?", "good": "a", "bad": "b", "s": "Be kind.", "w": 0.5, "id": 3}
    fields = ["prompt=q=1", "chosen=good", "rejected=bad", "system=s", "weight=w"]
    out, rows = convert(write(row), *[word for field in fields for word in ("--field", field)])
    assert out == "out.jsonl: 1 pair from 1 row read as a field map; lost: id (1)\n"
    assert rows[0]["input"]["messages"][0] == {"role": "system", "content": "Be kind."}
    assert rows[0]["weight"] == 0.5


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (["prompt"], "Invalid value for --field: 'prompt': expected NAME=KEY, as in prompt=question"),
        (["chosen=a"], "Invalid value for --field: chosen alone: expected chosen and rejected as well"),
        (["prompt=a", "chosen=a"], "prompt and chosen alone: expected chosen and rejected as well"),
        (["chosen=a", "rejected=b", "answer=c"], "expected chosen, rejected and any of prompt, system, tools, weight"),
    ],
)
def test_a_field_map_that_cannot_be_is_refused(run, write, fields, sentence):
    words = [word for field in fields for word in ("--field", field)]
    code, out, err = run("convert", write(TRL), "out.jsonl", *words)
    assert (code, out) == (2, "")
    assert sentence in err


def test_a_layout_and_a_field_map_are_one_too_many(run, folder, write):
    options = ["--from", "trl", "--field", "chosen=chosen", "--field", "rejected=rejected"]
    code, out, err = run("convert", write(TRL), "out.jsonl", *options)
    assert (code, out) == (2, "")
    assert "--from names a layout and --field maps one: give one of them" in err
    assert not (folder / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("rows", "options", "pairs"),
    [
        ([PKU], ["--label", "better"], [("a", "b")]),
        ([PKU], ["--label", "safer"], [("b", "a")]),
        ([SEVERAL], ["--pairing", "best-worst"], [("c", "a")]),
        ([SEVERAL], ["--pairing", "all"], [("b", "a"), ("c", "a"), ("c", "b")]),
        ([TIE, TIE | {"label": 1}], ["--ties", "drop"], [("b", "a")]),
        ([TRL, {"prompt": "Q?"}], ["--from", "trl", "--unfit", "drop"], [("a", "b")]),
    ],
)
def test_each_choice_decides(convert, write, rows, options, pairs):
    assert answers(convert(write(*rows), *options)[1]) == pairs


@pytest.mark.parametrize("command", ["convert", "sft"])
@pytest.mark.parametrize(
    ("rows", "options", "sentence"),
    [
        ([PKU], [], "expected one label, found several in rows of pku; pass --label 'better' or 'safer'\n"),
        ([PKU], ["--label", "best"], "preftune: --label 'best': expected 'better' or 'safer'; choose one of them\n"),
        ([SEVERAL], [], "; pass --pairing one of 'best-worst', 'best-random', 'all'\n"),
        ([TIE], [], "; pass --ties 'drop' to leave ties out\n"),
        ([TRL, {}], ["--from", "trl"], "or leave such rows out with --unfit 'drop'\n"),
        (
            [TRL],
            ["--pairing", "all"],
            "preftune: --pairing 'all': pairs.jsonl is read as trl, which leaves no such choi",
        ),
        ([TRL], ["--from", "hf"], "preftune: --from 'hf': expected one of together, "),
        ([TRL], ["--from", "hf"], "or a field map such as --field prompt=q --field chosen=good --field rejected=bad; "),
        ([{"a": 1}], [], "found the keys a; pass --from, one of together, "),
    ],
)
def test_an_open_choice_is_asked_for_by_the_name_of_its_option(run, folder, write, command, rows, options, sentence):
    code, out, err = run(command, write(*rows), "out.jsonl", *options)
    assert (code, out) == (2, "")
    assert sentence in err
    assert not (folder / "out.jsonl").exists()


def test_what_was_done_is_one_json_object(run, write):
    code, out, _ = run("convert", write(TRL | {"id": 1}, TRL), "out.jsonl", "--json")
    assert (code, json.loads(out)) == (
        0,
        {"path": "out.jsonl", "source": "trl", "rows": 2, "pairs": 2, "lost": {"id": 1}, "dropped": {}},
    )
