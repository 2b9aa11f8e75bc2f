"""Reads one field of a row, or says what is wrong with it: texts, messages, answers, tools, and what is left over."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard, TypeVar

from preftune.pairs.formats.layout import Row, Unfit
from preftune.pairs.jsonl import Unreadable, json_kind, parse, shown
from preftune.pairs.pair import Message

T = TypeVar("T")
ROLES = ("system", "user", "assistant", "tool")


def text(row: Mapping[str, Any], key: str, path: str = "") -> str:
    """Return the text under a key."""
    value = row.get(key)
    if not isinstance(value, str):
        found = json_kind(value) if key in row else "missing"
        raise Unfit(f"{path}{key} is {found}; expected text")
    return value


def number(row: Mapping[str, Any], key: str, path: str = "") -> float | None:
    """Return the number under a key, or None where there is none."""
    value = row.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # noqa: PLR0124 - NaN
        raise Unfit(f"{path}{key} is {shown(value)}; expected a number")
    return value


def one_of(row: Mapping[str, Any], key: str, *known: Any) -> Any:
    """Return which of the known values stands under a key."""
    value = row.get(key)
    for each in known:
        if isinstance(value, bool) == isinstance(each, bool) and value == each:
            return each
    raise Unfit(f"{key} is {shown(value)}; expected {' or '.join(map(shown, known))}")


def objects(row: Mapping[str, Any], key: str, path: str = "") -> list[Row]:
    """Return the objects in the list under a key."""
    value = row.get(key)
    if not is_list_of(value, dict):
        raise Unfit(f"{path}{key} is {json_kind(value)}; expected a list of objects")
    return value


def is_list_of(value: object, kind: type[T]) -> TypeGuard[list[T]]:
    """Tell whether a value is a list of at least one item, all of them of a kind."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, kind) for item in value)


def user(content: str) -> Message:
    """Return a user's message."""
    return {"role": "user", "content": content}


def assistant(content: str) -> Message:
    """Return the assistant's message."""
    return {"role": "assistant", "content": content}


def system(content: object, path: str = "system") -> list[Message]:
    """Return the system message that a text stands for, as a list; an empty text or null stands for none."""
    if content is None or content == "":
        return []
    if not isinstance(content, str):
        raise Unfit(f"{path} is {json_kind(content)}; expected text")
    return [{"role": "system", "content": content}]


def message(value: object, path: str) -> Message:
    """Return a message as it came."""
    if not isinstance(value, dict):
        raise Unfit(f"{path} is {json_kind(value)}; expected a message")
    if value.get("role") not in ROLES:
        found = shown(value["role"]) if "role" in value else "missing"
        raise Unfit(f"{path}.role is {found}; expected one of {', '.join(ROLES)}")
    content = value.get("content")
    calls = is_list_of(value.get("tool_calls"), dict)
    if not (isinstance(content, str) or is_list_of(content, dict) or (content is None and calls)):
        found = json_kind(content) if "content" in value else "missing"
        raise Unfit(f"{path}.content is {found}; expected text or content parts")
    return value


def messages(value: object, path: str, read: Callable[[object, str], Message] = message) -> list[Message]:
    """Return a list of at least one message."""
    if not isinstance(value, list) or not value:
        found = "empty" if value == [] else json_kind(value)
        raise Unfit(f"{path} is {found}; expected a list of messages")
    return [read(item, f"{path}[{index}]") for index, item in enumerate(value)]


def answer(value: object, path: str, read: Callable[[object, str], Message] = message) -> Message:
    """Return the one message of the assistant that a text, a message or a list of one stands for."""
    if isinstance(value, str):
        return assistant(value)
    if isinstance(value, list):
        if len(value) != 1:
            raise Unfit(f"{path} holds {len(value)} messages; expected exactly one, as the hosted side takes")
        value, path = value[0], f"{path}[0]"
    answered = read(value, path)
    if answered["role"] != "assistant":
        raise Unfit(f"{path} is the {answered['role']}'s; expected the assistant's")
    return answered


def shared_context(
    chosen: Sequence[Message], rejected: Sequence[Message], names: tuple[str, str] = ("chosen", "rejected")
) -> tuple[list[Message], Message, Message]:
    """Return prompt, chosen and rejected answer of two conversations that differ in their last message alone."""
    if list(chosen[:-1]) != list(rejected[:-1]):
        raise Unfit(f"{names[0]} and {names[1]} differ before their last message; expected one context")
    if len(chosen) == 1:
        raise Unfit(f"{names[0]} is an answer alone; expected the context before it")
    last = [answer([side[-1]], name) for side, name in zip((chosen, rejected), names, strict=True)]
    return list(chosen[:-1]), last[0], last[1]


def tools(value: object, path: str = "tools") -> list[Row] | None:
    """Return tools as the hosted side declares them, from a list or the JSON text of one; None where there are none.

    Bare functions ({name, parameters}) are wrapped. Source: the LLaMA-Factory data documentation.
    """
    if isinstance(value, str) and value:
        value = json_value(value, path)
    if value is None or value in ("", []):
        return None
    if not is_list_of(value, dict):
        raise Unfit(f"{path} is {json_kind(value)}; expected a list of objects")
    return [tool if "function" in tool else {"type": "function", "function": tool} for tool in value]


def json_value(content: str, path: str) -> Any:
    """Return the value that a JSON text within a row stands for."""
    try:
        return parse(content.encode())
    except (Unreadable, UnicodeEncodeError):
        raise Unfit(f"{path} is {shown(content)}; expected JSON in text") from None


def compact(value: object) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, ensure_ascii=False)


def rest(row: Mapping[str, Any], *used: str) -> dict[str, Any]:
    """Return what a row says beside the keys that were used; null says nothing."""
    return {key: value for key, value in row.items() if key not in used and value is not None}
