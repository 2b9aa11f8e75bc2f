"""Reading an uploaded file as the hosted side does: what it is refused for, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from preftune.local.conversations import CONVERSATION, INSTRUCTION, fault, layouts
from preftune.pairs.inspection import refusals
from preftune.pairs.jsonl import BOM, Unreadable, decode, read_lines
from preftune.pairs.rules.schema import KEYS

Row = dict[str, Any]
Tick: TypeAlias = Callable[[], None]
PREFERENCE = "preference_openai"


def _nothing() -> None:
    """Let the reading go on."""


def report(path: Path, name: str, file_type: str = "jsonl", *, tick: Tick = _nothing) -> Row:
    """Return the validation report of a file: valid or the first error, format, lines.

    `tick` is called now and then while the file is read; what it raises ends the reading.
    """
    if file_type != "jsonl":
        return invalid(f"{name}: the local server trains on JSON lines alone, found {file_type}; send jsonl", None)
    kind = dataset_format(path, tick=tick)
    return _preference_report(path, name, tick) if kind in (PREFERENCE, None) else _supervised_report(path, kind, tick)


def dataset_format(path: Path, *, tick: Tick = _nothing) -> str | None:
    """Return what the first row that reads is, or None."""
    row = next((row for _, row, fault in rows(path, tick=tick) if fault is None), {})
    found = layouts(row)
    return PREFERENCE if any(key in row for key in KEYS) else found[0] if found else None


def rows(path: Path, *, tick: Tick = _nothing) -> Iterator[tuple[int, Row, str | None]]:
    """Yield line number, row, and what is wrong with the line, or None; blank lines are skipped."""
    for line in read_lines(path):
        tick()
        raw = line.raw.removeprefix(BOM) if line.number == 1 else line.raw
        if not raw.strip():
            continue
        try:
            yield line.number, decode(raw), None
        except Unreadable as reason:
            yield line.number, {}, reason.found


def supervised_messages(row: Row, kind: str) -> list[Row]:
    """Return a supervised row of any layout as messages."""
    if kind == CONVERSATION:
        return row["messages"]  # type: ignore[no-any-return]
    if kind == INSTRUCTION:
        return [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}]
    return [{"role": "assistant", "content": row["text"]}]


def _preference_report(path: Path, name: str, tick: Tick) -> Row:
    checked = refusals(path, progress=lambda *_: tick())
    refused = checked.refusals()
    if not refused:
        return {"valid": True, "dataset_format": PREFERENCE, "nlines": checked.pairs}
    first = min(refused, key=lambda finding: finding.lines[:1] or (0,))
    where = f"Line {first.lines[0]}: " if first.lines else f"{name}: "
    return invalid(f"{where}{first.message}; {first.hint}", PREFERENCE)


def _supervised_report(path: Path, kind: str, tick: Tick) -> Row:
    count = 0
    for number, row, unreadable in rows(path, tick=tick):
        wrong = unreadable or fault(row, kind)
        if wrong:
            return invalid(f"Line {number}: {wrong}", kind)
        count += 1
    return {"valid": True, "dataset_format": kind, "nlines": count}


def invalid(error: str, kind: str | None) -> Row:
    """Return the report of a file that is refused."""
    return {"valid": False, "dataset_format": kind, "error": error, "error_type": "INVALID_FORMAT"}
