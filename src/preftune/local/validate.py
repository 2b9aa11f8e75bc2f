"""Reading an uploaded file as the hosted side does: what it is refused for, and what it holds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preftune.pairs.inspection import refusals
from preftune.pairs.jsonl import BOM, Unreadable, decode, json_kind, read_lines

Row = dict[str, Any]
PREFERENCE, CONVERSATION, INSTRUCTION, GENERAL = "preference_openai", "conversation", "instruction", "general"


def report(path: Path, name: str, file_type: str = "jsonl") -> Row:
    """Return the validation report of a file: valid or the first error, format, lines."""
    if file_type != "jsonl":
        return invalid(f"{name}: the local server trains on JSON lines alone, found {file_type}; send jsonl", None)
    kind = dataset_format(path)
    return _preference_report(path, name) if kind in (PREFERENCE, None) else _supervised_report(path, kind)


def dataset_format(path: Path) -> str | None:
    """Return what the first row that reads is, or None."""
    row = next((row for _, row, fault in rows(path) if fault is None), {})
    return _kind(row)


def rows(path: Path) -> Iterator[tuple[int, Row, str | None]]:
    """Yield line number, row, and what is wrong with the line, or None; blank lines are skipped."""
    for line in read_lines(path):
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


def _kind(row: Row) -> str | None:
    if "input" in row or "preferred_output" in row or "non_preferred_output" in row:
        return PREFERENCE
    if "messages" in row:
        return CONVERSATION
    if "prompt" in row and "completion" in row:
        return INSTRUCTION
    return GENERAL if "text" in row else None


def _preference_report(path: Path, name: str) -> Row:
    checked = refusals(path)
    refused = checked.refusals()
    if not refused:
        return {"valid": True, "dataset_format": PREFERENCE, "nlines": checked.pairs}
    first = min(refused, key=lambda finding: finding.lines[:1] or (0,))
    where = f"Line {first.lines[0]}: " if first.lines else f"{name}: "
    return invalid(f"{where}{first.message}; {first.hint}", PREFERENCE)


def _supervised_report(path: Path, kind: str | None) -> Row:
    count = 0
    for number, row, fault in rows(path):
        wrong = fault or _supervised_fault(row, kind)
        if wrong:
            return invalid(f"Line {number}: {wrong}", kind)
        count += 1
    return {"valid": True, "dataset_format": kind, "nlines": count}


def _supervised_fault(row: Row, kind: str | None) -> str | None:
    if _kind(row) != kind:
        return f"expected a row of the {kind} format like the first, found the keys {', '.join(row) or 'none'}"
    if kind == INSTRUCTION:
        bad = next((key for key in ("prompt", "completion") if not isinstance(row[key], str)), None)
        return bad and f"{bad} is {json_kind(row[bad])}; it must be text"
    if kind == GENERAL:
        return None if isinstance(row["text"], str) else f"text is {json_kind(row['text'])}; it must be text"
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        return "messages must be a list of at least one message"
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant", "tool"):
            return f"messages[{index}] must be an object with a role"
        if not isinstance(message.get("content"), str | list) and not message.get("tool_calls"):
            return f"messages[{index}].content must be text"
    return (
        None
        if any(message["role"] == "assistant" for message in messages)
        else "messages must hold an answer of the assistant"
    )


def invalid(error: str, kind: str | None) -> Row:
    """Return the report of a file that is refused."""
    return {"valid": False, "dataset_format": kind, "error": error, "error_type": "INVALID_FORMAT"}
