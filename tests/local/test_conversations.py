import pytest

from preftune.local.conversations import fault, layouts

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ASKED, SAID = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}


def chat(*messages, **more):
    return {"messages": [*messages]} | more


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        (chat(ASKED, SAID), "conversation"),
        (chat(ASKED, SAID, ASKED), "conversation"),
        (chat(ASKED, SAID, weight=0.5), "conversation"),
        (chat(ASKED, SAID | {"weight": 0}), "conversation"),
        (chat(ASKED, {"role": "assistant", "content": None, "tool_calls": [CALL]}), "conversation"),
        (chat(ASKED | {"content": [{"type": "text", "text": "a"}]}, SAID), "conversation"),
        ({"prompt": "", "completion": "b", "weight": 2}, "instruction"),
        ({"text": ""}, "general"),
    ],
)
def test_a_row_of_a_layout_is_taken(row, kind):
    assert (layouts(row), fault(row, kind)) == ([kind], None)


@pytest.mark.parametrize(
    ("row", "wrong"),
    [
        (chat(ASKED | {"content": [1, 2]}, SAID), "messages[0].content must be text or a list of content parts"),
        (chat(ASKED | {"content": []}, SAID), "messages[0].content must be text or a list of content parts"),
        (chat(ASKED, {"role": "assistant", "content": None}), "messages[1].content must be text or a list"),
        (chat(ASKED, SAID | {"tool_calls": "f()"}), "messages[1].tool_calls must be a list of objects"),
        (chat(ASKED, SAID | {"tool_calls": ["f"]}), "messages[1].tool_calls must be a list of objects"),
        (chat(ASKED, SAID | {"tool_calls": [{"function": {}}]}), "messages[1].tool_calls must be a list of objects"),
        (chat(ASKED, SAID | {"weight": "heavy"}), "messages[1].weight is 'heavy'; it must be 0 or 1"),
        (chat(ASKED, SAID | {"weight": 7}), "messages[1].weight is 7; it must be 0 or 1"),
        (chat(ASKED, SAID | {"weight": True}), "messages[1].weight is true; it must be 0 or 1"),
        (chat(ASKED, SAID, weight="x"), "weight is 'x'; it must be a finite number of at least 0"),
        (chat(ASKED, SAID, weight=-1), "weight is -1; it must be a finite number of at least 0"),
        (chat(ASKED, SAID, weight=True), "weight is true; it must be a finite number of at least 0"),
        (chat(ASKED, SAID, text="a"), "the row is of the formats conversation and general at once"),
        (chat(ASKED, SAID, prompt="a", completion="b"), "the row is of the formats conversation and instruction at"),
        (
            chat(ASKED, SAID, input={}, preferred_output=[], non_preferred_output=[]),
            "the row is of the formats preference and conversation at once; it must be of one",
        ),
        ({"text": "a"}, "expected a row of the conversation format like the first, found the keys text"),
        ({}, "expected a row of the conversation format like the first, found the keys none"),
    ],
)
def test_a_row_is_refused_with_the_place_and_what_was_expected(row, wrong):
    assert fault(row, "conversation").startswith(wrong)
