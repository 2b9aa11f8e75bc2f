"""Rules on the bytes of a line and of a file, before anything is decoded: encoding, line, blank, size, empty-file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preftune.pairs.finding import Problem
from preftune.pairs.jsonl import BOM, Unreadable

MAX_FILE_BYTES = int(50.1 * 2**30)  # the official client's constant; the documentation's figures differ
_HEAD = 2**16  # bytes of a file's beginning that tell what it is
_MAGIC = {  # what a file of another kind begins with
    b"\x1f\x8b": ("gzip-compressed", "convert"),
    b"PAR1": ("a Parquet file", "convert"),
    b"PK\x03\x04": ("a ZIP archive", "unpack it and check the file in it"),
    b"\x28\xb5\x2f\xfd": ("compressed with Zstandard", "unpack it and check the file in it"),
    b"\xff\xfe": ("UTF-16 text", "save it as UTF-8"),
    b"\xfe\xff": ("UTF-16 text", "save it as UTF-8"),
}


def another_kind(path: Path) -> Iterator[Problem]:
    """Find a file that is no JSON Lines at all, so that it gives one finding and not one for each of its lines."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    convert = f"convert it: preftune convert {path.name} {path.stem}.pairs.jsonl"
    for magic, (kind, hint) in _MAGIC.items():
        if head.startswith(magic):
            rule, told = "encoding" if "UTF-16" in kind else "line", convert if hint == "convert" else hint
            yield Problem(rule, "error", "", f"the file is {kind}; it must be JSON Lines in UTF-8", told, refused=True)
            return
    first = head.removeprefix(BOM).lstrip().split(b"\n", 1)[0].strip()
    if first in (b"[", b"{", b"[{") or (first.startswith(b"[") and not first.endswith(b"]")):
        kind = "one JSON object over several lines" if first == b"{" else "one JSON list"
        yield Problem("line", "error", "", f"the file is {kind}; it must hold one object a line", convert, refused=True)
    elif first.startswith(b"[{") and len(head.strip().split(b"\n")) == 1:
        message = "the file is one JSON list; it must hold one object a line"
        yield Problem("line", "error", "", message, convert, refused=True)


def mark(raw: bytes) -> Iterator[Problem]:
    """Find a byte-order mark at the beginning of a file."""
    if raw.startswith(BOM):
        hint = "save the file as UTF-8 without a mark"
        yield Problem(
            "encoding", "error", "", "the file begins with a byte-order mark", hint, refused=True, fixable=True
        )


def blank(raw: bytes) -> Iterator[Problem]:
    """Note a line, with its line break, that is blank or ends in CRLF; both are accepted."""
    if not raw.strip():
        hint = "it is skipped; remove it if it is an accident"
        yield Problem("blank", "info", "", "the line is blank", hint, fixable=True)
    if raw.endswith(b"\r\n"):
        yield Problem("blank", "info", "", "the line ends in CRLF", "it is accepted; write LF to be safe", fixable=True)


def unreadable(reason: Unreadable) -> Problem:
    """Return the problem of a line that is not one JSON object."""
    return Problem(reason.rule, "error", "", reason.found, reason.hint, refused=True)


def size(path: Path) -> Iterator[Problem]:
    """Find a file that is larger than the hosted side takes."""
    found = path.stat().st_size
    if found > MAX_FILE_BYTES:
        message = f"the file has {found:,} bytes; at most {MAX_FILE_BYTES:,} are taken"
        yield Problem(
            "size", "error", "", message, "split it: preference tuning needs thousands of pairs", refused=True
        )


def empty_file(rows: int) -> Iterator[Problem]:
    """Find a file without a single row, readable or not."""
    if not rows:
        hint = "write one JSON object a line, one pair each"
        yield Problem("empty-file", "error", "", "there is no pair in the file", hint, refused=True)
