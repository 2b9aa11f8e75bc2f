import json

import pytest

from preftune.api.config import JobConfig
from preftune.local.examples import UserError, budget_of, learns_inputs, read_examples

CHAT = [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "yes"}]
PAIR = {
    "input": {"messages": CHAT[:1]},
    "preferred_output": CHAT[1:],
    "non_preferred_output": [{"role": "assistant", "content": "no, not at all"}],
}
DPO = {"training_method": "dpo"}


@pytest.fixture
def write(tmp_path):
    def rows(*given):
        path = tmp_path / "file-1"
        path.write_text("".join(json.dumps(row) + "\n" for row in given))
        return path

    return rows


def read(path, kind, **fields):
    return read_examples(path, kind, JobConfig(model="m", **fields), split="training")


def test_a_conversation_is_learned_by_its_answers(write):
    objective, cut = read(write({"messages": CHAT}, {"messages": CHAT * 2}), "conversation")
    assert (len(objective), objective.tokens, cut) == (2, 3 * len("yes|"), "")


def test_inputs_are_learned_when_asked_for(write):
    objective, _ = read(write({"messages": CHAT}), "conversation", train_on_inputs=True)
    assert objective.tokens == len("Q?|yes|")


def test_pairs_are_learned_by_both_sides(write):
    objective, cut = read(write(PAIR, PAIR), "preference_openai", **DPO)
    assert (len(objective), objective.tokens, cut) == (2, 2 * len("yes|no, not at all|"), "")


def test_what_the_budget_cuts_is_told(write):
    _, cut = read(write(PAIR, PAIR), "preference_openai", max_seq_length=12, **DPO)
    assert cut == "2 pairs of the training file were cut to 12 bytes."
    long = {"messages": [{"role": "user", "content": "Q" * 20}, CHAT[1]]}
    objective, cut = read(write({"messages": CHAT}, long), "conversation", max_seq_length=12)
    assert (len(objective), cut) == (
        1,
        "1 examples of the training file were cut to 12 bytes; 1 had no answer left and were dropped.",
    )


@pytest.mark.parametrize(
    ("row", "kind", "fields", "sentence"),
    [
        ({"messages": CHAT}, "conversation", DPO, "holds conversation rows; preference tuning needs preference rows"),
        (PAIR, "preference_openai", {}, "holds preference rows; supervised tuning needs conversations"),
        (PAIR, "preference_openai", DPO | {"max_seq_length": 2}, "The budget of 2 bytes a side leaves no answer"),
        ({"messages": CHAT}, "conversation", {"max_seq_length": 2}, "keep no answer within the budget of 2 bytes"),
        ({"messages": [CHAT[0], CHAT[1] | {"weight": 0}]}, "conversation", {}, "leave nothing to learn"),
    ],
)
def test_a_file_that_leaves_nothing_to_train_on_is_the_users_error(write, row, kind, fields, sentence):
    with pytest.raises(UserError, match=sentence):
        read(write(row), kind, **fields)


def test_the_budget_is_the_users_or_the_longest_of_the_method():
    assert [budget_of(JobConfig(model="m", **fields)) for fields in ({}, DPO, DPO | {"max_seq_length": 99})] == [
        65_536,
        32_768,
        99,
    ]


def test_only_supervised_training_learns_inputs():
    assert [learns_inputs(JobConfig(model="m", train_on_inputs=value)) for value in (True, False, "auto", None)] == [
        True,
        False,
        False,
        False,
    ]
