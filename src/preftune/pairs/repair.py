"""`fix`: what can be mended without a guess is mended, in a new file, and told change by change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import msgspec
from xxhash import xxh3_128_intdigest

from preftune.errors import DataError
from preftune.pairs.finding import Finding, Gathering, Problem, plural
from preftune.pairs.formats import together
from preftune.pairs.jsonl import BOM, MAX_LINE_BYTES, Unreadable, decode, existing_file, raw_lines
from preftune.pairs.pair import PreferencePair
from preftune.pairs.rules.line import another_kind
from preftune.pairs.rules.pair import said
from preftune.pairs.rules.schema import KEYS, check_row, mixed
from preftune.pairs.writing import jsonl_name, writing

Row = dict[str, Any]
_encode = msgspec.json.encode
_canonical = msgspec.json.Encoder(order="sorted").encode
_KEPT = (*KEYS, "weight", "tools")


@dataclass(frozen=True)
class Fixed:
    """What `fix` wrote and changed; what it could not mend stands in the new file as it was."""

    path: Path
    lines: int  # written
    dropped: int  # lines that were left out
    changes: list[Finding]  # one a kind: what was done, how often, on which lines of the old file

    def __str__(self) -> str:
        head = f"{self.path.name}: {plural(self.lines, 'line')} written, {self.dropped:,} left out"
        told = (f"  {change.count:>7,}  {change.message} ({change.rule})" for change in self.changes)
        return "\n".join([head, *(told if self.changes else ["  nothing to mend"])])


class _Fixer:
    """Mends one line after the other and remembers what it did."""

    def __init__(self, log: IO[bytes] | None) -> None:
        self._log = log
        self._seen: set[int] = set()
        self._changes = Gathering()
        self.lines = self.dropped = self.number = 0

    def fix(self, raw: bytes) -> bytes | None:
        """Return the line as it should be, with its line break, or None when it is to be left out."""
        self.number += 1
        body = self._bare(raw)
        fixed = self._mended(body) if body.strip() else None
        if not body.strip():
            self._note("blank", "a blank line was left out")
        self.lines += fixed is not None
        self.dropped += fixed is None
        return None if fixed is None else fixed + b"\n"

    def findings(self) -> list[Finding]:
        """Return what was changed so far."""
        return self._changes.findings()

    def _bare(self, raw: bytes) -> bytes:
        """Return a line without line break, and without byte-order mark where it will be the first."""
        body = raw.removesuffix(b"\n")
        while not self.lines and body.startswith(BOM):
            self._note("encoding", "the byte-order mark was removed")
            body = body.removeprefix(BOM)
        if body.endswith(b"\r") and body.strip():
            self._note("blank", "CRLF became LF")
        return body.rstrip(b"\r")

    def _mended(self, body: bytes) -> bytes | None:
        try:
            row = decode(body)
        except Unreadable:
            return body  # `check` says what is wrong; a guess could make it another pair
        changed = list(_mend(row))
        for rule, what in changed:
            self._note(rule, what)
        if any(problem.severity == "error" for problem in check_row(row)):
            return _encode(row) if changed else body
        if self._is_repeated(row, together.read(row)):
            return None
        return _encode(row) if changed else body

    def _is_repeated(self, row: Row, pair: PreferencePair) -> bool:
        """Tell whether a pair repeats its own answer, or an earlier row to the last field, and is to be left out."""
        known = xxh3_128_intdigest(_canonical(row))
        if said(pair.chosen) == said(pair.rejected):
            self._note("identical", "a pair whose answers are the same was left out")
        elif known in self._seen:
            self._note("duplicate", "a pair that stands in the file already was left out")
        else:
            self._seen.add(known)
            return False
        return True

    def _note(self, rule: str, what: str) -> None:
        self._changes.add(Problem(rule, "info", "", what, what, fixable=True), self.number)
        if self._log:
            self._log.write(_encode({"line": self.number, "rule": rule, "what": what}) + b"\n")


def fix(path: str | Path, target: str | Path, *, log: str | Path | None = None) -> Fixed:
    """Write a mended copy of a preference file, and return what was changed.

    Mended: a byte-order mark, CRLF, blank lines, `input` as a bare list, `tools` beside `input`, unknown top-level
    keys, identical pairs, exact duplicates. All else stays byte for byte. `log` is a JSONL file that gets one line a
    change.
    Raises DataError where there is no such file, where it is no JSON Lines at all or has a line beyond the limit, and
    where `target` or `log` is that file or cannot be written; nothing is left then.
    """
    source, target = existing_file(path), jsonl_name(target)
    for problem in another_kind(source):
        raise DataError(f"{source.name}: {problem.message}; {problem.hint}")
    with writing(target, source) as file, writing(log, source, target) if log else nullcontext() as changes:
        fixer = _Fixer(changes)
        for _, raw in raw_lines(source):
            _refuse_cut(source, raw, fixer.number + 1)
            fixed = fixer.fix(raw)
            if fixed is not None:
                file.write(fixed)
    return Fixed(target, fixer.lines, fixer.dropped, fixer.findings())


def _refuse_cut(source: Path, raw: bytes, number: int) -> None:
    """Raise DataError for a line of which only the beginning was read: a copy would lose the rest."""
    if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
        found = f"the line has more than {MAX_LINE_BYTES:,} bytes, the most that is read"
        raise DataError(f"{source.name}:{number}: {found}; split or shorten the pair")


def _mend(row: Row) -> Iterator[tuple[str, str]]:
    """Mend a row in place; yield the rule and what was done for each change."""
    if isinstance(row.get("input"), list):
        row["input"] = {"messages": row["input"]}
        yield "input", "input, a bare list, became an object with messages"
    given = row.get("input")
    if "tools" in row and isinstance(given, dict) and "tools" not in given:
        given["tools"] = row.pop("tools")
        yield "tools", "tools was moved into input"
    if all(key in row for key in KEYS) and not any(mixed(row)):  # of two formats at once: its author decides
        for key in [key for key in row if key not in _KEPT]:
            del row[key]
            yield "keys", f"the unknown key {key!r} was removed"
