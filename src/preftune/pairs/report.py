"""What `check` says about a file: findings and numbers, as text, as HTML, as plain values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from preftune.charts import draw_blocks, draw_histogram
from preftune.errors import DataError
from preftune.pairs.finding import SHOWN_LINES, Finding, Severity, plural
from preftune.pairs.measures import Lengths, Stats

if TYPE_CHECKING:
    from rich.text import Text

_WIDTH = 80
_INDENT = " " * 9
_STYLES = {"error": "bold red", "warning": "bold yellow", "info": "cyan"}


class _Span(NamedTuple):
    """A piece of a line and how a terminal sets it off."""

    text: str
    style: str = ""


@dataclass(frozen=True)
class Report:
    """What `check` found in a preference file."""

    path: Path
    findings: list[Finding]
    stats: Stats

    @property
    def ok(self) -> bool:
        """Tell whether no finding is an error."""
        return not self.count("error")

    @property
    def pairs(self) -> int:
        """Return how many lines read as a preference pair."""
        return self.stats.pairs

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
            first = errors[0]
            place = f"{self.path.name}:{first.lines[0]}" if first.lines else self.path.name
            raise DataError(f"{place}: {first.message}; {first.hint}{more}", self.findings)

    def summary(self) -> str:
        """Return the numbers of findings in words."""
        counts = [plural(self.count(severity), severity) for severity in ("error", "warning") if self.count(severity)]
        return ", ".join(counts) or "no error and no warning"

    def verdict(self) -> str:
        """Return in one sentence what becomes of the file."""
        if self.refusals():
            return "The hosted side would refuse this file."
        if not self.ok:
            return "The hosted side would take this file, and part of it would be paid for in vain."
        return "The hosted side would take this file."

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        return {
            "path": str(self.path),
            "ok": self.ok,
            "pairs": self.pairs,
            "findings": [asdict(finding) | {"lines": list(finding.lines)} for finding in self.findings],
            "stats": self.stats.to_dict(),
        }

    def __str__(self) -> str:
        return "\n".join("".join(span.text for span in line).rstrip() for line in self._lines(_WIDTH))

    def __rich__(self) -> Text:
        from rich.text import Text  # noqa: PLC0415 - only where rich itself asks

        lines = [Text.assemble(*((span.text, span.style) for span in line)) for line in self._lines(_WIDTH)]
        return Text("\n").join(lines)

    def _repr_html_(self) -> str:
        """Return the report for a notebook: no script, readable on a light and on a dark page."""
        rows = "".join(map(self._html_row, self.findings))
        table = f'<table style="text-align:left">{_HTML_HEAD}{rows}</table>' if rows else ""
        picture = draw_histogram(self.stats.histogram) if self.stats.histogram else ""
        numbers = "<br>".join(escape(line) for line in _numbers(self.stats, blocks=False))
        return (
            f"<p><b>{escape(self.path.name)}</b>: {escape(self._counts())}. {self.summary().capitalize()}. "
            f"{self.verdict()}</p>{table}<div>{picture}</div><pre>{numbers}</pre>"
        )

    def _lines(self, width: int) -> Iterator[list[_Span]]:
        yield [_Span(self.path.name, "bold"), _Span(f": {self._counts()}")]
        yield []
        for _, alike in groupby(self.findings, key=lambda finding: (finding.severity, finding.rule, finding.hint)):
            yield from self._finding_lines(list(alike), width)
        numbers = list(_numbers(self.stats))
        for line in numbers:
            yield [_Span(line)]
        if numbers:
            yield []
        style = "bold red" if self.count("error") else "bold yellow" if self.count("warning") else "bold green"
        yield [_Span(f"{self.summary().capitalize()}.", style), _Span(f" {self.verdict()}")]

    def _finding_lines(self, alike: list[Finding], width: int) -> Iterator[list[_Span]]:
        """Yield the lines of findings that differ in nothing but what was found."""
        first = alike[0]
        mark, places = _Span(f"{first.severity.upper():<9}", _STYLES[first.severity]), self._places(first)
        yield [mark, _Span(first.rule, "bold"), _Span(f" · {places}" if places and len(alike) == 1 else "", "dim")]
        for finding in alike:
            more = f" ({self._places(finding)})" if len(alike) > 1 and finding.lines else ""
            for text in _wrapped(finding.message + more, width):
                yield [_Span(_INDENT + text)]
        for number, text in enumerate(_wrapped(first.hint, width - 2)):
            yield [_Span(_INDENT + ("  " if number else "→ ") + text, "dim")]
        yield []

    def _places(self, finding: Finding) -> str:
        """Return how often a finding was made, and where."""
        if not finding.lines:
            return ""
        if finding.count == 1:
            return f"line {finding.lines[0]}"
        part = f" ({finding.count / self.stats.lines:.1%})"
        return f"{finding.count:,} times{part}, lines {_lines(finding)}"

    def _counts(self) -> str:
        size = _size(self.stats.bytes)
        if self.stats.lines == self.pairs:
            return f"{plural(self.pairs, 'pair')}, {size}"
        return f"{plural(self.pairs, 'pair')} in {plural(self.stats.lines, 'line')}, {size}"

    def _html_row(self, finding: Finding) -> str:
        return (
            f"<tr><td>{finding.severity}</td><td><code>{escape(finding.rule)}</code></td><td>{finding.count:,}</td>"
            f"<td>{_lines(finding)}</td><td>{escape(finding.message)}<br><i>{escape(finding.hint)}</i></td></tr>"
        )


_HTML_HEAD = "<tr><th>severity</th><th>rule</th><th>count</th><th>lines</th><th>what, and what to do</th></tr>"


def _numbers(stats: Stats, *, blocks: bool = True) -> Iterator[str]:
    """Yield the lines of numbers: lengths of prompt and answers, balance of lengths, tokens."""
    if stats.prompt is None or stats.chosen is None or stats.rejected is None or stats.histogram is None:
        return
    if stats.sampled < stats.pairs:
        yield f"The costlier rules and these numbers saw a sample of {stats.sampled:,} of {stats.pairs:,} pairs."
    yield f"characters{'10%':>12}{'median':>9}{'90%':>9}"
    for name, lengths in (("prompt", stats.prompt), ("chosen", stats.chosen), ("rejected", stats.rejected)):
        counts = stats.histogram.counts.get(name)
        yield f"{name:<10}{_three(lengths)}" + (f"   {draw_blocks(counts)}" if counts and blocks else "")
    if stats.length_ratio is not None:
        yield (
            f"chosen longer in {stats.chosen_longer:.1%} of pairs (z {stats.chosen_longer_z:+.1f}); "
            f"mean length ratio {stats.length_ratio:.2f}"
        )
    by = "estimated from the scripts" if stats.tokens_estimated else "by your tokenizer"
    yield f"about {stats.tokens_per_epoch:,} tokens an epoch ({by}; each context twice)"


def _three(lengths: Lengths) -> str:
    return f"{lengths.p10:>12,.0f}{lengths.median:>9,.0f}{lengths.p90:>9,.0f}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width - len(_INDENT), break_on_hyphens=False)


def _size(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return plural(count, "byte")


def _lines(finding: Finding) -> str:
    more = ", …" if finding.count > len(finding.lines) == SHOWN_LINES else ""
    return ", ".join(map(str, finding.lines)) + more
