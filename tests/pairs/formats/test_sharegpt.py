import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.formats import sharegpt

HUMAN = {"from": "human", "value": "Q?"}
ROW = {"conversations": [HUMAN], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}
SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "Q?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        (ROW, PreferencePair([USER], CHOSEN, REJECTED)),
        (ROW | {"chosen": "a", "rejected": "b"}, PreferencePair([USER], CHOSEN, REJECTED)),
        (ROW | {"system": "s"}, PreferencePair([SYSTEM, USER], CHOSEN, REJECTED)),
        (ROW | {"system": "", "tools": ""}, PreferencePair([USER], CHOSEN, REJECTED)),
        (ROW | {"system": None, "tools": None, "id": 3}, PreferencePair([USER], CHOSEN, REJECTED, meta={"id": 3})),
        (
            ROW | {"conversations": [{"from": "system", "value": "s"}, HUMAN, {"from": "gpt", "value": "a"}, HUMAN]},
            PreferencePair([SYSTEM, USER, CHOSEN, USER], CHOSEN, REJECTED),
        ),
        (
            ROW | {"conversations": [{"from": "user", "value": "Q?"}], "chosen": {"from": "assistant", "value": "a"}},
            PreferencePair([USER], CHOSEN, REJECTED),
        ),
    ],
)
def test_read_takes(row, pair):
    assert sharegpt.matches(row)
    assert sharegpt.read(row) == pair


ROLES = "expected one of human, user, gpt, assistant, system"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conversations": []}, "conversations is not a list of turns"),
        ({"conversations": "Q?"}, "conversations is not a list of turns"),
        ({"conversations": [HUMAN, "Q?"]}, "conversations[1] is no turn with a text in `value`"),
        ({"conversations": [{"from": "human"}]}, "conversations[0] is no turn with a text in `value`"),
        ({"conversations": [{"from": "human", "value": ["Q?"]}]}, "conversations[0] is no turn with a text in `value`"),
        ({"conversations": [{"value": "Q?"}]}, f"conversations[0].from is None; {ROLES}"),
        ({"conversations": [{"from": "observation", "value": ""}]}, f"conversations[0].from is 'observation'; {ROLES}"),
        ({"conversations": [{"from": ["human"], "value": ""}]}, f"conversations[0].from is ['human']; {ROLES}"),
        ({"chosen": None}, "chosen is no turn with a text in `value`"),
        ({"rejected": ["b"]}, "rejected is no turn with a text in `value`"),
        ({"rejected": {"from": "human", "value": "b"}}, "rejected.from is not the assistant's"),
        ({"rejected": {"from": {}, "value": "b"}}, f"rejected.from is {{}}; {ROLES}"),
        ({"system": ["s"]}, "system is not text"),
        (
            {"tools": "[{}]"},
            "the row declares tools, whose calls this layout writes as text; they have no sure translation",
        ),
    ],
)
def test_read_says_why_a_row_holds_no_pair(changes, reason):
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        sharegpt.read(ROW | changes)


@pytest.mark.parametrize("key", sorted(ROW))
def test_matches_a_row_with_all_three_keys(key):
    assert sharegpt.matches(ROW)
    assert not sharegpt.matches({name: value for name, value in ROW.items() if name != key})


def test_write_puts_the_system_message_beside_the_turns():
    assert sharegpt.write(PreferencePair([SYSTEM, USER], CHOSEN, REJECTED)) == ROW | {"system": "s"}
    assert sharegpt.write(PreferencePair([USER], CHOSEN, REJECTED)) == ROW


def test_write_keeps_the_text_of_messages_alone():
    parts = {"role": "assistant", "content": [{"type": "text", "text": "a"}], "reasoning": "r"}
    tool = {"role": "tool", "content": "18"}
    row = sharegpt.write(PreferencePair([USER, parts, tool], parts, REJECTED, [{}], weight=2.0, meta={"id": 1}))
    assert row == ROW | {"conversations": [HUMAN, {"from": "gpt", "value": "a"}, {"from": "tool", "value": "18"}]}


TEXTS = st.text(max_size=5)
PAIRS = st.builds(
    lambda system, turns, chosen, rejected: PreferencePair(
        [{"role": "system", "content": system}] * bool(system)
        + [{"role": role, "content": text} for role, text in turns],
        {"role": "assistant", "content": chosen},
        {"role": "assistant", "content": rejected},
    ),
    TEXTS, st.lists(st.tuples(st.sampled_from(["user", "assistant"]), TEXTS), min_size=1, max_size=4), TEXTS, TEXTS,
)  # fmt: skip


@settings(deadline=None)
@given(PAIRS)
def test_read_returns_what_was_written(pair):
    assert sharegpt.read(sharegpt.write(pair)) == pair
