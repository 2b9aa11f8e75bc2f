import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.formats import sharegpt, together
from preftune.pairs.formats.layout import Unfit

HUMAN = {"from": "human", "value": "Q?"}
ROW = {"conversations": [HUMAN], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}}
SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "Q?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
PAIR = PreferencePair([USER], CHOSEN, REJECTED)
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def called(*calls, **more):
    """Return a message that calls functions, each given as its name and its arguments."""
    functions = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {"role": "assistant", "tool_calls": [{"type": "function", "function": f} for f in functions], **more}


CALL_TURN = {"from": "function_call", "value": '{"name": "f", "arguments": {"é": 1}}'}
CALL, RESULT = called(("f", '{"é": 1}')), {"role": "tool", "content": "18"}


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        (ROW, PAIR),
        (ROW | {"chosen": "a", "rejected": "b"}, PAIR),
        (ROW | {"system": "s"}, PreferencePair([SYSTEM, USER], CHOSEN, REJECTED)),
        (ROW | {"system": "", "tools": ""}, PAIR),
        (ROW | {"system": None, "tools": None, "id": 3}, PreferencePair([USER], CHOSEN, REJECTED, meta={"id": 3})),
        (
            ROW | {"conversations": [{"from": "system", "value": "s"}, HUMAN, {"from": "gpt", "value": "a"}, HUMAN]},
            PreferencePair([SYSTEM, USER, CHOSEN, USER], CHOSEN, REJECTED),
        ),
        (
            ROW | {"conversations": [{"from": "user", "value": "Q?"}], "chosen": {"from": "assistant", "value": "a"}},
            PAIR,
        ),
        (
            {
                "conversations": [HUMAN, CALL_TURN, {"from": "observation", "value": "18"}],
                "tools": '[{"name": "f", "parameters": {}}]',
                "chosen": {"from": "function_call", "value": '[{"name": "f", "arguments": "{}"}, {"name": "g"}]'},
                "rejected": "Action: f",
            },
            PreferencePair(
                [USER, CALL, RESULT], called(("f", "{}"), ("g", "{}")),
                {"role": "assistant", "content": "Action: f"}, TOOLS,
            ),
        ),
    ],
)  # fmt: skip
def test_read_takes(row, pair):
    assert sharegpt.read(row) == pair


ROLES = "expected one of human, user, gpt, assistant, system, observation, tool, function_call"
NO_CALL = "conversations[0].value is {}; expected {}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"conversations": []}, "conversations is empty; expected a list of messages"),
        ({"conversations": "Q?"}, "conversations is text; expected a list of messages"),
        ({"conversations": [HUMAN, "Q?"]}, "conversations[1] is text; expected a turn with from and value"),
        ({"conversations": [{"from": "human"}]}, "conversations[0].value is missing; expected text"),
        ({"conversations": [{"from": "human", "value": ["Q?"]}]}, "conversations[0].value is a list; expected text"),
        ({"conversations": [{"value": "Q?"}]}, f"conversations[0].from is null; {ROLES}"),
        ({"conversations": [{"from": "bot", "value": ""}]}, f"conversations[0].from is 'bot'; {ROLES}"),
        ({"conversations": [{"from": ["human"], "value": ""}]}, f'conversations[0].from is ["human"]; {ROLES}'),
        (
            {"conversations": [{"from": "function_call", "value": "f()"}]},
            NO_CALL.format("'f()'", "JSON in text"),
        ),
        (
            {"conversations": [{"from": "function_call", "value": '["f"]'}]},
            NO_CALL.format("""'["f"]'""", "a call with name and arguments"),
        ),
        (
            {"conversations": [{"from": "function_call", "value": "[]"}]},
            NO_CALL.format("'[]'", "a call with name and arguments"),
        ),
        ({"chosen": None}, "chosen is null; expected a turn with from and value"),
        ({"rejected": ["b"]}, "rejected[0] is text; expected a turn with from and value"),
        ({"rejected": {"from": "human", "value": "b"}}, "rejected is the user's; expected the assistant's"),
        ({"system": ["s"]}, "system is a list; expected text"),
        ({"tools": "f"}, "tools is 'f'; expected JSON in text"),
    ],
)
def test_read_says_why_a_row_holds_no_pair(changes, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        sharegpt.read(ROW | changes)


def test_write_puts_the_system_message_beside_the_turns():
    assert sharegpt.write(PreferencePair([SYSTEM, USER], CHOSEN, REJECTED)) == ROW | {"system": "s"}
    assert sharegpt.write(PAIR) == ROW
    alone = ROW | {"conversations": [{"from": "system", "value": "s"}]}
    assert sharegpt.write(PreferencePair([SYSTEM], CHOSEN, REJECTED)) == alone


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
PART = {"type": "text", "text": "a"}


@pytest.mark.parametrize(
    ("pair", "row", "lost"),
    [
        (PreferencePair([USER, CALL, RESULT], CHOSEN, REJECTED, TOOLS),
         {"conversations": [HUMAN, CALL_TURN, {"from": "observation", "value": "18"}],
          "tools": '[{"name": "f", "parameters": {}}]'}, []),
        (PreferencePair([USER], {"role": "assistant", "content": [PART]}, REJECTED), {}, []),
        (PreferencePair([{"role": "user", "content": [PART, IMAGE]}], CHOSEN, REJECTED),
         {"conversations": [{"from": "human", "value": "a"}]}, ["content that is not text"]),
        (PreferencePair([USER], CHOSEN | {"reasoning": "r"}, REJECTED | {"reasoning_content": "r", "name": "n"}), {},
         ["name", "reasoning", "reasoning"]),
        (PreferencePair([USER], CHOSEN, REJECTED, [{"name": "f"}], parallel_tool_calls=False, weight=2.0), {},
         ["parallel_tool_calls", "tools", "weight"]),
        (PreferencePair([USER], CHOSEN, REJECTED, [{"type": "function", "function": "f"}]), {}, ["tools"]),
        (PreferencePair([USER], CHOSEN, REJECTED, "tools"), {}, ["tools"]),
        (PreferencePair([USER], CHOSEN, REJECTED, []), {}, []),
        (PreferencePair([USER], called(("f", "{}"), content="a"), REJECTED), {}, ["tool_calls"]),
        (PreferencePair([USER], called(("f", "not JSON"), content="a"), REJECTED), {}, ["tool_calls"]),
        (PreferencePair([USER], called(("f", "not JSON")), REJECTED),
         {"chosen": {"from": "gpt", "value": ""}}, ["tool_calls"]),
        (PreferencePair([USER], CHOSEN | {"content": "", "tool_calls": ["f"]}, REJECTED),
         {"chosen": {"from": "gpt", "value": ""}}, ["tool_calls"]),
        (PreferencePair([USER], called((7, "{}"), content=None), REJECTED),
         {"chosen": {"from": "gpt", "value": ""}}, ["tool_calls"]),
        (PreferencePair([USER], {"role": "assistant", "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f"}}, {"function": {"name": "g", "arguments": {}}},
         ]}, REJECTED),
         {"chosen": {"from": "function_call", "value": '[{"name": "f"}, {"name": "g", "arguments": {}}]'}},
         ["tool_call_id"]),
        (PreferencePair([USER, RESULT | {"tool_call_id": "c1"}], CHOSEN, REJECTED),
         {"conversations": [HUMAN, {"from": "observation", "value": "18"}]}, ["tool_call_id"]),
    ],
)  # fmt: skip
def test_write_keeps_what_it_can_and_lost_names_the_rest(pair, row, lost):
    assert sharegpt.write(pair) == ROW | row
    assert sorted(sharegpt.lost(pair)) == lost


TEXTS = st.text(max_size=5)
ARGUMENTS = st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=2).map(lambda a: json.dumps(a, ensure_ascii=False))
CALLS = st.lists(st.tuples(TEXTS, ARGUMENTS), min_size=1, max_size=2).map(lambda calls: called(*calls))
SAID = st.builds(
    lambda role, text: {"role": role, "content": text}, st.sampled_from(["system", "user", "assistant", "tool"]), TEXTS
)
ANSWERS = st.builds(lambda text: {"role": "assistant", "content": text}, TEXTS)
PAIRS = st.builds(
    PreferencePair, st.lists(SAID | CALLS, min_size=1, max_size=4), ANSWERS | CALLS, ANSWERS | CALLS,
    st.none() | st.just(TOOLS),
)  # fmt: skip


@settings(deadline=None)
@given(PAIRS)
def test_read_returns_what_was_written_and_nothing_is_lost(pair):
    assert sharegpt.read(json.loads(json.dumps(sharegpt.write(pair)))) == pair
    assert list(sharegpt.lost(pair)) == []


@settings(deadline=None)
@given(st.lists(SAID, min_size=1, max_size=4), ANSWERS, ANSWERS)
def test_a_together_row_is_the_same_to_the_byte_after_a_way_through_sharegpt(prompt, chosen, rejected):
    row = json.dumps(together.write(PreferencePair(prompt, chosen, rejected)))
    there = json.dumps(sharegpt.write(together.read(json.loads(row))))
    assert json.dumps(together.write(sharegpt.read(json.loads(there)))) == row


# LLaMA-Factory v1


def said(role, text, weight=None, **more):
    parts = [{"type": kind, "value": value} for kind, value in ({"text": text} | more).items()]
    return {"role": role, "content": parts} | ({} if weight is None else {"loss_weight": weight})


def test_v1_joins_parts_keeps_reasoning_and_tells_loss_weights(layouts):
    row = {
        "chosen_messages": [said("user", "Q?", 0.0), said("assistant", "a", 1.0, reasoning="r")],
        "rejected_messages": [said("user", "Q?", 0.0), said("assistant", "b", 1.0)],
        "tools": '[{"name": "f", "parameters": {}}]',
    }
    assert layouts["llamafactory-v1"].read(row) == PreferencePair(
        [USER], CHOSEN | {"reasoning": "r"}, REJECTED, TOOLS, meta={"loss_weight": [0.0, 1.0]}
    )
    row = {key: [said("user", "Q?"), said("assistant", "a")] for key in ("chosen_messages", "rejected_messages")}
    assert layouts["llamafactory-v1"].read(row) == PreferencePair([USER], CHOSEN, CHOSEN)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("a", "chosen_messages[0] is text; expected a message"),
        ({"role": "user", "content": "a"}, "chosen_messages[0].content is text; expected a list of objects"),
        (said("bot", "a"), "chosen_messages[0].role is 'bot'; expected one of system, user, assistant, tool"),
        (
            {"role": "user", "content": [{"type": "image_url"}]},
            "chosen_messages[0].content[0].type is 'image_url'; expected text or reasoning",
        ),
        (
            {"role": "user", "content": [{"type": "text"}]},
            "chosen_messages[0].content[0].value is missing; expected text",
        ),
    ],
)
def test_v1_says_why_a_row_holds_no_pair(layouts, message, reason):
    answer = said("assistant", "a")
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        layouts["llamafactory-v1"].read({"chosen_messages": [message, answer], "rejected_messages": [message, answer]})
