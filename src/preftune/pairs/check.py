"""`check`: one pass over a preference file, every rule, every finding."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preftune.errors import DataError
from preftune.pairs.finding import Gathering, Problem, Report
from preftune.pairs.formats import together
from preftune.pairs.jsonl import BOM, Line, Unreadable, decode, existing_file, read_lines
from preftune.pairs.pair import PreferencePair
from preftune.pairs.rules.pair import Repeats, identical
from preftune.pairs.rules.schema import check_row

MAX_FILE_BYTES = int(50.1 * 2**30)  # the official client's constant; the documentation's figures differ


def check(path: str | Path, *, max_bytes: int = MAX_FILE_BYTES) -> Report:
    """Return every finding about a preference file (.jsonl), offline.

    Raises DataError only where there is no such file to read: nothing there, a folder, another extension.
    """
    path = existing_file(path)
    if path.suffix.lower() != ".jsonl":
        target = str(path.with_suffix(".jsonl"))
        hint = (
            f"convert it: preftune.convert({str(path)!r}, {target!r})"
            if path.suffix == ".json"
            else "rename it if it is JSONL"
        )
        raise DataError(f"{path}: expected a .jsonl file, found {path.suffix or 'no extension'!r}; {hint}")
    return scan(path, max_bytes=max_bytes)


def scan(path: Path, *, max_bytes: int = MAX_FILE_BYTES) -> Report:
    """Return every finding about a file that is known to be there, whatever its name."""
    found, repeats, pairs = Gathering(), Repeats(), 0
    if path.stat().st_size > max_bytes:
        message = f"the file has {path.stat().st_size:,} bytes; at most {max_bytes:,} are taken"
        found.add(
            Problem("size", "error", "", message, "split it: preference tuning needs thousands of pairs", refused=True),
            None,
        )
    for line in read_lines(path):
        pair = _check_line(line, found)
        if pair is None:
            continue
        pairs += 1
        for problem in (*identical(pair), *repeats.add(pair, line.number)):
            found.add(problem, line.number)
    for problem, number in repeats.cycles():
        found.add(problem, number)
    if not pairs and not any(finding.refused for finding in found.findings()):
        message = "there is no pair in the file"
        found.add(
            Problem("empty-file", "error", "", message, "write one JSON object a line, one pair each", refused=True),
            None,
        )
    return Report(path, pairs, found.findings())


def _check_line(line: Line, found: Gathering) -> PreferencePair | None:
    """Gather the problems of one line; return its pair when it holds one."""
    for problem in _line_problems(line):
        found.add(problem, line.number)
    body = line.raw.removeprefix(BOM) if line.number == 1 else line.raw
    if not body.strip():
        return None
    try:
        row = decode(body)
    except Unreadable as reason:
        found.add(Problem(reason.rule, "error", "", reason.found, reason.hint, refused=True), line.number)
        return None
    problems = list(check_row(row))
    for problem in problems:
        found.add(problem, line.number)
    return None if any(problem.severity == "error" for problem in problems) else together.read(row)


def _line_problems(line: Line) -> Iterator[Problem]:
    """Yield what the bytes of a line say before it is decoded."""
    if line.number == 1 and line.raw.startswith(BOM):
        hint = "save the file as UTF-8 without a mark"
        yield Problem(
            "encoding", "error", "", "the file begins with a byte-order mark", hint, refused=True, fixable=True
        )
    if not line.raw.strip():
        yield Problem(
            "blank", "info", "", "the line is blank", "it is skipped; remove it if it is an accident", fixable=True
        )
    if line.carriage_return:
        yield Problem("blank", "info", "", "the line ends in CRLF", "it is accepted; write LF to be safe", fixable=True)
