"""Rules on the bytes of a line and of a file, before anything is decoded: encoding, line, blank, size, empty-file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preftune.pairs.finding import Problem, plural
from preftune.pairs.jsonl import BOM, Unreadable

ENOUGH = 100  # pairs under which a share says little
MAX_FILE_BYTES = int(50.1 * 2**30)  # the official client's constant; the documentation's figures differ
_HEAD = 2**16  # bytes of a file's beginning that tell what it is
_UNPACK = "unpack it and check the file in it"
_SAVE = "save it as UTF-8"
_MAGIC = {  # what a file of another kind begins with: the kind, and what to do
    b"\x1f\x8b": ("gzip-compressed", "name it {name}.gz and convert it: preftune convert {name}.gz {name}"),
    b"PAR1": ("a Parquet file", "name it {stem}.parquet and convert it: preftune convert {stem}.parquet {name}"),
    b"PK\x03\x04": ("a ZIP archive", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("compressed with Zstandard", _UNPACK),
    b"\xff\xfe": ("UTF-16 text", _SAVE),
    b"\xfe\xff": ("UTF-16 text", _SAVE),
}


def another_kind(path: Path) -> Iterator[Problem]:
    """Find a file that is no JSON Lines at all, so that it gives one finding and not one for each of its lines."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, (kind, todo) in _MAGIC.items():
        if head.startswith(magic):
            rule, hint = "line" if todo != _SAVE else "encoding", todo.format(name=path.name, stem=path.stem)
            yield Problem(rule, "error", "", f"the file is {kind}; it must be JSON Lines in UTF-8", hint, refused=True)
            return
    first, _, more = head.removeprefix(BOM).strip().partition(b"\n")
    first = first.rstrip()
    if first.startswith(b"[") and (not first.endswith(b"]") or (first.startswith(b"[{") and not more)):
        message = "the file is one JSON list; it must hold one object a line"
        hint = f"convert it: preftune convert {path.name} {path.stem}.pairs.jsonl"
        yield Problem("line", "error", "", message, hint, refused=True)
    elif first == b"{":
        message = "the file holds JSON objects over several lines; it must hold one object a line"
        yield Problem("line", "error", "", message, "write each on one line, as jq -c does", refused=True)


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


def size(found: int) -> Iterator[Problem]:
    """Find a file of more bytes than the hosted side takes."""
    if found > MAX_FILE_BYTES:
        message = f"the file has {found:,} bytes; at most {MAX_FILE_BYTES:,} are taken"
        yield Problem(
            "size", "error", "", message, "split it: preference tuning needs thousands of pairs", refused=True
        )


def few_pairs(pairs: int) -> Iterator[Problem]:
    """Find a file too small to train on, or to say anything about as a whole."""
    if pairs < ENOUGH:
        message = (
            f"the file has {plural(pairs, 'pair')}; under {ENOUGH} are few, and the rules on the whole set are silent"
        )
        yield Problem("size", "warning", "", message, "collect more pairs before you pay for a run")


def unread_validation(rows: int, pairs: int) -> Iterator[Problem]:
    """Find a validation file that could not be compared, or not as a whole."""
    if pairs < rows or not rows:
        part = f"{rows - pairs:,} of {plural(rows, 'row')} of the validation file hold no pair and were not compared"
        message = part if rows else "the validation file has no row; nothing was compared"
        yield Problem("leakage", "warning", "", message, "check that file too: what it hides may leak")


def empty_file(rows: int) -> Iterator[Problem]:
    """Find a file without a single row, readable or not."""
    if not rows:
        hint = "write one JSON object a line, one pair each"
        yield Problem("empty-file", "error", "", "there is no pair in the file", hint, refused=True)
