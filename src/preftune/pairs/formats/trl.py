"""TRL: `prompt`, `chosen`, `rejected` as texts or as lists of messages; the prompt may stand inside both answers.

Source: the TRL documentation, dataset formats. Texts without a prompt (transcripts) are refused here: where the prompt
ends cannot be told from a common prefix without misplacing it.
"""

from __future__ import annotations

from typing import Any, TypeGuard

from preftune.pairs.pair import Message, PreferencePair

KEYS = frozenset({"chosen", "rejected"})


def matches(row: dict[str, Any]) -> bool:
    """Tell whether a row is in this layout."""
    return row.keys() >= KEYS and "conversations" not in row


def read(row: dict[str, Any]) -> PreferencePair:
    """Return the pair of a row; raise ValueError, saying what is wrong, when it holds none."""
    prompt, chosen, rejected = row.get("prompt"), row["chosen"], row["rejected"]
    if prompt is None:
        prompt, chosen, rejected = _split(chosen, rejected)
    elif isinstance(prompt, list) and all(_repeats(answer, prompt) for answer in (chosen, rejected)):
        chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    meta = {key: value for key, value in row.items() if key not in ("prompt", "chosen", "rejected", "tools")}
    return PreferencePair(
        _messages(prompt), _answer(chosen, "chosen"), _answer(rejected, "rejected"), row.get("tools"), meta=meta
    )


def write(pair: PreferencePair) -> dict[str, Any]:
    """Return the conversational row for a pair; weight and meta have no place in it."""
    row: dict[str, Any] = {"prompt": list(pair.prompt), "chosen": [pair.chosen], "rejected": [pair.rejected]}
    return row if pair.tools is None else row | {"tools": pair.tools}


def _split(chosen: object, rejected: object) -> tuple[list[Message], list[Message], list[Message]]:
    """Return prompt and answers of two conversations that begin alike."""
    if not isinstance(chosen, list) or not isinstance(rejected, list):
        raise ValueError("chosen and rejected are texts without a prompt; where the prompt ends cannot be told")  # noqa: TRY004 - what is wrong is the data's value, and the caller turns it into DataError
    if len(chosen) != len(rejected) or chosen[:-1] != rejected[:-1]:
        raise ValueError("chosen and rejected differ before their last message; they must share the whole context")
    return chosen[:-1], chosen[-1:], rejected[-1:]


def _repeats(answer: object, prompt: list[Message]) -> bool:
    return isinstance(answer, list) and len(answer) > len(prompt) and answer[: len(prompt)] == prompt


def _is_message(value: object) -> TypeGuard[Message]:
    return isinstance(value, dict) and isinstance(value.get("role"), str)


def _messages(prompt: object) -> list[Message]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, list) and prompt and all(map(_is_message, prompt)):
        return prompt
    raise ValueError("prompt is neither text nor a list of messages")


def _answer(answer: object, side: str) -> Message:
    if isinstance(answer, str):
        return {"role": "assistant", "content": answer}
    if isinstance(answer, list) and len(answer) == 1 and _is_message(answer[0]):
        return answer[0]
    raise ValueError(f"{side} is neither text nor a list of one message after the prompt")
