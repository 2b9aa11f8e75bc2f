import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.formats import together, trl

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
        ({"prompt": [USER], "chosen": "a", "rejected": "b"}, PAIR),
        ({"prompt": [USER], "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]}, PAIR),
        ({"chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]}, PAIR),
        ({"prompt": None, "chosen": [USER, CHOSEN], "rejected": [USER, REJECTED]}, PAIR),
        (
            {"chosen": [USER, CHOSEN, MORE, CHOSEN], "rejected": [USER, CHOSEN, MORE, REJECTED]},
            PreferencePair([USER, CHOSEN, MORE], CHOSEN, REJECTED),
        ),
        ({"prompt": [CHOSEN], "chosen": [CHOSEN], "rejected": [REJECTED]}, PreferencePair([CHOSEN], CHOSEN, REJECTED)),
        (
            {"prompt": "Q?", "chosen": " a", "rejected": " b"},
            PreferencePair([USER], {"role": "assistant", "content": " a"}, {"role": "assistant", "content": " b"}),
        ),
        (
            {"prompt": "Q?", "chosen": "a", "rejected": "b", "tools": TOOLS, "score_chosen": 9},
            PreferencePair([USER], CHOSEN, REJECTED, TOOLS, meta={"score_chosen": 9}),
        ),
    ],
)
def test_read_takes(row, pair):
    assert trl.matches(row)
    assert trl.read(row) == pair


NO_PROMPT = "chosen and rejected are texts without a prompt; where the prompt ends cannot be told"
DIFFER = "chosen and rejected differ before their last message; they must share the whole context"
BAD_PROMPT = "prompt is neither text nor a list of messages"
BAD_CHOSEN = "chosen is neither text nor a list of one message after the prompt"
BAD_REJECTED = "rejected is neither text nor a list of one message after the prompt"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"chosen": "a", "rejected": "b"}, NO_PROMPT),
        ({"chosen": [USER, CHOSEN], "rejected": "b"}, NO_PROMPT),
        ({"chosen": [USER, CHOSEN], "rejected": [MORE, REJECTED]}, DIFFER),
        ({"chosen": [USER, CHOSEN], "rejected": [REJECTED]}, DIFFER),
        ({"chosen": [], "rejected": []}, BAD_PROMPT),
        ({"chosen": [CHOSEN], "rejected": [REJECTED]}, BAD_PROMPT),
        ({"prompt": [], "chosen": "a", "rejected": "b"}, BAD_PROMPT),
        ({"prompt": 1, "chosen": "a", "rejected": "b"}, BAD_PROMPT),
        ({"prompt": {"role": "user"}, "chosen": "a", "rejected": "b"}, BAD_PROMPT),
        ({"prompt": [1], "chosen": "a", "rejected": "b"}, BAD_PROMPT),
        ({"prompt": [{"content": "Q?"}], "chosen": "a", "rejected": "b"}, BAD_PROMPT),
        ({"prompt": [{"role": ["user"]}], "chosen": "a", "rejected": "b"}, BAD_PROMPT),
        ({"chosen": [1, CHOSEN], "rejected": [1, REJECTED]}, BAD_PROMPT),
        ({"prompt": "Q?", "chosen": None, "rejected": "b"}, BAD_CHOSEN),
        ({"prompt": "Q?", "chosen": [], "rejected": "b"}, BAD_CHOSEN),
        ({"prompt": "Q?", "chosen": ["a"], "rejected": "b"}, BAD_CHOSEN),
        ({"prompt": "Q?", "chosen": [{"content": "a"}], "rejected": "b"}, BAD_CHOSEN),
        ({"prompt": "Q?", "chosen": [USER, CHOSEN], "rejected": "b"}, BAD_CHOSEN),
        ({"prompt": "Q?", "chosen": "a", "rejected": {"role": "assistant"}}, BAD_REJECTED),
        ({"prompt": [USER], "chosen": [USER, CHOSEN], "rejected": None}, BAD_CHOSEN),
        ({"prompt": [USER], "chosen": [USER, CHOSEN], "rejected": "a text"}, BAD_CHOSEN),
        ({"prompt": [USER], "chosen": [USER, CHOSEN], "rejected": [REJECTED]}, BAD_CHOSEN),
        ({"prompt": [USER], "chosen": [USER, CHOSEN], "rejected": [MORE, REJECTED]}, BAD_CHOSEN),
    ],
)
def test_read_says_why_a_row_holds_no_pair(row, reason):
    with pytest.raises(ValueError, match=f"^{reason}$"):
        trl.read(row)


def test_matches_no_row_of_another_layout():
    assert not trl.matches({"chosen": "a"})
    assert not trl.matches({"chosen": "a", "rejected": "b", "conversations": []})


def test_write_is_conversational_and_leaves_weight_and_meta_out():
    pair = PreferencePair([USER], CHOSEN, REJECTED, TOOLS, parallel_tool_calls=True, weight=2.0, meta={"id": 1})
    row = {"prompt": [USER], "chosen": [CHOSEN], "rejected": [REJECTED]}
    assert trl.write(pair) == row | {"tools": TOOLS}
    assert trl.write(PAIR) == row


MESSAGES = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": st.text()})
PAIRS = st.builds(
    PreferencePair,
    prompt=st.lists(MESSAGES, min_size=1, max_size=3),
    chosen=MESSAGES,
    rejected=MESSAGES,
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
