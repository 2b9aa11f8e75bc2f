import re

import pytest

from preftune.pairs import PreferencePair
from preftune.pairs.formats.layout import Unfit

SYSTEM, USER = {"role": "system", "content": "s"}, {"role": "user", "content": "Q?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
PAIR = PreferencePair([USER], CHOSEN, REJECTED)
TOOLS = [{"type": "function", "function": {"name": "f"}}]
IMAGE = {"image": {"format": "png"}}


def part(text):
    return [{"text": text}]


def refuses(layout, row, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        layout.read(row)


# Amazon Nova

ASKED = {"role": "user", "content": part("Q?")}
GOOD, BAD = ({"content": part(text), "preferenceLabel": f"{no}preferred"} for text, no in (("a", ""), ("b", "non-")))
LAST = {"role": "assistant", "candidates": [BAD, GOOD]}
NOVA = {"messages": [ASKED, LAST]}


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        (NOVA, PAIR),
        ({"messages": [ASKED, {"role": "assistant", "candidates": [GOOD, BAD]}]}, PAIR),
        (
            NOVA | {"schemaVersion": "bedrock-conversation-2024", "system": part("s"), "id": 1},
            PreferencePair([SYSTEM, USER], CHOSEN, REJECTED, meta={"id": 1}),
        ),
        (
            {"messages": [ASKED, {"role": "assistant", "content": [*part("a"), *part("b")]}, ASKED, LAST]},
            PreferencePair([USER, {"role": "assistant", "content": "ab"}, USER], CHOSEN, REJECTED),
        ),
    ],
)
def test_nova_reads(layouts, row, pair):
    assert layouts["nova"].matches(row)
    assert layouts["nova"].read(row) == pair


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": []}, "messages is a list; expected a list of objects"),
        ({"messages": [LAST]}, "messages holds the candidates alone; expected the context before them"),
        ({"messages": [ASKED, LAST | {"role": "user"}]}, "role is 'user'; expected 'assistant'"),
        ({"messages": [ASKED, {"role": "assistant"}]}, "candidates is null; expected a list of objects"),
        (
            {"messages": [ASKED, LAST | {"candidates": [GOOD, GOOD]}]},
            "the candidates are preferred, preferred; expected one preferred and one non-preferred",
        ),
        (
            {"messages": [ASKED, LAST | {"candidates": [GOOD | {"preferenceLabel": "best"}, BAD]}]},
            "preferenceLabel is 'best'; expected 'preferred' or 'non-preferred'",
        ),
        (
            {"messages": [{"role": "user", "content": [IMAGE]}, LAST]},
            "messages[0].content[0] has the keys image; expected text alone",
        ),
        (
            {"messages": [{"role": "user", "content": "Q?"}, LAST]},
            "messages[0].content is text; expected a list of texts",
        ),
        (
            {"messages": [{"role": "user", "content": [{"text": 1}]}, LAST]},
            "messages[0].content[0].text is a number; expected text",
        ),
        (NOVA | {"system": "s"}, "system is text; expected a list of texts"),
    ],
)
def test_nova_refuses(layouts, row, reason):
    refuses(layouts["nova"], row, reason)


# Google Gemini

CONTENTS = [{"role": "user", "parts": part("Q?")}]
ONE, ZERO = (
    {"score": score, "completion": {"role": "model", "parts": part(text)}} for score, text in ((1, "a"), (0, "b"))
)
GEMINI = {"contents": CONTENTS, "completions": [ONE, ZERO]}


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        (GEMINI, PAIR),
        (GEMINI | {"completions": [ZERO, ONE]}, PAIR),
        (
            GEMINI | {"system_instruction": {"role": "system", "parts": part("s")}, "id": 1},
            PreferencePair([SYSTEM, USER], CHOSEN, REJECTED, meta={"id": 1}),
        ),
        (
            GEMINI | {"contents": [*CONTENTS, {"role": "model", "parts": part("a")}, *CONTENTS]},
            PreferencePair([USER, CHOSEN, USER], CHOSEN, REJECTED),
        ),
    ],
)
def test_gemini_reads(layouts, row, pair):
    assert layouts["gemini"].read(row) == pair


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"contents": "Q?"}, "contents is text; expected a list of objects"),
        ({"contents": [{"role": "human", "parts": part("Q?")}]}, "role is 'human'; expected 'user' or 'model'"),
        ({"completions": [ONE, ONE]}, "the scores are 1, 1; expected one 1 and one 0"),
        ({"completions": [ONE, ZERO | {"score": 0.5}]}, "score is 0.5; expected 0 or 1"),
        ({"completions": [ONE, ZERO | {"score": False}]}, "score is false; expected 0 or 1"),
        (
            {"completions": [ONE, {"score": 0, "completion": "b"}]},
            "completions[1].completion is text; expected an object with role and parts",
        ),
        (
            {"completions": [ONE, {"score": 0, "completion": {"role": "user", "parts": part("b")}}]},
            "completions[1].completion is the user's; expected the assistant's",
        ),
        ({"system_instruction": "s"}, "system_instruction.parts is text; expected a list of texts"),
    ],
)
def test_gemini_refuses(layouts, changes, reason):
    refuses(layouts["gemini"], GEMINI | changes, reason)


# Fireworks, nested

FIREWORKS = {"chosen": {"messages": [USER, CHOSEN]}, "rejected": {"messages": [USER, REJECTED]}}


def test_fireworks_reads_two_conversations_of_one_context(layouts):
    assert layouts["fireworks"].read(FIREWORKS) == PAIR
    assert layouts["fireworks"].read(FIREWORKS | {"id": 1}) == PreferencePair([USER], CHOSEN, REJECTED, meta={"id": 1})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rejected": "b"}, "rejected is text; expected an object with messages"),
        ({"rejected": {}}, "rejected.messages is null; expected a list of messages"),
        (
            {"rejected": {"messages": [SYSTEM, REJECTED]}},
            "chosen.messages and rejected.messages differ before their last message; expected one context",
        ),
    ],
)
def test_fireworks_refuses(layouts, changes, reason):
    refuses(layouts["fireworks"], FIREWORKS | changes, reason)


# OpenPipe, ms-swift

CALL, RESULT = {"role": "assistant", "tool_calls": [{}]}, {"role": "tool", "content": "18"}
REJECTED_KEYS = ("rejected_message", "rejected_response", "rejected_messages")
SWIFT = {"messages": [USER, CHOSEN]}


@pytest.mark.parametrize(
    ("row", "pair"),
    [
        (SWIFT | {"rejected_message": REJECTED}, PAIR),
        (SWIFT | {"rejected_response": "b"}, PAIR),
        (SWIFT | {"rejected_response": [REJECTED]}, PAIR),
        (SWIFT | {"rejected_messages": [USER, REJECTED], "rejected_response": None, "rejected_images": []}, PAIR),
        (
            {"messages": [USER, CALL, RESULT, CHOSEN], "rejected_message": REJECTED, "tools": TOOLS, "id": 1},
            PreferencePair([USER, CALL, RESULT], CHOSEN, REJECTED, TOOLS, meta={"id": 1}),
        ),
    ],
)
def test_a_rejected_answer_beside_a_conversation_is_read(layouts, row, pair):
    assert layouts["openpipe"].matches(row)
    assert layouts["openpipe"].read(row) == pair


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {},
            "the row has no rejected answer; expected one of " + ", ".join(REJECTED_KEYS),
        ),
        (
            {"rejected_message": REJECTED, "rejected_response": "b"},
            "the row has rejected_message and rejected_response; expected one of " + ", ".join(REJECTED_KEYS),
        ),
        (
            {"rejected_response": "b", "rejected_tools": TOOLS},
            "the row has rejected_tools, another context for the rejected answer; expected one context",
        ),
        (
            {"rejected_messages": [SYSTEM, REJECTED]},
            "messages and rejected_messages differ before their last message; expected one context",
        ),
        (
            {"messages": [CHOSEN], "rejected_message": REJECTED},
            "messages holds answers alone; expected the context before them",
        ),
        (
            {"messages": [USER, CALL, RESULT, CHOSEN], "rejected_response": "b"},
            "the end of messages holds 3 messages; expected exactly one, as the hosted side takes",
        ),
        ({"rejected_message": 5}, "rejected_message is a number; expected a message"),
    ],
)
def test_a_rejected_answer_beside_a_conversation_is_refused(layouts, changes, reason):
    refuses(layouts["openpipe"], SWIFT | changes, reason)
