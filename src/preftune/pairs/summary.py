"""One pass over the bytes of a file, or of a part of it: every line is seen by the rules on lines, rows and pairs.

What the pass leaves is a `Summary`, in constant memory but for 20 bytes a pair. Summaries of neighbouring parts merge,
in any grouping, to the summary of the whole: `scan(file) == merge(scan(file, 0, k), scan(file, k))` for any byte k.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from preftune.pairs.finding import Gathering, Problem
from preftune.pairs.fingerprint import fingerprints, plain_fingerprints, sample_rank
from preftune.pairs.formats import together
from preftune.pairs.jsonl import BOM, Unreadable, decode, raw_lines
from preftune.pairs.pair import PreferencePair
from preftune.pairs.plain import read_plain
from preftune.pairs.rules import line as line_rules
from preftune.pairs.rules.pair import identical, may_be_identical
from preftune.pairs.rules.schema import check_row

SAMPLE = 20_000  # pairs that the costlier rules see
_TOLD_EVERY = 2**18  # bytes between two calls of `progress`, less than a second even of blank lines


class Place(NamedTuple):
    """Where a sampled pair stands, ordered by its rank in the sample."""

    rank: int
    line: int
    offset: int  # bytes from the beginning of the file
    length: int  # bytes, with the line break


@dataclass
class Summary:
    """What one part of a file holds."""

    sample_size: int
    lines: int = 0
    bytes: int = 0
    rows: int = 0  # lines that are not blank
    problems: Gathering = field(default_factory=Gathering)
    prompts: array[int] = field(default_factory=lambda: array("Q"))  # of each pair: fingerprint of the prompt,
    chosen: array[int] = field(default_factory=lambda: array("I"))  # of the chosen answer,
    rejected: array[int] = field(default_factory=lambda: array("I"))  # of the rejected answer,
    numbers: array[int] = field(default_factory=lambda: array("I"))  # and the line, counted within the part
    sample: list[Place] = field(default_factory=list)  # the places of smallest rank, in their order

    @property
    def pairs(self) -> int:
        """Return how many lines read as a preference pair."""
        return len(self.prompts)


class _Scanner:
    """Takes the lines of one part, one after the other."""

    def __init__(self, sample_size: int) -> None:
        self.summary = Summary(sample_size)
        self._limit = 2**64 if sample_size else 0  # no pair of this rank or above is in the sample

    def take(self, raw: bytes, offset: int) -> None:
        """Take one line with its line break."""
        summary = self.summary
        summary.lines += 1
        summary.bytes += len(raw)
        row = read_plain(raw)
        if row is None:
            self._take_with_care(raw, offset)
            return
        summary.rows += 1
        if may_be_identical(row.chosen, row.rejected):
            self._add_all(identical(row.pair()))
        self._keep(plain_fingerprints(row), offset, len(raw))

    def finish(self) -> Summary:
        """Return the summary of all lines taken."""
        self._prune()
        return self.summary

    def _take_with_care(self, raw: bytes, offset: int) -> None:
        """Take a line that some rule may have something to say about."""
        body = raw.removesuffix(b"\n")
        if offset == 0:
            self._add_all(line_rules.mark(raw))
            body = body.removeprefix(BOM)
        self._add_all(line_rules.blank(raw))
        if not body.strip():
            return
        self.summary.rows += 1
        pair = self._pair(body)
        if pair is not None:
            self._add_all(identical(pair))
            self._keep(fingerprints(pair), offset, len(raw))

    def _pair(self, body: bytes) -> PreferencePair | None:
        """Return the pair of a line, or None when an error stands against it."""
        try:
            row = decode(body)
        except Unreadable as reason:
            self._add_all((line_rules.unreadable(reason),))
            return None
        problems = list(check_row(row))
        self._add_all(problems)
        return None if any(problem.severity == "error" for problem in problems) else together.read(row)

    def _add_all(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.summary.problems.add(problem, self.summary.lines)

    def _keep(self, fingerprint: tuple[int, int, int], offset: int, length: int) -> None:
        summary = self.summary
        prompt, chosen, rejected = fingerprint
        summary.prompts.append(prompt)
        summary.chosen.append(chosen)
        summary.rejected.append(rejected)
        summary.numbers.append(summary.lines)
        if self._limit and (rank := sample_rank(fingerprint)) < self._limit:
            summary.sample.append(Place(rank, summary.lines, offset, length))
            if len(summary.sample) >= 2 * summary.sample_size:
                self._prune()

    def _prune(self) -> None:
        sample = self.summary.sample
        sample.sort()
        del sample[self.summary.sample_size :]
        if sample and len(sample) == self.summary.sample_size:
            self._limit = sample[-1].rank


def scan(
    path: str | Path,
    start: int = 0,
    stop: int | None = None,
    *,
    sample: int = SAMPLE,
    progress: Callable[[int], None] | None = None,
) -> Summary:
    """Return the summary of the lines that begin in bytes [start, stop) of a preference file.

    `progress` is called with the number of bytes read since its last call. Raises OSError as opening a file does.
    """
    scanner = _Scanner(sample)
    told = 0
    for offset, raw in raw_lines(Path(path), start, stop):
        scanner.take(raw, offset)
        if progress and scanner.summary.bytes - told >= _TOLD_EVERY:
            progress(scanner.summary.bytes - told)
            told = scanner.summary.bytes
    summary = scanner.finish()
    if progress:
        progress(summary.bytes - told)
    return summary


def merge(first: Summary, second: Summary) -> Summary:
    """Return the summary of two neighbouring parts of one file, given in their order; both are used up.

    The arrays of the first are extended in place, so that no pair is held twice.
    """
    for name in ("prompts", "chosen", "rejected"):
        getattr(first, name).extend(getattr(second, name))
    first.numbers.extend(array("I", [number + first.lines for number in second.numbers]))
    first.problems.merge(second.problems, lines_before=first.lines)
    moved = [place._replace(line=place.line + first.lines) for place in second.sample]
    first.sample = sorted([*first.sample, *moved])[: first.sample_size]
    first.lines += second.lines
    first.bytes += second.bytes
    first.rows += second.rows
    return first
