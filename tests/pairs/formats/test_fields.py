import re

import pytest

from preftune.pairs.formats.fields import answer, message, number, one_of, rest, text, tools
from preftune.pairs.formats.layout import Unfit

A = {"role": "assistant", "content": "a"}
PARTS = {"role": "user", "content": [{"type": "text", "text": "Q?"}]}
CALL = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f"}}]}
TOOL = {"type": "function", "function": {"name": "f"}}


@pytest.mark.parametrize("value", [A, PARTS, CALL, {"role": "assistant", "tool_calls": [{}]}, A | {"name": "n"}])
def test_a_message_is_returned_as_it_came(value):
    assert message(value, "prompt[0]") is value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "m is null; expected a message"),
        ({"content": "a"}, "m.role is missing; expected one of system, user, assistant, tool"),
        ({"role": "bot", "content": "a"}, "m.role is 'bot'; expected one of system, user, assistant, tool"),
        ({"role": "user", "content": []}, "m.content is a list; expected text or content parts"),
        ({"role": "user", "content": ["a"]}, "m.content is a list; expected text or content parts"),
        ({"role": "assistant", "content": None}, "m.content is null; expected text or content parts"),
        (CALL | {"content": 5}, "m.content is a number; expected text or content parts"),
        (CALL | {"tool_calls": ["f"]}, "m.content is null; expected text or content parts"),
    ],
)
def test_what_is_no_message_is_refused(value, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        message(value, "m")


def test_an_answer_is_a_text_a_message_or_a_list_of_one():
    assert answer("a", "chosen") == answer(A, "chosen") == answer([A], "chosen") == A


@pytest.mark.parametrize(
    ("value", "declared"),
    [
        (None, None),
        ("", None),
        ([], None),
        ("[]", None),
        ("null", None),
        ([TOOL], [TOOL]),
        ('[{"name": "f"}]', [TOOL]),
        ([{"name": "f"}], [TOOL]),
    ],
)
def test_tools_are_declared_as_the_hosted_side_takes_them(value, declared):
    assert tools(value) == declared


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (" ", "tools is ' '; expected JSON in text"),
        ("{}", "tools is an object; expected a list of objects"),
        (["f"], "tools is a list; expected a list of objects"),
    ],
)
def test_tools_that_are_no_list_are_refused(value, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        tools(value)


def test_fields_say_what_they_are_and_where():
    assert (text({"a": ""}, "a"), number({"a": 1.5}, "a"), number({}, "a"), one_of({"a": 1.0}, "a", 0, 1)) == (
        "",
        1.5,
        None,
        1,
    )
    with pytest.raises(Unfit, match=r"^turns\[0\]\.a is missing; expected text$"):
        text({}, "a", "turns[0].")
    with pytest.raises(Unfit, match=r"^a is true; expected 0 or 1$"):
        one_of({"a": True}, "a", 0, 1)
    with pytest.raises(Unfit, match=r"^a is 1; expected true$"):
        one_of({"a": 1}, "a", True)


def test_the_rest_of_a_row_is_what_it_says_beside_the_keys_that_were_used():
    assert rest({"a": 1, "b": None, "c": 0, "d": 2}, "d") == {"a": 1, "c": 0}
