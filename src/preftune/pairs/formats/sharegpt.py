"""ShareGPT ranking: `conversations` of `{from, value}`, and `chosen`, `rejected` as one turn or as plain text.

Source: the LLaMA-Factory data documentation.
"""

from __future__ import annotations

from typing import Any

from preftune.pairs.jsonl import shown
from preftune.pairs.pair import Message, PreferencePair, message_text

KEYS = frozenset({"conversations", "chosen", "rejected"})
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_TAGS = {"user": "human", "assistant": "gpt"}


def matches(row: dict[str, Any]) -> bool:
    """Tell whether a row is in this layout."""
    return row.keys() >= KEYS


def read(row: dict[str, Any]) -> PreferencePair:
    """Return the pair of a row; raise ValueError, saying what is wrong, when it holds none."""
    turns = row["conversations"]
    if not isinstance(turns, list) or not turns:
        raise ValueError("conversations is not a list of turns")
    if row.get("tools"):
        raise ValueError(
            "the row declares tools, whose calls this layout writes as text; they have no sure translation"
        )
    if not isinstance(row.get("system") or "", str):
        raise ValueError("system is not text")  # noqa: TRY004 - the caller turns it into DataError
    prompt = [_message(turn, f"conversations[{index}]") for index, turn in enumerate(turns)]
    if row.get("system"):
        prompt.insert(0, {"role": "system", "content": row["system"]})
    meta = {key: value for key, value in row.items() if key not in (*KEYS, "system", "tools")}
    return PreferencePair(prompt, _answer(row["chosen"], "chosen"), _answer(row["rejected"], "rejected"), meta=meta)


def write(pair: PreferencePair) -> dict[str, Any]:
    """Return the row for a pair; tools, weight, meta and all but the text of a message have no place in it."""
    system = pair.prompt[0] if pair.prompt[0]["role"] == "system" else None
    turns = [
        {"from": _TAGS.get(m["role"], m["role"]), "value": message_text(m)} for m in pair.prompt if m is not system
    ]
    row: dict[str, Any] = {
        "conversations": turns,
        "chosen": {"from": "gpt", "value": pair.chosen_text},
        "rejected": {"from": "gpt", "value": pair.rejected_text},
    }
    return row if system is None else row | {"system": message_text(system)}


def _message(turn: object, path: str) -> Message:
    if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
        raise ValueError(f"{path} is no turn with a text in `value`")  # noqa: TRY004 - the caller turns it into DataError
    speaker = turn.get("from")
    if not isinstance(speaker, str) or speaker not in _ROLES:
        raise ValueError(f"{path}.from is {shown(speaker)}; expected one of {', '.join(_ROLES)}")
    return {"role": _ROLES[speaker], "content": turn["value"]}


def _answer(answer: object, side: str) -> Message:
    if isinstance(answer, str):
        return {"role": "assistant", "content": answer}
    message = _message(answer, side)
    if message["role"] != "assistant":
        raise ValueError(f"{side}.from is not the assistant's")
    return message
