"""What the rules say: problems of single lines, gathered into findings."""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from math import inf
from typing import Literal, NamedTuple, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
SHOWN_LINES = 5  # of a finding


class Problem(NamedTuple):
    """One thing that a rule found at one place."""

    rule: str
    severity: Severity
    path: str  # JSON path within the line, or empty
    message: str  # what was found; what it must be
    hint: str  # what to do
    refused: bool = False  # the hosted side refuses the file for it
    fixable: bool = False


@dataclass(frozen=True)
class Finding:
    """All the problems of one kind in a file."""

    rule: str
    severity: Severity
    count: int
    lines: tuple[int, ...]  # the first five, counted from 1; empty for what concerns the whole file
    path: str
    message: str  # of the first of them
    hint: str
    fixable: bool
    refused: bool


@dataclass
class _Kind:
    """All the problems of one kind so far: the one on the first line, how many, the first lines."""

    first: Problem
    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, problem: Problem, count: int, lines: Iterable[int]) -> None:
        """Count further problems; the one on the smallest line tells for all, whatever the order they come in."""
        self.count += count
        for line in lines:
            if len(self.lines) == SHOWN_LINES and line >= self.lines[-1]:
                continue
            if self.lines and line < self.lines[0]:
                self.first = problem
            if line not in self.lines:
                insort(self.lines, line)
        del self.lines[SHOWN_LINES:]


class Gathering:
    """Collects problems in any order and in constant memory for each kind of problem; two gatherings add up."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[object, ...], _Kind] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Gathering) and self._kinds == other._kinds

    __hash__ = None  # type: ignore[assignment]  # it changes

    def add(self, problem: Problem, line: int | None = None) -> None:
        """Take one problem; `line` is None for what concerns the whole file."""
        self._kind(problem).add(problem, 1, () if line is None else (line,))

    def add_all(self, problems: Iterable[Problem]) -> None:
        """Take problems that concern the whole file."""
        for problem in problems:
            self.add(problem)

    def merge(self, other: Gathering, *, lines_before: int = 0) -> None:
        """Take over the problems of another part of the file, which begins behind `lines_before` lines."""
        for kind in other._kinds.values():
            lines = [line + lines_before for line in kind.lines]
            self._kind(kind.first).add(kind.first, kind.count, lines)

    def findings(self) -> list[Finding]:
        """Return one finding a kind: errors first, then in the order of their first lines, the whole file's last."""
        found = [
            Finding(
                kind.first.rule, kind.first.severity, kind.count, tuple(kind.lines), kind.first.path,
                kind.first.message, kind.first.hint, kind.first.fixable, kind.first.refused,
            )
            for kind in self._kinds.values()
        ]  # fmt: skip
        return sorted(found, key=lambda finding: (SEVERITIES.index(finding.severity), *finding.lines[:1], inf))

    def _kind(self, problem: Problem) -> _Kind:
        key = (*problem[:2], _pattern(problem.path), *problem[4:])  # all but what was found
        return self._kinds.get(key) or self._kinds.setdefault(key, _Kind(problem))


@lru_cache(maxsize=4096)
def _pattern(path: str) -> str:
    """Return a path with its indices left out, so that one fault at several places is one kind."""
    return re.sub(r"\[\d+\]", "[*]", path)


def plural(count: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
