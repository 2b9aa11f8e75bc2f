"""Rules on the shape of one row: keys, input, output, weights, tools, reasoning, images, mixed.

Invariant: a rule looks only at what it is named for and bears anything else, so that one fault gives one finding.
Source: the hosted API's preference format (docs/wire.md, Preference data).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

from preftune.pairs.finding import Problem
from preftune.pairs.jsonl import Unreadable, json_kind, parse, shown
from preftune.pairs.pair import message_text

Row = dict[str, Any]
ROLES = ("system", "user", "assistant", "tool")
KEYS = ("input", "preferred_output", "non_preferred_output")
OUTPUTS = KEYS[1:]
MAX_IMAGES = 10  # a row
MAX_IMAGE_BASE64 = 13_981_036  # characters: 10 MiB
_IMAGE = re.compile(r"data:image/(jpeg|png|webp);base64,")
_ALL_KEYS = frozenset(KEYS)
_NEAR = 0.7  # similarity of a key to the one it may be meant for
_SUPERVISED = {  # the hosted layouts for supervised jobs, by what each is known by
    "messages": {"messages"},
    "prompt and completion": {"prompt", "completion"},
    "text": {"text"},
}
_INPUT_KEYS = ("messages", "tools", "parallel_tool_calls")


class Shape:
    """A row taken apart as far as it goes: what is not there, or not of its type, is empty."""

    def __init__(self, row: Row) -> None:
        self.row = row
        given = row.get("input")
        self.input: Row = given if isinstance(given, dict) else {}
        messages = self.input.get("messages")
        listed = messages if isinstance(messages, list) else []
        self.messages: list[Row] = [message if isinstance(message, dict) else {} for message in listed]
        self.answers: list[Row] = [_first(row.get(key)) for key in OUTPUTS]

    def everywhere(self) -> Iterator[tuple[str, Row]]:
        """Yield path and message for the whole context and both answers."""
        for index, message in enumerate(self.messages):
            yield f"input.messages[{index}]", message
        for key, answer in zip(OUTPUTS, self.answers, strict=True):
            yield f"{key}[0]", answer

    def any_has(self, key: str) -> bool:
        """Tell whether any message has something under a key."""
        return any(message.get(key) for message in (*self.messages, *self.answers))


def check_row(row: Row) -> Iterator[Problem]:
    """Yield every problem with the shape of one row."""
    foreign = list(mixed(row))
    yield from foreign
    if not foreign:
        shape = Shape(row)
        for rule in ROW_RULES:
            yield from rule(shape)


def mixed(row: Row) -> Iterator[Problem]:
    """Find a row of another format, and say how to convert it; one of two hosted formats at once is refused too."""
    supervised = next((name for name, keys in _SUPERVISED.items() if keys <= row.keys()), None)
    if row.keys() >= _ALL_KEYS:
        if supervised:
            message = f"the row is a preference row and a supervised row ({supervised}) at once; it must be one of them"
            yield _refused(
                "mixed", "", message, f"remove {' and '.join(sorted(_SUPERVISED[supervised], reverse=True))}"
            )
        return
    if any(key in row for key in OUTPUTS):
        return
    from preftune.pairs.formats.table import layout_of  # noqa: PLC0415 - rows of other formats alone need the table

    layout = layout_of(row)
    if layout is not None:
        hint = f"convert the file: preftune convert FILE pairs.jsonl --from {layout.name}"
        yield _refused("mixed", "", f"the row is in the format {layout.title}; it must be a preference row", hint)
    elif supervised and "input" not in row:
        hint = "it has one answer and nothing to prefer it to; a preference file holds preference rows alone"
        yield _refused("mixed", "", f"the row is a supervised row ({supervised}); it must be a preference row", hint)


def keys(shape: Shape) -> Iterator[Problem]:
    """Find missing and unknown top-level keys."""
    row = shape.row
    for key in KEYS:
        if key not in row:
            alike = [name for name in row if name[:1] == key[0] and name not in KEYS]  # none of the other answer's
            near = get_close_matches(key, alike, n=1, cutoff=_NEAR)
            hint = f"rename {shown(near[0])}" if near else f"each row needs {', '.join(KEYS)}"
            yield _refused("keys", key, f"{key} is missing", hint)
    whole = row.keys() >= _ALL_KEYS
    for key in row:
        if key not in (*KEYS, "weight", "tools"):  # tools has a rule of its own
            hint = "remove it: the hosted side may refuse unknown keys"
            yield Problem("keys", "warning", "", f"{shown(key)} is no key of a preference row", hint, fixable=whole)
    for name in shape.input:
        if name not in _INPUT_KEYS:
            message = f"{shown(name)} is no key of input; expected {', '.join(_INPUT_KEYS)}"
            yield Problem("keys", "warning", "input", message, "remove it, or move it where it belongs")


def context(shape: Shape) -> Iterator[Problem]:
    """Find what is wrong with `input`: its messages, their roles, their order."""
    row = shape.row
    if "input" not in row:
        return
    given = row["input"]
    if not isinstance(given, dict):
        found = f"input is {json_kind(given)}; it must be an object"
        fixable = isinstance(given, list)
        yield Problem("input", "error", "input", found, 'write {"messages": [...]}', refused=True, fixable=fixable)
        return
    messages = given.get("messages")
    if not isinstance(messages, list) or not messages:
        found = "missing" if "messages" not in given else "an empty list" if messages == [] else json_kind(messages)
        hint = "give the conversation up to the answer, at least one message"
        yield _refused("input", "input.messages", f"input.messages is {found}; it must be a list of messages", hint)
        return
    for index, message in enumerate(messages):
        yield from _message(message, f"input.messages[{index}]")
    yield from _order([m.get("role") if isinstance(m, dict) else None for m in messages])


def assistant_first(shape: Shape) -> Iterator[Problem]:
    """Note a context that starts with the assistant, which is legal and often a conversion gone wrong."""
    spoken = [(index, m.get("role")) for index, m in enumerate(shape.messages) if m.get("role") != "system"]
    if spoken and spoken[0][1] == "assistant":
        path, hint = f"input.messages[{spoken[0][0]}]", "legal; look whether the first user message got lost"
        yield Problem("assistant-first", "info", path, "the context starts with the assistant", hint)


def output(shape: Shape) -> Iterator[Problem]:
    """Find an output that is not exactly one answer of the assistant, or an empty one."""
    row = shape.row
    for key in OUTPUTS:
        if key not in row:
            continue
        answers = row[key]
        if not isinstance(answers, list) or len(answers) != 1:
            found = f"a list of {len(answers)}" if isinstance(answers, list) else json_kind(answers)
            yield _refused(
                "output", key, f"{key} is {found}; it must be a list of exactly one message", "keep one answer a side"
            )
            continue
        yield from _answer(answers[0], f"{key}[0]")


def weights(shape: Shape) -> Iterator[Problem]:
    """Find weights that are not 0 or 1 on a message, or not a finite number of at least 0 on the row."""
    row = shape.row
    for index, message in enumerate(shape.messages):
        weight = message.get("weight", 1)
        if isinstance(weight, bool) or weight not in (0, 1):
            path = f"input.messages[{index}].weight"
            yield _refused(
                "weights", path, f"{path} is {shown(weight)}; it must be 0 or 1", "use the row's weight for fractions"
            )
    if "weight" not in row:
        return
    weight = row["weight"]
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= sys.float_info.max:
        hint = "1 is an ordinary pair"
        yield _refused(
            "weights", "weight", f"weight is {shown(weight)}; it must be a finite number of at least 0", hint
        )
    elif weight == 0:
        yield Problem(
            "weights", "info", "weight", "weight is 0: the pair trains nothing", "drop the row, or give it a weight"
        )


def tools(shape: Shape) -> Iterator[Problem]:
    """Find tools declared outside `input` or not as functions, calls of undeclared tools, and arguments not JSON."""
    row, inside = shape.row, shape.input
    if "tools" in row:
        found, hint = "tools stands beside input; it must stand inside", "move it to input.tools"
        movable = "tools" not in inside and isinstance(row.get("input"), dict)
        yield Problem("tools", "error", "tools", found, hint, refused=True, fixable=movable)
    yield from _parallel(inside)
    declared = inside.get("tools")
    if declared is not None and not isinstance(declared, list):
        found = f"input.tools is {json_kind(declared)}; it must be a list"
        yield _refused("tools", "input.tools", found, "list each tool as an object")
        return
    names = {_tool_name(tool) for tool in declared or ()}
    for index, tool in enumerate(declared or ()):
        if _tool_name(tool) is None:
            place = f"input.tools[{index}]"
            hint = 'write {"type": "function", "function": {"name": ..., "parameters": ...}}'
            yield Problem("tools", "error", place, f"{place} declares no function by name; no call can name it", hint)
    for path, message in shape.everywhere() if shape.any_has("tool_calls") else ():
        calls = message.get("tool_calls") or []
        if not isinstance(calls, list):
            found = f"{path}.tool_calls is {json_kind(calls)}; it must be a list"
            yield _refused("tools", f"{path}.tool_calls", found, "list each call as an object")
            continue
        for index, call in enumerate(calls):
            yield from _tool_call(call, f"{path}.tool_calls[{index}]", names)


def reasoning(shape: Shape) -> Iterator[Problem]:
    """Find reasoning on one side only: the model then learns its presence, not its quality."""
    sides = [bool(answer.get("reasoning") or answer.get("reasoning_content")) for answer in shape.answers]
    if sides[0] != sides[1]:
        message = f"only {OUTPUTS[sides.index(True)]} carries reasoning"
        yield Problem(
            "reasoning", "warning", OUTPUTS[sides.index(True)] + "[0]", message, "give it to both sides, or to none"
        )


def images(shape: Shape) -> Iterator[Problem]:
    """Find images outside user messages of the context, too many, too large, or not inline jpeg, png or webp."""
    kinds = {isinstance(message["content"], list) for message in shape.messages if message.get("content") is not None}
    count = 0
    for path, message in shape.everywhere():
        for index, part in enumerate(_parts(message)):
            if part.get("type") != "image_url":
                continue
            count += 1
            yield from _image(part, f"{path}.content[{index}]", message)
    if count > MAX_IMAGES:
        yield _refused(
            "images", "input.messages", f"the row has {count} images; at most {MAX_IMAGES} are taken", "drop some"
        )
    if count and len(kinds) > 1:
        hint = "write every content as a list of parts"
        yield _refused(
            "images", "input.messages", "some messages are multimodal and some plain; all must be alike", hint
        )


ROW_RULES: tuple[Callable[[Shape], Iterator[Problem]], ...] = (
    keys, context, assistant_first, output, weights, tools, reasoning, images,
)  # fmt: skip


def _refused(rule: str, path: str, message: str, hint: str) -> Problem:
    return Problem(rule, "error", path, message, hint, refused=True)


def _message(message: object, path: str) -> Iterator[Problem]:
    if not isinstance(message, dict):
        yield _refused(
            "input",
            path,
            f"{path} is {json_kind(message)}; it must be an object",
            'write {"role": ..., "content": ...}',
        )
        return
    role = message.get("role")
    if role not in ROLES:
        found = "missing" if "role" not in message else shown(role)
        yield _refused(
            "input", f"{path}.role", f"{path}.role is {found}; it must be one of {', '.join(ROLES)}", "name the speaker"
        )
    calls = role == "assistant" and message.get("tool_calls") and message.get("content") is None
    if not has_content(message) and not calls:
        yield _content_problem("input", message, path)


def _answer(message: object, path: str) -> Iterator[Problem]:
    if not isinstance(message, dict):
        yield _refused(
            "output", path, f"{path} is {json_kind(message)}; it must be an object", 'write {"role": "assistant", ...}'
        )
        return
    role = message.get("role")
    if role != "assistant":
        found = "missing" if "role" not in message else shown(role)
        yield _refused(
            "output", f"{path}.role", f"{path}.role is {found}; it must be 'assistant'", "both outputs are answers"
        )
    calls = message.get("tool_calls")
    if calls and message.get("content") is None:
        return
    if not has_content(message):
        yield _content_problem("output", message, path)
    elif not calls and _is_blank(message):
        hint = "drop the pair, or write the answer"
        yield _refused("output", f"{path}.content", f"{path}.content is empty; it must hold an answer", hint)


def has_content(message: Row) -> bool:
    """Tell whether a message has a text, or a list of nothing but content parts."""
    content = message.get("content")
    if isinstance(content, list):
        return bool(content) and all(map(_is_part, content))
    return isinstance(content, str)


def _is_part(part: object) -> bool:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return False
    return isinstance(part.get("text"), str) if part["type"] == "text" else part["type"] == "image_url"


def _is_blank(message: Row) -> bool:
    return all(part["type"] == "text" for part in _parts(message)) and not message_text(message).strip()


def _content_problem(rule: str, message: Row, path: str) -> Problem:
    found = "missing" if "content" not in message else json_kind(message["content"])
    if isinstance(message.get("content"), list):
        found = "a list that is not all content parts"
    text = f"{path}.content is {found}; it must be text or content parts"
    return _refused(rule, f"{path}.content", text, "write the message's text")


def _order(roles: list[str | None]) -> Iterator[Problem]:
    for index, (before, role) in enumerate(pairwise(roles), start=1):
        if role == before and role in ("user", "assistant"):
            path = f"input.messages[{index}].role"
            hint = "join the two messages"
            yield _refused("input", path, f"{path} is {role!r} like the one before; speakers must take turns", hint)
        if role == "system":
            path = f"input.messages[{index}].role"
            yield _refused(
                "input", path, f"{path} is 'system'; a system message must be the first", "move it to the front"
            )
    if roles[-1] == "assistant":
        path = f"input.messages[{len(roles) - 1}].role"
        hint = "the answers belong into the outputs"
        yield _refused("input", path, f"{path} is 'assistant'; the last message must not be", hint)


def _parallel(given: Row) -> Iterator[Problem]:
    parallel = given.get("parallel_tool_calls", True)
    if not isinstance(parallel, bool):
        path = "input.parallel_tool_calls"
        yield Problem(
            "tools", "error", path, f"{path} is {shown(parallel)}; it must be true or false", "write one of them"
        )


def _tool_name(tool: object) -> str | None:
    function = tool.get("function") if isinstance(tool, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _tool_call(call: object, path: str, names: set[str | None]) -> Iterator[Problem]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        yield _refused("tools", path, f"{path} has no function; it must name one", "write the call as the model would")
        return
    name, arguments = _tool_name(call), function.get("arguments", "{}")
    if name not in names - {None}:
        hint = "declare it in input.tools"
        yield _refused("tools", path, f"{path} calls {shown(function.get('name'))}, which is not declared", hint)
    if not _is_object(arguments):
        where = f"{path}.function.arguments"
        yield _refused("tools", where, f"{where} is no JSON object", "write the arguments as a JSON object in text")


def _is_object(arguments: object) -> bool:
    """Tell whether a call's arguments are an object, written as JSON in a text or as one."""
    try:
        return isinstance(parse(arguments.encode()) if isinstance(arguments, str) else arguments, dict)
    except (Unreadable, UnicodeEncodeError):  # half a character, in a row that no file held
        return False


def _image(part: Row, path: str, message: Row) -> Iterator[Problem]:
    if not path.startswith("input.") or message.get("role") != "user":
        yield _refused("images", path, f"{path} is an image outside a user message of the context", "move or drop it")
    url = part.get("image_url")
    url = url.get("url") if isinstance(url, dict) else url
    if not isinstance(url, str) or not _IMAGE.match(url):
        hint = "inline it as data:image/png;base64,…"
        yield _refused("images", path, f"{path} is no inline image; it must be a data URL of jpeg, png or webp", hint)
    elif len(url) - url.index(",") - 1 > MAX_IMAGE_BASE64:
        yield _refused("images", path, f"{path} is larger than 10 MiB", "scale the image down")
    if message.get("weight", 0):
        yield _refused(
            "images", path, f"{path} is an image in a message with a weight other than 0", "set its weight to 0"
        )


def _first(answers: object) -> Row:
    return answers[0] if isinstance(answers, list) and answers and isinstance(answers[0], dict) else {}


def _parts(message: Row) -> list[Row]:
    content = message.get("content")
    return [part if isinstance(part, dict) else {} for part in content] if isinstance(content, list) else []
