import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.formats import together
from preftune.pairs.formats.layout import Unfit

USER = {"role": "user", "content": "Q?", "name": "Ann"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a", "reasoning": "r"}, {"role": "assistant", "content": "b"}
ROW = {"input": {"messages": [USER]}, "preferred_output": [CHOSEN], "non_preferred_output": [REJECTED]}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
readers = pytest.mark.parametrize("read", [together.read, together.LAYOUT.read])


@readers
def test_read_keeps_every_message_as_it_came(read):
    assert read(ROW) == PreferencePair([USER], CHOSEN, REJECTED)


@readers
def test_read_and_write_carry_tools_parallel_tool_calls_and_weight(read):
    row = ROW | {"input": {"messages": [USER], "tools": TOOLS, "parallel_tool_calls": False}, "weight": 0.5}
    pair = PreferencePair([USER], CHOSEN, REJECTED, TOOLS, parallel_tool_calls=False, weight=0.5)
    assert read(row) == pair
    assert together.write(pair) == row


@readers
def test_read_keeps_unknown_keys_as_meta(read):
    row = ROW | {"id": 7, "none": None, "input": {"messages": [USER], "temperature": 1}}
    assert read(row).meta == {"id": 7, "input.temperature": 1}


def test_write_leaves_meta_out_and_adds_no_empty_key():
    assert together.write(PreferencePair([USER], CHOSEN, REJECTED, meta={"id": 7})) == ROW


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"input": [USER]}, "input is a list; expected an object with messages"),
        ({"input": {"messages": []}}, "input.messages is empty; expected a list of messages"),
        ({"preferred_output": CHOSEN}, "preferred_output is an object; expected a list of one message"),
        (
            {"preferred_output": [CHOSEN, CHOSEN]},
            "preferred_output holds 2 messages; expected exactly one, as the hosted side takes",
        ),
        ({"non_preferred_output": [USER]}, "non_preferred_output[0] is the user's; expected the assistant's"),
    ],
)
def test_the_layout_says_why_a_row_holds_no_pair(changes, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        together.LAYOUT.read(ROW | changes)


@pytest.mark.parametrize("key", sorted(ROW))
def test_matches_a_row_with_all_three_keys(key):
    assert together.LAYOUT.matches(ROW | {"more": 1})
    assert not together.LAYOUT.matches({name: value for name, value in ROW.items() if name != key})


def messages(role):
    return st.fixed_dictionaries({"role": role, "content": st.text()}, optional={"name": st.text()})


PAIRS = st.builds(
    PreferencePair,
    prompt=st.lists(messages(st.sampled_from(["system", "user", "assistant", "tool"])), min_size=1, max_size=4),
    chosen=messages(st.just("assistant")),
    rejected=messages(st.just("assistant")),
    tools=st.none() | st.just(TOOLS),
    parallel_tool_calls=st.none() | st.booleans(),
    weight=st.none() | st.floats(min_value=0, allow_infinity=False),
)


@settings(deadline=None)
@given(PAIRS)
def test_read_returns_what_was_written(pair):
    assert together.read(together.write(pair)) == together.LAYOUT.read(together.write(pair)) == pair
