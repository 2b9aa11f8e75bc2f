"""LLaMA-Factory's conversations: ShareGPT ranking, read and written, and its newer v1 layout.

A tool call is a turn of `function_call`, its result one of `observation`; `tools` is JSON text. An answer
that describes a call in words (`Action: ...`) stays text. Source: the LLaMA-Factory data documentation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from preftune.pairs.formats import trl
from preftune.pairs.formats.fields import (
    answer,
    compact,
    is_list_of,
    json_value,
    message,
    messages,
    objects,
    rest,
    shared_context,
    system,
    text,
    tools,
)
from preftune.pairs.formats.layout import PRIME, Layout, Row, Unfit
from preftune.pairs.jsonl import json_kind, shown
from preftune.pairs.pair import Message, PreferencePair, message_text

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "observation": "tool",
    "tool": "tool",
    "function_call": "assistant",
}
_TAGS = {"user": "human", "assistant": "gpt", "system": "system", "tool": "observation"}
_CALL_KEYS = {"id", "type", "function"}


def read(row: Row) -> PreferencePair:
    """Return the pair of a row; raise Unfit when it holds none."""
    prompt = messages(row["conversations"], "conversations", turn)
    return PreferencePair(
        [*system(row.get("system")), *prompt],
        answer(row["chosen"], "chosen", turn),
        answer(row["rejected"], "rejected", turn),
        tools(row.get("tools")),
        meta=rest(row, "conversations", "chosen", "rejected", "system", "tools"),
    )


def turn(value: object, path: str) -> Message:
    """Return the message that a turn of `from` and `value` stands for."""
    if not isinstance(value, dict):
        raise Unfit(f"{path} is {json_kind(value)}; expected a turn with from and value")
    speaker, said = value.get("from"), text(value, "value", f"{path}.")
    if not isinstance(speaker, str) or speaker not in _ROLES:
        raise Unfit(f"{path}.from is {shown(speaker)}; expected one of {', '.join(_ROLES)}")
    if speaker == "function_call":
        return {"role": "assistant", "tool_calls": _calls(said, f"{path}.value")}
    return {"role": _ROLES[speaker], "content": said}


def write(pair: PreferencePair) -> Row:
    """Return the row for a pair; what `lost` names has no place in it."""
    first, *others = pair.prompt
    beside = bool(others and first["role"] == "system" and message_text(first))
    row: Row = {
        "conversations": [_turn(each) for each in (others if beside else pair.prompt)],
        "chosen": _turn(pair.chosen),
        "rejected": _turn(pair.rejected),
    }
    if beside:
        row["system"] = message_text(first)
    if pair.tools and _holds_tools(pair):
        row["tools"] = compact([tool["function"] for tool in pair.tools])
    return row


def lost(pair: PreferencePair) -> Iterator[str]:
    """Yield the name of each thing beside meta that a written row does not hold."""
    if pair.tools and not _holds_tools(pair):
        yield "tools"
    yield from trl.lost(pair)
    for each in (*pair.prompt, pair.chosen, pair.rejected):
        content, functions = each.get("content"), _functions(each)
        if isinstance(content, list) and any(part.get("type") != "text" for part in content):
            yield "content that is not text"
        if functions and any("id" in call for call in each["tool_calls"]):
            yield "tool_call_id"
        for key in each.keys() - {"role", "content"}:
            if not (key == "tool_calls" and functions):
                yield "reasoning" if key == "reasoning_content" else key


def _calls(said: str, path: str) -> list[Row]:
    """Return the calls that the JSON text of one, or of a list of them, stands for."""
    value = json_value(said, path)
    calls = value if isinstance(value, list) else [value]
    if not is_list_of(calls, dict) or not all(isinstance(call.get("name"), str) for call in calls):
        raise Unfit(f"{path} is {shown(said)}; expected a call with name and arguments")
    return [{"type": "function", "function": {**call, "arguments": _arguments(call)}} for call in calls]


def _arguments(call: Row) -> str:
    arguments = call.get("arguments", {})
    return arguments if isinstance(arguments, str) else compact(arguments)


def _turn(each: Message) -> Row:
    functions = _functions(each)
    if functions:
        return {"from": "function_call", "value": compact(functions[0] if len(functions) == 1 else functions)}
    return {"from": _TAGS[each["role"]], "value": message_text(each)}


def _functions(each: Message) -> list[Row]:
    """Return the functions that a message calls, when a turn can hold them: calls of known shape, and no text."""
    calls = each.get("tool_calls")
    if not isinstance(calls, list) or message_text(each):
        return []
    functions = []
    for call in calls:
        function = call.get("function") if isinstance(call, dict) and call.keys() <= _CALL_KEYS else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return []
        arguments = function.get("arguments")
        try:
            held = json_value(arguments, "") if isinstance(arguments, str) else arguments
        except Unfit:
            return []
        functions.append(function if held is None else {**function, "arguments": held})
    return functions


def _holds_tools(pair: PreferencePair) -> bool:
    """Tell whether each tool is a function, of which the layout keeps the inside."""
    wrapped = ({"type": "function", "function": tool.get("function")} == tool for tool in pair.tools or ())
    return isinstance(pair.tools, list) and all(wrapped) and all(isinstance(t["function"], dict) for t in pair.tools)


def _read_v1(row: Row) -> PreferencePair:
    sides = [messages(row[key], key, _v1_message) for key in ("chosen_messages", "rejected_messages")]
    prompt, chosen, rejected = shared_context(sides[0], sides[1], ("chosen_messages", "rejected_messages"))
    meta = rest(row, "chosen_messages", "rejected_messages", "tools")
    weights = [each["loss_weight"] for each in row["chosen_messages"] if "loss_weight" in each]
    if weights:
        meta["loss_weight"] = weights
    return PreferencePair(prompt, chosen, rejected, tools(row.get("tools")), meta=meta)


def _v1_message(value: object, path: str) -> Message:
    """Return the message of a list of parts, each `{type, value}`: its texts joined, its reasoning beside them."""
    if not isinstance(value, dict):
        raise Unfit(f"{path} is {json_kind(value)}; expected a message")
    said: dict[str, str] = {"text": "", "reasoning": ""}
    for index, part in enumerate(objects(value, "content", f"{path}.")):
        kind = part.get("type")
        if not isinstance(kind, str) or kind not in said:
            raise Unfit(f"{path}.content[{index}].type is {shown(kind)}; expected {' or '.join(said)}")
        said[kind] += text(part, "value", f"{path}.content[{index}].")
    reasoning: dict[str, Any] = {"reasoning": said["reasoning"]} if said["reasoning"] else {}
    return message({"role": value.get("role"), "content": said["text"], **reasoning}, path)


_TURNS = [{"from": "human", "value": PRIME}]
_QUESTION = {"role": "user", "content": [{"type": "text", "value": PRIME}], "loss_weight": 0.0}


def _v1_answer(said: str) -> Row:
    return {"role": "assistant", "content": [{"type": "text", "value": said}], "loss_weight": 1.0}


LAYOUTS = (
    Layout(
        name="llamafactory-v1",
        title="LLaMA-Factory v1",
        keys=("chosen_messages", "rejected_messages"),
        read=_read_v1,
        example=({"chosen_messages": [_QUESTION, _v1_answer("7")], "rejected_messages": [_QUESTION, _v1_answer("9")]},),
    ),
    Layout(
        name="sharegpt",
        title="ShareGPT ranking (LLaMA-Factory, MedicalGPT)",
        keys=("conversations", "chosen", "rejected"),
        read=read,
        example=(
            {
                "conversations": _TURNS,
                "chosen": {"from": "gpt", "value": "7"},
                "rejected": {"from": "gpt", "value": "9"},
            },
        ),
    ),
)
