import json

import pytest


def test_split_says_what_it_wrote(run, folder, write, good):
    write(*[good(f"{number}?") for number in range(20)])
    assert run("split", "pairs.jsonl", "a.jsonl", "b.jsonl") == (
        0,
        "a.jsonl: 18 pairs; b.jsonl: 2 pairs; 20 prompts, each on one side only\n",
        "",
    )
    assert (folder / "a.jsonl").read_bytes().count(b"\n") == 18


def test_fraction_and_seed_decide_and_json_tells(run, folder, write, good):
    write(*[good(f"{number}?") for number in range(20)])
    held = []
    for seed in ("1", "1", "-2"):
        code, out, _ = run("split", "pairs.jsonl", "a.jsonl", "b.jsonl", "--fraction", "0.25", "--seed", seed, "--json")
        assert (code, json.loads(out)) == (
            0,
            {"train": "a.jsonl", "validation": "b.jsonl", "train_pairs": 15, "validation_pairs": 5, "prompts": 20},
        )
        held.append((folder / "b.jsonl").read_bytes())
    assert held[0] == held[1] != held[2]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a.jsonl", "a.jsonl"], "a.jsonl: expected a file of its own, found one that is read or written as well"),
        (["a.jsonl", "pairs.jsonl"], "pairs.jsonl: expected a file of its own"),
        (["a.jsonl", "b.txt"], "b.txt: expected a .jsonl file to write, found .txt; rename it"),
        (
            ["a.jsonl", "b.jsonl", "--fraction", "1"],
            "fraction=1.0: expected a share between 0 and 1; 0.1 gives a tenth",
        ),
        (["a.jsonl", "b.jsonl", "--fraction", "half"], "'half' is not a valid float"),
        (["a.jsonl"], "Missing argument 'VALIDATION'."),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(run, folder, write, good, words, sentence):
    write(good("1?"), good("2?"))
    code, out, err = run("split", "pairs.jsonl", *words)
    assert (code, out) == (2, "")
    assert sentence in err
    assert [path.name for path in folder.iterdir()] == ["pairs.jsonl"]


def test_the_command_that_a_refusal_proposes_mends_the_file(run, write, good):
    write(good("1?", tools=[]), good("2?"))
    code, _, err = run("split", "pairs.jsonl", "a.jsonl", "b.jsonl")
    words = err.rpartition("preftune ")[2].split()
    assert (code, words) == (2, ["fix", "pairs.jsonl", "pairs.fixed.jsonl"])
    assert run(*words)[0] == 0
    assert run("split", words[-1], "a.jsonl", "b.jsonl")[0] == 0
