"""Other hosted services' layouts: Nova, Gemini, Fireworks' nested one, and a conversation beside a rejected answer.

Nova and Gemini are read strictly, text alone, since their documentation is all that they are known from.
"""

from __future__ import annotations

from typing import Any

from preftune.pairs.formats.fields import (
    answer,
    assistant,
    is_list_of,
    messages,
    objects,
    one_of,
    rest,
    shared_context,
    system,
    text,
    tools,
)
from preftune.pairs.formats.layout import PRIME, Layout, Row, Unfit
from preftune.pairs.jsonl import json_kind
from preftune.pairs.pair import Message, PreferencePair

_REJECTED = ("rejected_message", "rejected_response", "rejected_messages")
_OTHER_CONTEXT = ("rejected_images", "rejected_tools")


def _read_nova(row: Row) -> PreferencePair:
    """Source: Amazon Nova documentation, preparing data for preference fine-tuning."""
    *context, last = objects(row, "messages")
    one_of(last, "role", "assistant")
    candidates = objects(last, "candidates")
    labels = [one_of(each, "preferenceLabel", "preferred", "non-preferred") for each in candidates]
    if sorted(labels) != ["non-preferred", "preferred"]:
        raise Unfit(f"the candidates are {', '.join(labels)}; expected one preferred and one non-preferred")
    by_label = {
        label: _said(each.get("content"), f"candidates[{index}].content")
        for index, (label, each) in enumerate(zip(labels, candidates, strict=True))
    }
    prompt: list[Message] = [
        {
            "role": one_of(turn, "role", "user", "assistant"),
            "content": _said(turn.get("content"), f"messages[{index}].content"),
        }
        for index, turn in enumerate(context)
    ]
    if not prompt:
        raise Unfit("messages holds the candidates alone; expected the context before them")
    if row.get("system"):
        prompt = [*system(_said(row["system"], "system")), *prompt]
    meta = rest(row, "messages", "system", "schemaVersion")
    return PreferencePair(prompt, assistant(by_label["preferred"]), assistant(by_label["non-preferred"]), meta=meta)


def _read_gemini(row: Row) -> PreferencePair:
    """Source: Google Cloud documentation, preference tuning for Gemini models."""
    completions = objects(row, "completions")
    scores = [one_of(each, "score", 0, 1) for each in completions]
    if sorted(scores) != [0, 1]:
        raise Unfit(f"the scores are {', '.join(map(str, scores))}; expected one 1 and one 0")
    paths = [f"completions[{index}].completion" for index in (0, 1)]
    turns = [_gemini_turn(each.get("completion"), path) for each, path in zip(completions, paths, strict=True)]
    answers = [answer(turn, path) for turn, path in zip(turns, paths, strict=True)]
    prompt = [_gemini_turn(turn, f"contents[{i}]") for i, turn in enumerate(objects(row, "contents"))]
    given = row.get("system_instruction")
    if given is not None:
        parts = given.get("parts") if isinstance(given, dict) else given
        prompt = [*system(_said(parts, "system_instruction.parts")), *prompt]
    meta = rest(row, "contents", "completions", "system_instruction")
    return PreferencePair(prompt, answers[scores.index(1)], answers[scores.index(0)], meta=meta)


def _gemini_turn(value: object, path: str) -> Message:
    if not isinstance(value, dict):
        raise Unfit(f"{path} is {json_kind(value)}; expected an object with role and parts")
    role = one_of(value, "role", "user", "model")
    content = _said(value.get("parts"), f"{path}.parts")
    return {"role": "assistant" if role == "model" else "user", "content": content}


def _said(parts: object, path: str) -> str:
    """Return the text of a list of `{"text": ...}`, which may hold nothing else."""
    if not is_list_of(parts, dict):
        raise Unfit(f"{path} is {json_kind(parts)}; expected a list of texts")
    said = []
    for index, part in enumerate(parts):
        if set(part) != {"text"}:
            raise Unfit(f"{path}[{index}] has the keys {', '.join(part)}; expected text alone")
        said.append(text(part, "text", f"{path}[{index}]."))
    return "".join(said)


def _read_fireworks(row: Row) -> PreferencePair:
    """Source: the Fireworks cookbook, ORPO data."""
    sides = []
    for key in ("chosen", "rejected"):
        side = row[key]
        if not isinstance(side, dict):
            raise Unfit(f"{key} is {json_kind(side)}; expected an object with messages")
        sides.append(messages(side.get("messages"), f"{key}.messages"))
    prompt, chosen, rejected = shared_context(sides[0], sides[1], ("chosen.messages", "rejected.messages"))
    return PreferencePair(prompt, chosen, rejected, meta=rest(row, "chosen", "rejected"))


def _read_rejected(row: Row) -> PreferencePair:
    """Source: the OpenPipe and ms-swift documentation; a rejected answer replaces all after the last user turn."""
    given = [key for key in _REJECTED if row.get(key) is not None]
    if len(given) != 1:
        raise Unfit(
            f"the row has {' and '.join(given) or 'no rejected answer'}; expected one of {', '.join(_REJECTED)}"
        )
    for key in _OTHER_CONTEXT:
        if row.get(key):
            raise Unfit(f"the row has {key}, another context for the rejected answer; expected one context")
    key, conversation = given[0], messages(row["messages"], "messages")
    if key == "rejected_messages":
        prompt, chosen, rejected = shared_context(conversation, messages(row[key], key), ("messages", key))
    else:
        users = [index for index, each in enumerate(conversation, start=1) if each["role"] == "user"]
        asked = max(users, default=0) if key == "rejected_response" else len(conversation) - 1
        if not asked:
            raise Unfit("messages holds answers alone; expected the context before them")
        prompt, chosen = conversation[:asked], answer(conversation[asked:], "the end of messages")
        rejected = answer(row[key], key)
    meta = rest(row, "messages", "tools", *_REJECTED, *_OTHER_CONTEXT)
    return PreferencePair(prompt, chosen, rejected, tools(row.get("tools")), meta=meta)


def _has_candidates(row: Row) -> bool:
    turns = row["messages"]
    return is_list_of(turns, dict) and "candidates" in turns[-1]


def _part(content: str) -> list[dict[str, Any]]:
    return [{"text": content}]


_QUESTION = {"role": "user", "content": PRIME}
LAYOUTS = (
    Layout(
        name="nova",
        title="Amazon Nova, Bedrock, SageMaker",
        keys=("messages",),
        when=_has_candidates,
        read=_read_nova,
        example=(
            {
                "messages": [
                    {"role": "user", "content": _part(PRIME)},
                    {
                        "role": "assistant",
                        "candidates": [
                            {"content": _part("9"), "preferenceLabel": "non-preferred"},
                            {"content": _part("7"), "preferenceLabel": "preferred"},
                        ],
                    },
                ]
            },
        ),
    ),
    Layout(
        name="gemini",
        title="Google Gemini",
        keys=("contents", "completions"),
        read=_read_gemini,
        example=(
            {
                "contents": [{"role": "user", "parts": _part(PRIME)}],
                "completions": [
                    {"score": 1, "completion": {"role": "model", "parts": _part("7")}},
                    {"score": 0, "completion": {"role": "model", "parts": _part("9")}},
                ],
            },
        ),
    ),
    Layout(
        name="fireworks",
        title="Fireworks, nested",
        keys=("chosen", "rejected"),
        when=lambda row: isinstance(row["chosen"], dict) and "messages" in row["chosen"],
        read=_read_fireworks,
        example=(
            {
                "chosen": {"messages": [_QUESTION, {"role": "assistant", "content": "7"}]},
                "rejected": {"messages": [_QUESTION, {"role": "assistant", "content": "9"}]},
            },
        ),
    ),
    Layout(
        name="openpipe",
        title="OpenPipe, Simplismart, ms-swift",
        keys=("messages",),
        when=lambda row: any(key in row for key in _REJECTED),
        read=_read_rejected,
        example=(
            {
                "messages": [_QUESTION, {"role": "assistant", "content": "7"}],
                "rejected_message": {"role": "assistant", "content": "9"},
            },
        ),
    ),
)
