import json

import pytest

MESSAGES = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "a"}]


@pytest.mark.parametrize(
    ("layout", "written"),
    [
        ("conversational", {"messages": MESSAGES}),
        ("instruction", {"prompt": "Q?", "completion": "a"}),
        ("text", {"text": "User: Q?\n\nAssistant: a"}),
    ],
)
def test_each_layout_is_written(run, folder, write, good, layout, written):
    assert run("sft", write(good()), "sft.jsonl", "--layout", layout) == (0, "sft.jsonl: 1 row\n", "")
    assert json.loads((folder / "sft.jsonl").read_bytes()) == written


def test_options_say_how_the_source_is_read(run, folder, write):
    name = write({"q": "Q?", "x": "a", "y": "b"})
    code, _, err = run("sft", name, "sft.jsonl", "--field", "prompt=q", "--field", "chosen=x", "--field", "rejected=y")
    assert (code, err) == (0, "")
    assert json.loads((folder / "sft.jsonl").read_bytes()) == {"messages": MESSAGES}


def test_what_was_done_is_one_json_object(run, write, good):
    code, out, _ = run("sft", write(good(), good(weight=0)), "sft.jsonl", "--json")
    assert (code, json.loads(out)) == (0, {"path": "sft.jsonl", "rows": 1, "skipped": 1, "lost": {}})


def test_a_set_that_trains_nothing_is_refused(run, folder, write, good):
    code, out, err = run("sft", write(good(weight=0)), "sft.jsonl")
    assert (code, out) == (2, "")
    assert "expected pairs to train on, found 1 pair of weight 0" in err
    assert not (folder / "sft.jsonl").exists()
