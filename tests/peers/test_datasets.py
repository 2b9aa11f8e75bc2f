"""Rows as a real `datasets.Dataset` hands them out, and Parquet files as it writes them."""

import importlib.util
import json

import pytest

if importlib.util.find_spec("datasets") is None:
    pytest.skip("datasets is not in this environment: make peers", allow_module_level=True)

import datasets

import preftune as pt
from preftune.pairs import read


def user(text):
    return {"role": "user", "content": text}


def said(text):
    return {"role": "assistant", "content": text}


TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CONVERSATIONAL = [
    {"prompt": [user("Größe? 三")], "chosen": [said("Groß 🎉")], "rejected": [said("Klein")]},
    {
        "prompt": [{"role": "system", "content": "Be short."}, user("P"), said("Q?"), user("Yes.")],
        "chosen": [said("a")],
        "rejected": [said("b")],
    },
]
PLAIN = [{"prompt": f"question {i}", "chosen": f"answer {i}", "rejected": "perhaps"} for i in range(3)]
TOGETHER = [
    {
        "input": {"messages": [user("Rain?")], "tools": [TOOL]},
        "preferred_output": [{"role": "assistant", "tool_calls": [CALL]}],
        "non_preferred_output": [said("I do not know.")],
    },
    {
        "input": {"messages": [{"role": "system", "content": "Be short."}, user("Sun?")]},
        "preferred_output": [said("Yes.")],
        "non_preferred_output": [said("Who knows?")],
    },
]
SHAREGPT = [
    {
        "conversations": [{"from": "human", "value": "Rain?"}],
        "chosen": {"from": "gpt", "value": "No."},
        "rejected": {"from": "gpt", "value": "Who knows?"},
    }
]
SCORED = [
    {
        "prompt": "p",
        "chosen": [user("p"), said("a")],
        "rejected": [user("p"), said("b")],
        "score_chosen": 8.5,
        "score_rejected": 2.0,
    }
]
LABELLED = [
    {"prompt": "p", "completion": "good", "label": True},
    {"prompt": "p", "completion": "bad", "label": False},
    {"prompt": "q", "completion": "fine", "label": True},
    {"prompt": "q", "completion": "poor", "label": False},
]
ROWS = {
    "conversational": (CONVERSATIONAL, {}),
    "plain": (PLAIN, {}),
    "together": (TOGETHER, {}),
    "sharegpt": (SHAREGPT, {}),
    "scored": (SCORED, {}),
    "labelled": (LABELLED, {"pairing": "all"}),
    "mapped": ([{"q": "p", "good": "a", "bad": "b"}], {"source": {"prompt": "q", "chosen": "good", "rejected": "bad"}}),
}


@pytest.mark.parametrize(("rows", "choices"), ROWS.values(), ids=ROWS)
def test_a_dataset_and_its_parquet_file_hold_the_pairs_of_the_rows_that_made_it(tmp_path, rows, choices):
    dataset = datasets.Dataset.from_list(rows)
    path = tmp_path / "pairs.parquet"
    dataset.to_parquet(path)
    pairs = list(read(rows, **choices))
    assert pairs
    assert list(read(dataset, **choices)) == pairs
    assert list(read(path, **choices)) == pairs


@pytest.mark.parametrize(("rows", "choices"), ROWS.values(), ids=ROWS)
def test_a_dataset_and_its_parquet_file_are_converted_to_the_bytes_that_the_rows_are(tmp_path, rows, choices):
    dataset = datasets.Dataset.from_list(rows)
    dataset.to_parquet(tmp_path / "pairs.parquet")
    written = []
    for number, source in enumerate((rows, dataset, tmp_path / "pairs.parquet")):
        done = pt.convert(source, tmp_path / f"{number}.jsonl", **choices)
        written.append((done.source, done.rows, done.pairs, done.lost, done.path.read_bytes()))
    assert written == [written[0]] * 3
    assert pt.check(tmp_path / "1.jsonl").ok


def test_a_streamed_dataset_and_one_that_hands_out_arrays_hold_the_same_pairs():
    dataset = datasets.Dataset.from_list(CONVERSATIONAL)
    pairs = list(read(CONVERSATIONAL))
    assert list(read(dataset.to_iterable_dataset())) == pairs
    assert list(read(dataset.with_format("numpy"))) == pairs


def test_converted_pairs_come_back_through_a_dataset_of_the_file(tmp_path):
    path = pt.convert(CONVERSATIONAL, tmp_path / "pairs.jsonl").path
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert list(read(datasets.Dataset.from_list(rows))) == list(read(path)) == list(read(CONVERSATIONAL))


def test_a_dataset_of_several_splits_is_refused_with_their_names():
    both = datasets.DatasetDict(train=datasets.Dataset.from_list(PLAIN), test=datasets.Dataset.from_list(PLAIN))
    with pytest.raises(pt.errors.DataError) as raised:
        read(both)
    assert str(raised.value) == (
        "the source: expected a path or rows, found a mapping of train, test; pass one of its values"
    )
