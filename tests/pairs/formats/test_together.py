import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.formats import together

USER = {"role": "user", "content": "Q?", "name": "Ann"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a", "reasoning": "r"}, {"role": "assistant", "content": "b"}
ROW = {"input": {"messages": [USER]}, "preferred_output": [CHOSEN], "non_preferred_output": [REJECTED]}
TOOLS = [{"type": "function", "function": {"name": "f"}}]


def test_read_keeps_every_message_as_it_came():
    assert together.read(ROW) == PreferencePair([USER], CHOSEN, REJECTED)


def test_read_and_write_carry_tools_parallel_tool_calls_and_weight():
    row = ROW | {"input": {"messages": [USER], "tools": TOOLS, "parallel_tool_calls": False}, "weight": 0.5}
    pair = PreferencePair([USER], CHOSEN, REJECTED, TOOLS, parallel_tool_calls=False, weight=0.5)
    assert together.read(row) == pair
    assert together.write(pair) == row


def test_read_keeps_unknown_keys_as_meta():
    row = ROW | {"id": 7, "input": {"messages": [USER], "temperature": 1}}
    assert together.read(row).meta == {"id": 7, "input.temperature": 1}


def test_write_leaves_meta_out_and_adds_no_empty_key():
    assert together.write(PreferencePair([USER], CHOSEN, REJECTED, meta={"id": 7})) == ROW


@pytest.mark.parametrize("key", sorted(ROW))
def test_matches_a_row_with_all_three_keys(key):
    assert together.matches(ROW | {"more": 1})
    assert not together.matches({name: value for name, value in ROW.items() if name != key})


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
    assert together.read(together.write(pair)) == pair
