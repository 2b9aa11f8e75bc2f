"""What a row of a supervised file is refused for, in its three layouts: messages, prompt and completion, text.

Source: docs/wire.md, and the checks of the official client; where they disagree, the row is taken.
"""

from __future__ import annotations

import sys
from typing import Any

from preftune.pairs.jsonl import json_kind, shown
from preftune.pairs.rules.schema import KEYS, ROLES, has_content

Row = dict[str, Any]
CONVERSATION, INSTRUCTION, GENERAL = "conversation", "instruction", "general"
COLUMNS = {CONVERSATION: ("messages",), INSTRUCTION: ("prompt", "completion"), GENERAL: ("text",)}


def fault(row: Row, kind: str) -> str | None:
    """Return what is wrong with a row in a file of one kind, or None."""
    found = layouts(row)
    if found != [kind]:
        if len(found) > 1:
            return f"the row is of the formats {' and '.join(found)} at once; it must be of one"
        return f"expected a row of the {kind} format like the first, found the keys {', '.join(row) or 'none'}"
    if "weight" in row and not _is_weight(row["weight"]):
        return f"weight is {shown(row['weight'])}; it must be a finite number of at least 0"
    if kind == CONVERSATION:
        return _conversation_fault(row["messages"])
    bad = next((key for key in COLUMNS[kind] if not isinstance(row[key], str)), None)
    return bad and f"{bad} is {json_kind(row[bad])}; it must be text"


def layouts(row: Row) -> list[str]:
    """Return the supervised layouts that a row matches; a preference row matches none unless it has their columns."""
    found = [kind for kind, columns in COLUMNS.items() if all(column in row for column in columns)]
    return ["preference", *found] if found and all(key in row for key in KEYS) else found


def _conversation_fault(messages: object) -> str | None:
    if not isinstance(messages, list) or not messages:
        return "messages must be a list of at least one message"
    for index, message in enumerate(messages):
        wrong = _message_fault(message)
        if wrong:
            return f"messages[{index}]{wrong}"
    if any(message["role"] == "assistant" for message in messages):
        return None
    return "messages must hold an answer of the assistant"


def _message_fault(message: object) -> str | None:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        return f" must be an object with a role, one of {', '.join(ROLES)}"
    if "weight" in message and (isinstance(message["weight"], bool) or message["weight"] not in (0, 1)):
        return f".weight is {shown(message['weight'])}; it must be 0 or 1"
    calls = message.get("tool_calls")
    if calls is not None and not _are_calls(calls):
        return ".tool_calls must be a list of objects, each with a function that has a name"
    said_nothing = message.get("content") is None and message["role"] == "assistant" and calls
    return None if said_nothing or has_content(message) else ".content must be text or a list of content parts"


def _are_calls(calls: object) -> bool:
    return isinstance(calls, list) and all(map(_is_call, calls))


def _is_call(call: object) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("name"), str)


def _is_weight(weight: object) -> bool:
    return isinstance(weight, int | float) and not isinstance(weight, bool) and 0 <= weight <= sys.float_info.max
