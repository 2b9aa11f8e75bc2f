"""What a file holds, in numbers: pairs, turns, lengths, tokens, price, and how the two sides differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from preftune.charts import Histogram
from preftune.pairs.finding import Finding, plural
from preftune.pairs.rules.bias import area_under_curve, balance
from preftune.pairs.rules.style import FEATURES
from preftune.pairs.summary import Summary
from preftune.pairs.survey import Array, Survey
from preftune.pairs.tokens import Budget

_BINS = 24


@dataclass(frozen=True)
class Lengths:
    """How long texts are, in characters."""

    mean: float
    p10: float
    median: float
    p90: float
    longest: int

    def __str__(self) -> str:
        return f"10% {self.p10:,.0f}, median {self.median:,.0f}, 90% {self.p90:,.0f}, longest {self.longest:,}"


@dataclass(frozen=True)
class Stats:
    """The numbers of a file; what the sample tells is None when there was none."""

    bytes: int
    lines: int
    pairs: int
    duplicates: int  # pairs that stand in the file already: same prompt, chosen and rejected answer
    identical: int  # pairs whose answers are the same but, at most, for white space, letter case or Unicode form
    sampled: int = 0  # pairs that the numbers below are of
    turns: float | None = None  # messages of the context, mean
    prompt: Lengths | None = None
    chosen: Lengths | None = None
    rejected: Lengths | None = None
    chosen_longer: float | None = None  # share of pairs, equal lengths left out
    chosen_longer_z: float | None = None  # its distance from one half, in standard errors
    length_ratio: float | None = None  # mean length of chosen answers, over that of rejected ones
    length_auc: float | None = None  # how often a chosen answer is longer than a rejected one
    features: dict[str, tuple[float, float]] | None = None  # shares of chosen and of rejected answers
    tokens_per_epoch: int | None = None  # of all pairs: the context once with each answer
    tokens_estimated: bool = True  # from the scripts of the texts; else by the caller's tokenizer
    histogram: Histogram | None = None  # of the answers' lengths

    def price(self, per_million_tokens: float, *, epochs: int = 1) -> float | None:
        """Return what training costs, in the currency of the price; None without a sample."""
        tokens = self.tokens_per_epoch
        return None if tokens is None else tokens * epochs * per_million_tokens / 1e6

    def __str__(self) -> str:
        return "\n".join(f"{name:<22}{value}" for name, value in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        yield "pairs", f"{self.pairs:,} in {plural(self.lines, 'line')}, {plural(self.bytes, 'byte')}"
        yield "repeats", f"{plural(self.duplicates, 'exact duplicate')}, {self.identical:,} with identical answers"
        if self.prompt is None or self.chosen is None or self.rejected is None or self.features is None:
            return
        yield "measured", plural(self.sampled, "pair")
        yield "messages a context", f"{self.turns:.1f} on average"
        for name, lengths in (("prompt", self.prompt), ("chosen", self.chosen), ("rejected", self.rejected)):
            yield f"{name}, characters", str(lengths)
        yield (
            "chosen longer",
            f"{self.chosen_longer:.1%} of pairs (z {self.chosen_longer_z:+.1f}, AUC {self.length_auc:.2f})",
        )
        for name, (chosen, rejected) in self.features.items():
            yield name, f"{chosen:.0%} of chosen, {rejected:.0%} of rejected answers"
        how = "estimated" if self.tokens_estimated else "your tokenizer"
        yield "tokens an epoch", f"about {self.tokens_per_epoch:,} ({how}; a prompt counts with each answer)"

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain values, for JSON."""
        values = asdict(self)
        if self.features is not None:
            values["features"] = {name: list(shares) for name, shares in self.features.items()}
        return values


def measure(size: int, summary: Summary, survey: Survey | None, budget: Budget, findings: Sequence[Finding]) -> Stats:
    """Return the numbers of a file of `size` bytes from its scan, the survey of its sample, and what was found."""
    duplicates, identical = (_count(findings, rule) for rule in ("duplicate", "identical"))
    counted = Stats(size, summary.lines, summary.pairs, duplicates, identical)
    if survey is None:
        return counted
    share, z = balance(survey.chosen_characters - survey.rejected_characters)
    chosen, rejected = survey.features.mean(axis=0).tolist()
    return replace(
        counted,
        sampled=len(survey),
        turns=float(survey.turns.mean()),
        prompt=_lengths(survey.prompt_characters),
        chosen=_lengths(survey.chosen_characters),
        rejected=_lengths(survey.rejected_characters),
        chosen_longer=share,
        chosen_longer_z=z,
        length_ratio=_ratio(survey),
        length_auc=area_under_curve(survey.chosen_characters, survey.rejected_characters),
        features=dict(zip(FEATURES, zip(chosen, rejected, strict=True), strict=True)),
        tokens_per_epoch=_tokens(survey, summary.pairs),
        tokens_estimated=budget.estimated,
        histogram=_histogram(survey),
    )


def _count(findings: Sequence[Finding], rule: str) -> int:
    return sum(finding.count for finding in findings if finding.rule == rule)


def _lengths(characters: Array) -> Lengths:
    p10, median, p90 = np.percentile(characters, (10, 50, 90)).tolist()
    return Lengths(float(characters.mean()), p10, median, p90, int(characters.max()))


def _ratio(survey: Survey) -> float | None:
    rejected = float(survey.rejected_characters.mean())
    return float(survey.chosen_characters.mean()) / rejected if rejected else None


def _tokens(survey: Survey, pairs: int) -> int:
    """Return the tokens of all pairs: of the counted ones, scaled by the lengths of the sample and by its share."""
    seen = 2 * survey.prompt_characters + survey.chosen_characters + survey.rejected_characters
    counted = survey.tokens >= 0
    per_character = survey.tokens[counted].sum() / max(1, seen[counted].sum())
    return round(float(per_character * seen.mean() * pairs))


def _histogram(survey: Survey) -> Histogram:
    """Return the lengths of both sides, counted in steps that grow with the length."""
    both = np.concatenate([survey.chosen_characters, survey.rejected_characters])
    edges = np.geomspace(max(1, int(both.min())), max(2, int(both.max()) + 1), _BINS + 1)
    counts: dict[str, Sequence[int]] = {
        name: np.histogram(np.maximum(1, lengths), edges)[0].tolist()
        for name, lengths in (("chosen", survey.chosen_characters), ("rejected", survey.rejected_characters))
    }
    return Histogram("answer length", "characters, on a log scale", edges.tolist(), counts)
