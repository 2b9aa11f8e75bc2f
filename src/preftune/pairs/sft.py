"""The supervised set that lies in a preference set: each prompt with its chosen answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from preftune.errors import DataError
from preftune.pairs.conversion import read
from preftune.pairs.finding import plural
from preftune.pairs.pair import Message, PreferencePair, message_text
from preftune.pairs.writing import writing

Row = dict[str, Any]
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


@dataclass(frozen=True)
class SftExport:
    """What was written, and what had no place in the layout."""

    path: Path
    rows: int
    skipped: int  # pairs of weight 0, which are to train nothing
    lost: dict[str, int]  # what was lost, and in how many rows

    def __str__(self) -> str:
        skipped = f"; {plural(self.skipped, 'pair')} of weight 0 left out" if self.skipped else ""
        lost = "; lost: " + ", ".join(f"{name} ({count:,})" for name, count in self.lost.items()) if self.lost else ""
        return f"{self.path.name}: {plural(self.rows, 'row')}{skipped}{lost}"


def to_sft(src: str | Path, dst: str | Path, *, source: str = "auto", layout: str = "conversational") -> SftExport:
    """Write one supervised row a pair, the context joined with the chosen answer, and return what was written.

    `layout` is one of the hosted ones: conversational (`messages`), instruction (`prompt`, `completion`) or text
    (`text`). A context of several messages becomes, in the last two, a transcript with a speaker before each turn. A
    pair of weight 0 is left out; another weight goes along. Raises DataError, naming the row, for one that cannot be
    read; nothing is left at `dst` then.
    """
    if layout not in LAYOUTS:
        raise DataError(f"layout={layout!r}: expected one of {', '.join(LAYOUTS)}; choose one of them")
    rows = skipped = 0
    lost: Counter[str] = Counter()
    pairs = read(src, source=source)
    with writing(dst, src) as file:
        for pair in pairs:
            if pair.weight == 0:
                skipped += 1
                continue
            row = LAYOUTS[layout](pair)
            file.write(msgspec.json.encode(row if pair.weight is None else row | {"weight": pair.weight}) + b"\n")
            rows += 1
            lost.update(_lost(pair, layout))
    return SftExport(Path(dst), rows, skipped, dict(lost))


def _conversational(pair: PreferencePair) -> Row:
    row: Row = {"messages": [*pair.prompt, pair.chosen]}
    return row if pair.tools is None else row | {"tools": pair.tools}


def _instruction(pair: PreferencePair) -> Row:
    only = pair.prompt[0] if len(pair.prompt) == 1 else None
    prompt = message_text(only) if only and only["role"] == "user" else f"{_transcript(pair.prompt)}\n\nAssistant:"
    return {"prompt": prompt, "completion": pair.chosen_text}


def _text(pair: PreferencePair) -> Row:
    return {"text": _transcript([*pair.prompt, pair.chosen])}


def _transcript(messages: list[Message] | Any) -> str:
    return "\n\n".join(f"{_SPEAKERS[message['role']]}: {message_text(message)}" for message in messages)


def _lost(pair: PreferencePair, layout: str) -> set[str]:
    """Return the names of what a pair has and the layout cannot hold."""
    if layout == "conversational":
        return set()
    messages = (*pair.prompt, pair.chosen)
    fields = {key for message in messages for key in message if key not in ("role", "content")}
    parts = {"content other than text" for message in messages if isinstance(message.get("content"), list)}
    return fields | parts | ({"tools"} if pair.tools else set())


LAYOUTS: dict[str, Callable[[PreferencePair], Row]] = {
    "conversational": _conversational,
    "instruction": _instruction,
    "text": _text,
}
