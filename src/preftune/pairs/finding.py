"""What a check says: problems of single lines gathered into findings, findings into a report."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from preftune.errors import DataError

Severity: TypeAlias = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
_SHOWN_LINES = 5
_MARKS = {"error": "E", "warning": "W", "info": "I"}


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


class Gathering:
    """Collects problems as they come, in constant memory for each kind of problem."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, str, str, str], Problem] = {}
        self._lines: dict[tuple[str, str, str, str], list[int]] = {}
        self._counts: dict[tuple[str, str, str, str], int] = {}

    def add(self, problem: Problem, line: int | None) -> None:
        """Take one problem; `line` is None for what concerns the whole file."""
        key = (problem.rule, problem.severity, re.sub(r"\[\d+\]", "[*]", problem.path), problem.hint)
        self._first.setdefault(key, problem)
        self._counts[key] = self._counts.get(key, 0) + 1
        lines = self._lines.setdefault(key, [])
        if line is not None and line not in lines and len(lines) < _SHOWN_LINES:
            lines.append(line)

    def findings(self) -> list[Finding]:
        """Return one finding a kind: errors first, then in the order of first sight."""
        found = [
            Finding(
                first.rule, first.severity, self._counts[key], tuple(self._lines[key]), first.path, first.message,
                first.hint, first.fixable, first.refused,
            )
            for key, first in self._first.items()
        ]  # fmt: skip
        return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


@dataclass(frozen=True)
class Report:
    """What `check` found in a preference file."""

    path: Path
    pairs: int  # lines that read as a preference pair
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Tell whether no finding is an error."""
        return not self.count("error")

    def count(self, severity: Severity) -> int:
        """Return how many findings have the severity."""
        return sum(finding.severity == severity for finding in self.findings)

    def refusals(self) -> list[Finding]:
        """Return the findings for which the hosted side refuses the file."""
        return [finding for finding in self.findings if finding.refused]

    def raise_for_errors(self) -> None:
        """Raise DataError, with every finding, when one of them is an error; its message tells the first."""
        errors = [finding for finding in self.findings if finding.severity == "error"]
        if errors:
            more = f" (and {plural(len(errors) - 1, 'more kind')} of error)" if len(errors) > 1 else ""
            raise DataError(f"{_place(self.path, errors[0])}{_sentence(errors[0])}{more}", self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "pairs": self.pairs,
            "findings": [asdict(finding) | {"lines": list(finding.lines)} for finding in self.findings],
        }

    def __str__(self) -> str:
        return "\n".join(self._text())

    def _text(self) -> Iterator[str]:
        yield f"{self.path.name}: {plural(self.pairs, 'pair')}, {self.summary()}"
        for finding in self.findings:
            mark, times = _MARKS[finding.severity], f" ({finding.count} times)" if finding.count > 1 else ""
            yield f"{mark} {finding.rule:<16} {_place(self.path, finding)}{finding.message}{times}"
            yield f"  {'':<16} {finding.hint}" + (
                f" (lines {_lines(finding)})" if finding.count > 1 and finding.lines else ""
            )

    def summary(self) -> str:
        """Return the numbers of findings in words."""
        counts = [plural(self.count(severity), severity) for severity in ("error", "warning") if self.count(severity)]
        return ", ".join(counts) or "no error and no warning"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{finding.severity}</td><td><code>{html.escape(finding.rule)}</code></td><td>{finding.count}</td>"
            f"<td>{_lines(finding)}</td><td>{html.escape(finding.message)}<br><i>{html.escape(finding.hint)}</i></td></tr>"
            for finding in self.findings
        )
        head = "<tr><th>severity</th><th>rule</th><th>count</th><th>lines</th><th>what, and what to do</th></tr>"
        title = f"<b>{html.escape(self.path.name)}</b>: {plural(self.pairs, 'pair')}, {self.summary()}"
        return f"<p>{title}</p>" + (f"<table>{head}{rows}</table>" if rows else "")


def plural(count: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _place(path: Path, finding: Finding) -> str:
    return f"{path.name}:{finding.lines[0]}: " if finding.lines else f"{path.name}: "


def _sentence(finding: Finding) -> str:
    return f"{finding.message}; {finding.hint}"


def _lines(finding: Finding) -> str:
    more = ", …" if finding.count > len(finding.lines) == _SHOWN_LINES else ""
    return ", ".join(map(str, finding.lines)) + more
