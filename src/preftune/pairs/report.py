"""What `check` says about a file: findings and numbers, as text, as HTML, as plain values."""

from __future__ import annotations

import textwrap
from collections import defaultdict
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
from preftune.pairs.rules.budget import truncation
from preftune.pairs.rules.line import ENOUGH
from preftune.pairs.rules.pair import SAMPLED

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
        kinds = [alike[0].severity for alike in self._kinds()]
        counts = [plural(kinds.count(severity), severity) for severity in ("error", "warning") if severity in kinds]
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
        rows = "".join(self._html_row(alike) for alike in self._kinds())
        table = f"<table>{rows}</table>" if rows else ""
        picture = draw_histogram(self.stats.histogram) if self.stats.histogram else ""
        numbers = "<br>".join(escape(line) for line in _numbers(self.stats, blocks=False))
        return (
            f"<p><b>{escape(self.path.name)}</b>: {escape(self._counts())}. {self.summary().capitalize()}. "
            f"{self.verdict()}</p>{table}<div>{picture}</div><pre>{numbers}</pre>"
        )

    def _lines(self, width: int) -> Iterator[list[_Span]]:
        *above, name = textwrap.wrap(self.path.name, width - 1) or [""]
        yield from ([_Span(text, "bold")] for text in above)
        yield from _fitted([_Span(name, "bold")], _Span(f": {self._counts()}"), width)
        yield []
        for alike in self._kinds():
            yield from self._finding_lines(alike, width)
        numbers = list(_numbers(self.stats))
        for line in numbers:
            yield from _fitted([], _Span(line), width)
        if numbers:
            yield []
        style = "bold red" if self.count("error") else "bold yellow" if self.count("warning") else "bold green"
        yield from _fitted([_Span(f"{self.summary().capitalize()}.", style)], _Span(f" {self.verdict()}"), width)

    def _kinds(self) -> Iterator[list[Finding]]:
        """Yield the findings, those together that differ in nothing but what was found."""
        for _, alike in groupby(self.findings, key=lambda finding: (finding.severity, finding.rule, finding.hint)):
            yield list(alike)

    def _finding_lines(self, alike: list[Finding], width: int) -> Iterator[list[_Span]]:
        """Yield the lines of one kind."""
        first = alike[0]
        head = [_Span(f"{first.severity.upper():<9}", _STYLES[first.severity]), _Span(first.rule, "bold")]
        places = _Span(self._places(first) if len(alike) == 1 else "", "dim")
        yield from _fitted(head, places, width, indent=_INDENT)
        for finding in alike:
            more = self._places(finding) if len(alike) > 1 else ""
            for text in _wrapped(_told(finding) + more, width):
                yield [_Span(_INDENT + text)]
        for number, text in enumerate(_wrapped(_advice(first), width - 2)):
            yield [_Span(_INDENT + ("  " if number else "→ ") + text, "dim")]
        yield []

    def _places(self, finding: Finding) -> str:
        """Return how often a finding was made, and where, as it stands behind what was found."""
        if not finding.lines:
            return ""
        where = f"line{'s' * (len(finding.lines) > 1)} {_lines(finding)}"
        if finding.count == 1:
            return f" · {where}"
        seen = {"sample": self.stats.sampled, "pairs": self.stats.pairs}.get(_SEEN[finding.rule], self.stats.lines)
        several = "[" in finding.path or finding.rule in _REPEATED
        part = "" if several or not seen else f" ({finding.count / seen:.1%})"
        return f" · {finding.count:,} times{part}, {where}"

    def _counts(self) -> str:
        size = _size(self.stats.bytes)
        if self.stats.lines == self.pairs:
            return f"{plural(self.pairs, 'pair')}, {size}"
        return f"{plural(self.pairs, 'pair')} in {plural(self.stats.lines, 'line')}, {size}"

    def _html_row(self, alike: list[Finding]) -> str:
        """Return the row of one kind."""
        first = alike[0]
        told = [escape(_told(finding)) + self._places(finding) for finding in alike]
        cells = (
            f'<b style="color:{_COLOURS[first.severity]}">{first.severity}</b>',
            f"<code>{escape(first.rule)}</code>",
            "<br>".join([*told, f"<i>→ {escape(_advice(first))}</i>"]),
        )
        return "".join(["<tr>", *(f"<td {_CELL}>{cell}</td>" for cell in cells), "</tr>"])


def _told(finding: Finding) -> str:
    """Return what was found, with the line that it was found on where there are others."""
    return finding.message if len(finding.lines) < 2 else f"line {finding.lines[0]}: {finding.message}"  # noqa: PLR2004


def _advice(finding: Finding) -> str:
    """Return what to do, and whether a command does it."""
    return finding.hint + (" (preftune fix mends it)" if finding.fixable else "")


def _fitted(line: list[_Span], last: _Span, width: int, *, indent: str = "") -> Iterator[list[_Span]]:
    """Yield a line with its last span behind it or, where that does not fit, below it."""
    if sum(len(span.text) for span in (*line, last)) <= width:
        yield [*line, last]
        return
    if line:
        yield line
    for text in textwrap.wrap(last.text.lstrip(" :·"), width - len(indent), break_on_hyphens=False):
        yield [_Span(indent + text, last.style)]


_SEEN: defaultdict[str, str] = defaultdict(lambda: "lines")  # what the rate of a rule's finding is of
_SEEN |= dict.fromkeys((rule.__name__.replace("_", "-") for rule in (*SAMPLED, truncation)), "sample")
_SEEN |= dict.fromkeys(("identical", "duplicate", "contradiction", "leakage"), "pairs")
_REPEATED = ("keys", "prompt-reuse")  # which a line, or a prompt, may have more than once
_CELL = 'style="text-align:left;vertical-align:top"'  # said of each cell, for a notebook says otherwise
_COLOURS = {"error": "#d9480f", "warning": "#b07d00", "info": "#808080"}  # readable on white and on black


def _numbers(stats: Stats, *, blocks: bool = True) -> Iterator[str]:
    """Yield the lines of numbers: lengths of prompt and answers, balance of lengths, tokens."""
    if stats.prompt is None or stats.chosen is None or stats.rejected is None or stats.histogram is None:
        return
    if stats.sampled < stats.pairs:
        yield f"The costlier rules and these numbers saw a sample of {stats.sampled:,} of {stats.pairs:,} pairs."
        if stats.sampled < ENOUGH:
            yield f"The rules on the set as a whole need {ENOUGH} sampled pairs, and were silent."
    yield f"characters{'10%':>12}{'median':>9}{'90%':>9}" + ("   short               long" if blocks else "")
    for name, lengths in (("prompt", stats.prompt), ("chosen", stats.chosen), ("rejected", stats.rejected)):
        counts = stats.histogram.counts.get(name)
        yield f"{name:<10}{_three(lengths)}" + (f"   {draw_blocks(counts)}" if counts and blocks else "")
    if stats.length_ratio is not None:
        yield (
            f"chosen longer in {stats.chosen_longer:.1%} of pairs (z {stats.chosen_longer_z:+.1f}); "
            f"mean length ratio {stats.length_ratio:.2f}"
        )
    by = "estimated" if stats.tokens_estimated else "your tokenizer"
    yield f"about {stats.tokens_per_epoch:,} tokens an epoch ({by}; a prompt counts with each answer)"


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
