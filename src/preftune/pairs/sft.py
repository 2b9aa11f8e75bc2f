"""The supervised set that lies in a preference set: each prompt with its chosen answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preftune.errors import DataError
from preftune.pairs.conversion import read
from preftune.pairs.finding import plural
from preftune.pairs.pair import Message, PreferencePair, message_text
from preftune.pairs.writing import jsonl_name, writing

Row = dict[str, Any]
_SPEAKERS = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}


@dataclass(frozen=True)
class SftExport:
    """What was written, and what had no place in the layout."""

    path: Path
    rows: int
    skipped: int  # pairs of weight 0, and answers without a text where the layout holds nothing else
    lost: dict[str, int]  # what was lost, and in how many rows

    def __str__(self) -> str:
        skipped = (
            f"; {plural(self.skipped, 'pair')} left out (weight 0, or no text to train on)" if self.skipped else ""
        )
        lost = "; lost: " + ", ".join(f"{name} ({count:,})" for name, count in self.lost.items()) if self.lost else ""
        return f"{self.path.name}: {plural(self.rows, 'row')}{skipped}{lost}"


def to_sft(
    src: str | Path,
    dst: str | Path,
    *,
    source: str | Mapping[str, str] = "auto",
    layout: str = "conversational",
    label: str | None = None,
    pairing: str | None = None,
    ties: str | None = None,
    unfit: str | None = None,
) -> SftExport:
    """Write one supervised row a pair, the context joined with the chosen answer, and return what was written.

    `layout` is one of the hosted ones: conversational (`messages`), instruction (`prompt`, `completion`) or text
    (`text`). A context of several messages becomes, in the last two, a transcript with a speaker before each turn. A
    pair of weight 0 is left out; another weight goes along. `source` and the choices are those of `read`. Raises
    DataError, naming the row, for one that cannot be read, and where nothing is left to train on; nothing is left at
    `dst` then.
    """
    if layout not in LAYOUTS:
        raise DataError(f"layout={layout!r}: expected one of {', '.join(LAYOUTS)}; choose one of them")
    dst = jsonl_name(dst)
    rows = skipped = 0
    lost: Counter[str] = Counter()
    pairs = read(src, source=source, label=label, pairing=pairing, ties=ties, unfit=unfit)
    with writing(dst, src) as file:
        for pair in pairs:
            if pair.weight == 0 or (layout != "conversational" and not pair.chosen_text.strip()):
                skipped += 1
                continue
            row = LAYOUTS[layout](pair)
            file.write(_line(src, row if pair.weight is None else row | {"weight": pair.weight}))
            rows += 1
            lost.update(sorted(_lost(pair, layout)))
        if not rows:
            found = plural(skipped, "pair") + " of weight 0 or without text" if skipped else "none"
            raise DataError(
                f"{Path(src).name}: expected pairs to train on, found {found}; look at the weights and the layout"
            )
    return SftExport(dst, rows, skipped, dict(lost))


def _line(src: object, row: Row) -> bytes:
    try:
        return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:  # a Parquet file holds dates, bytes and NaN as well
        raise DataError(f"{src}: expected rows of JSON values, found one that is none ({error}); mend it") from None


def _conversational(pair: PreferencePair) -> Row:
    row: Row = {"messages": [*pair.prompt, pair.chosen]}
    return row if pair.tools is None else row | {"tools": pair.tools}


def _instruction(pair: PreferencePair) -> Row:
    only = pair.prompt[0] if len(pair.prompt) == 1 else None
    prompt = message_text(only) if only and only["role"] == "user" else f"{_transcript(pair.prompt)}\n\nAssistant:"
    return {"prompt": prompt, "completion": pair.chosen_text}


def _text(pair: PreferencePair) -> Row:
    return {"text": _transcript([*pair.prompt, pair.chosen])}


def _transcript(messages: Sequence[Message]) -> str:
    return "\n\n".join(f"{_SPEAKERS[message['role']]}: {message_text(message)}" for message in messages)


def _lost(pair: PreferencePair, layout: str) -> set[str]:
    """Return the names of what a pair has and the layout cannot hold."""
    calls = set() if pair.parallel_tool_calls is None else {"parallel_tool_calls"}
    if layout == "conversational":
        return calls
    messages = (*pair.prompt, pair.chosen)
    fields = {key for message in messages for key in message if key not in ("role", "content")}
    parts = {"content other than text" for message in messages if isinstance(message.get("content"), list)}
    return calls | fields | parts | ({"tools"} if pair.tools else set())


LAYOUTS: dict[str, Callable[[PreferencePair], Row]] = {
    "conversational": _conversational,
    "instruction": _instruction,
    "text": _text,
}
