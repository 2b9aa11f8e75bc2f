import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.formats import together, trl
from preftune.pairs.formats.layout import Tie, Unfit, Unrated

SYSTEM = {"role": "system", "content": "s"}
USER, MORE = {"role": "user", "content": "Q?"}, {"role": "user", "content": "And?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
PAIR = PreferencePair([USER], CHOSEN, REJECTED)
TOOLS = [{"type": "function", "function": {"name": "f"}}]


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        ({"prompt": "Q?", "chosen": "a", "rejected": "b"}, PAIR),
        ({"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]}, PAIR),
        ({"prompt": "Q?", "chosen": [CHOSEN], "rejected": [REJECTED]}, PAIR),
        ({"prompt": "Q?", "chosen": CHOSEN, "rejected": REJECTED}, PAIR),
        ({"prompt": [USER], "chosen": "a", "rejected": "b"}, PAIR),
        ({"prompt": [USER], "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]}, PAIR),
        ({"prompt": "Q? ", "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]}, PAIR),
        ({"chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]}, PAIR),
        ({"prompt": None, "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]}, PAIR),
        (
            {"chosen": [USER, CHOSEN, MORE, CHOSEN], "rejected": [USER, CHOSEN, MORE, REJECTED]},
            PreferencePair([USER, CHOSEN, MORE], CHOSEN, REJECTED),
        ),
        (
            {"prompt": "And?", "chosen": [USER, CHOSEN, MORE, CHOSEN], "rejected": [USER, CHOSEN, MORE, REJECTED]},
            PreferencePair([USER, CHOSEN, MORE], CHOSEN, REJECTED),
        ),
        ({"prompt": [CHOSEN], "chosen": [CHOSEN], "rejected": [REJECTED]}, PreferencePair([CHOSEN], CHOSEN, REJECTED)),
        (
            {"prompt": "Q?", "chosen": " a", "rejected": " b"},
            PreferencePair([USER], {"role": "assistant", "content": " a"}, {"role": "assistant", "content": " b"}),
        ),
        (
            {"prompt": "Q?", "system": "s", "chosen": "a", "rejected": "b", "tools": json.dumps(TOOLS), "margin": 9},
            PreferencePair([SYSTEM, USER], CHOSEN, REJECTED, TOOLS, meta={"margin": 9}),
        ),
    ],
)
def test_read_takes(row, pair):
    assert trl.LAYOUT.matches(row)
    assert trl.read(row) == pair


NO_PROMPT = "the row has no prompt, and where it ends in two texts cannot be told; expected a prompt"
DIFFER = "chosen and rejected differ before their last message; expected one context"
ROLES = "system, user, assistant, tool"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "a", "rejected": "b"}, NO_PROMPT),
        ({"chosen": [USER, CHOSEN], "rejected": "b"}, NO_PROMPT),
        ({"chosen": [USER, CHOSEN], "rejected": [MORE, REJECTED]}, DIFFER),
        ({"chosen": [USER, CHOSEN], "rejected": [REJECTED]}, DIFFER),
        ({"chosen": [], "rejected": []}, "chosen is empty; expected a list of messages"),
        ({"chosen": [CHOSEN], "rejected": [REJECTED]}, "chosen is an answer alone; expected the context before it"),
        ({"prompt": [], "chosen": "a", "rejected": "b"}, "prompt is empty; expected a list of messages"),
        ({"prompt": 1, "chosen": "a", "rejected": "b"}, "prompt is a number; expected a list of messages"),
        ({"prompt": [1], "chosen": "a", "rejected": "b"}, "prompt[0] is a number; expected a message"),
        (
            {"prompt": [{"content": "Q?"}], "chosen": "a", "rejected": "b"},
            f"prompt[0].role is missing; expected one of {ROLES}",
        ),
        (
            {"prompt": [{"role": ["user"]}], "chosen": "a", "rejected": "b"},
            f'prompt[0].role is ["user"]; expected one of {ROLES}',
        ),
        ({"prompt": "Q?", "chosen": None, "rejected": "b"}, "chosen is null; expected a message"),
        (
            {"prompt": "Q?", "chosen": [], "rejected": "b"},
            "chosen holds 0 messages; expected exactly one, as the hosted side takes",
        ),
        ({"prompt": "Q?", "chosen": [USER], "rejected": "b"}, "chosen[0] is the user's; expected the assistant's"),
        ({"prompt": "Q?", "chosen": [USER, CHOSEN], "rejected": "b"}, "rejected is text; expected a list of messages"),
        (
            {"prompt": "Q?", "chosen": "a", "rejected": {"role": "assistant"}},
            "rejected.content is missing; expected text or content parts",
        ),
        ({"prompt": [USER], "chosen": [USER, CHOSEN], "rejected": [REJECTED]}, DIFFER),
        (
            {"prompt": "Who?", "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]},
            "chosen holds 2 messages, but not the prompt; expected one answer",
        ),
        (
            {"prompt": [MORE], "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]},
            "chosen holds 2 messages, but not the prompt; expected one answer",
        ),
        ({"prompt": "Q?", "chosen": "a", "rejected": "b", "system": ["s"]}, "system is a list; expected text"),
        (
            {"prompt": "Q?", "chosen": "a", "rejected": "b", "tools": {}},
            "tools is an object; expected a list of objects",
        ),
    ],
)
def test_read_says_why_a_row_holds_no_pair(row, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        trl.read(row)


KEYS = {"prompt": "q", "chosen": "good", "rejected": "bad", "system": "sys", "tools": "fns", "weight": "w"}
MAPPED = {"q": "Q?", "good": "a", "bad": "b"}


def test_a_field_map_reads_what_it_names_and_keeps_the_rest_as_meta():
    assert trl.read_mapped(KEYS, MAPPED) == PAIR
    row = MAPPED | {"sys": "s", "fns": TOOLS, "w": 0.5, "prompt": "else"}
    pair = PreferencePair([SYSTEM, USER], CHOSEN, REJECTED, TOOLS, weight=0.5, meta={"prompt": "else"})
    assert trl.read_mapped(KEYS, row) == pair


def test_a_field_map_without_a_prompt_reads_whole_conversations():
    row = {"good": [USER, CHOSEN], "bad": [USER, REJECTED]}
    assert trl.read_mapped({"chosen": "good", "rejected": "bad"}, row) == PAIR


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"q": 1}, "q is a number; expected a list of messages"),
        ({"good": 1}, "good is a number; expected a message"),
        ({"sys": 1}, "sys is a number; expected text"),
        ({"fns": 1}, "fns is a number; expected a list of objects"),
        ({"w": "1"}, "w is '1'; expected a number"),
        ({"w": True}, "w is true; expected a number"),
        ({"w": float("nan")}, "w is NaN; expected a number"),
        ({"w": -1}, "w is -1; expected a finite number of at least 0"),
        ({"w": float("inf")}, "w is Infinity; expected a finite number of at least 0"),
    ],
)
def test_a_field_map_names_the_key_of_the_file(changes, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        trl.read_mapped(KEYS, MAPPED | changes)


SCORED = {"prompt": "Q?", "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]}


@pytest.mark.parametrize(
    ("more", "meta"),
    [
        ({"prompt_id": "p", "score_chosen": 8, "score_rejected": 3.5, "messages": [USER]},
         {"id": "p", "messages": [USER]}),
        ({"chosen_score": 8, "rejected_score": 3.5, "chosen_model": "m", "rejected_model": "n"},
         {"model_chosen": "m", "model_rejected": "n"}),
        ({"chosen_rating": 8, "rejected_rating": 3.5, "source": "x"}, {"source": "x"}),
        ({"chosen-rating": 8, "rejected-rating": 3.5, "chosen-model": "m"}, {"model_chosen": "m"}),
    ],
)  # fmt: skip
def test_scores_become_meta_under_one_name(more, meta):
    assert trl.SCORED_LAYOUT.matches(SCORED | more)
    pair = PreferencePair([USER], CHOSEN, REJECTED, meta=meta | {"score_chosen": 8, "score_rejected": 3.5})
    assert trl.SCORED_LAYOUT.read(SCORED | more) == pair


def test_equal_scores_are_a_tie_and_a_missing_one_is_no_rating():
    with pytest.raises(Tie, match=r"^score_chosen and score_rejected are both 4$"):
        trl.SCORED_LAYOUT.read(SCORED | {"score_chosen": 4, "score_rejected": 4.0})
    with pytest.raises(Unrated):
        trl.SCORED_LAYOUT.read(SCORED | {"score_chosen": 4, "score_rejected": None})


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("score_chosen", "score_rejected"),
        ("chosen_score", "rejected_score"),
        ("chosen_rating", "rejected_rating"),
        ("chosen-rating", "rejected-rating"),
    ],
)
def test_a_rejected_answer_of_the_higher_score_is_unfit(better, worse):
    with pytest.raises(Unfit, match=f"^{better} is 3.5, less than {worse}, 4; expected the better first$"):
        trl.SCORED_LAYOUT.read(SCORED | {better: 3.5, worse: 4})


def test_write_is_conversational_and_lost_names_what_it_leaves_out():
    pair = PreferencePair([USER], CHOSEN, REJECTED, TOOLS, parallel_tool_calls=True, weight=2.0, meta={"id": 1})
    row = {"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]}
    assert trl.write(pair) == row | {"tools": TOOLS}
    assert list(trl.lost(pair)) == ["parallel_tool_calls", "weight"]
    assert trl.write(PAIR) == row
    assert list(trl.lost(PAIR)) == []


MESSAGES = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text()})
ANSWERS = st.fixed_dictionaries({"role": st.just("assistant"), "content": st.text()})
PAIRS = st.builds(
    PreferencePair,
    prompt=st.lists(MESSAGES, min_size=1, max_size=3),
    chosen=ANSWERS,
    rejected=ANSWERS,
    tools=st.none() | st.just(TOOLS),
)


@settings(deadline=None)
@given(PAIRS)
def test_read_returns_what_was_written(pair):
    assert trl.read(json.loads(json.dumps(trl.write(pair)))) == pair


@settings(deadline=None)
@given(PAIRS)
def test_a_together_row_is_the_same_to_the_byte_after_a_way_through_trl(pair):
    row = json.dumps(together.write(pair))
    there = json.dumps(trl.write(together.read(json.loads(row))))
    assert json.dumps(together.write(trl.read(json.loads(there)))) == row
