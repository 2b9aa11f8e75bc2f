"""A picture described once: series of points over steps, and what they are held against.

Invariant: a picture has a bounded number of points, and where many fall into one column its minimum and its maximum are
drawn, so that no spike is lost.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal, TypeAlias

Style: TypeAlias = Literal["line", "dashed", "faint", "points"]
Points: TypeAlias = list[tuple[float, float]]
_NOTHING = 1e-4  # of an axis
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)  # of an axis, times a power of ten


@dataclass(frozen=True)
class Series:
    """One curve: its name, and (x, y) points in the order of x; points that are not finite are left out.

    A line is drawn through, dashed is the second of two that belong together; faint are single values behind a line;
    points are few, such as evaluations. Series of one `side` share a colour and a letter; without it each series is of
    its own.
    """

    name: str
    points: Sequence[tuple[float, float]]
    style: Style = "line"
    side: str = ""

    @property
    def key(self) -> str:
        """Return what the colour goes by."""
        return self.side or self.name

    @cached_property
    def columns(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return x and y of the points that can be drawn."""
        xs, ys = zip(*self.points, strict=True) if self.points else ((), ())
        if math.isfinite(sum(xs) + sum(ys)):  # then each of them is, and 100,000 need no look of their own
            return xs, ys
        kept = [(x, y) for x, y in self.points if math.isfinite(x) and math.isfinite(y)]
        return tuple(x for x, _ in kept), tuple(y for _, y in kept)

    @property
    def finite(self) -> Points:
        """Return the points that can be drawn."""
        return list(zip(*self.columns, strict=True))

    def thinned(self, low: float, high: float, columns: int) -> Points:
        """Return the points to draw in so many columns from `low` to `high`: of each the first, extremes and last."""
        xs, ys = self.columns
        if len(xs) <= 4 * columns:
            return self.finite
        edges = [bisect_left(xs, low + (high - low) * column / columns) for column in range(columns)] + [len(xs)]
        kept: list[int] = []
        for first, end in pairwise(edges):
            if first < end:
                part = ys[first:end]
                extremes = (first + part.index(min(part)), first + part.index(max(part)))
                kept += sorted({first, *extremes, end - 1})
        return [(xs[index], ys[index]) for index in kept]


@dataclass(frozen=True)
class Panel:
    """Curves that belong into one picture."""

    title: str
    series: Sequence[Series]
    baseline: tuple[str, float] | None = None  # what the line means, and where it stands
    x_label: str = ""
    best: tuple[str, float, float] | None = None  # what the marked point is, and where

    @property
    def keys(self) -> list[str]:
        """Return what the colours go by, in the order of the series."""
        return list(dict.fromkeys(series.key for series in self.series))

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """Return x and y bounds over all that is drawn, never of zero extent; raise ValueError for nothing to draw."""
        drawn = [series.columns for series in self.series if series.columns[0]]
        if not drawn:
            raise ValueError(
                f"panel {self.title!r}: expected at least one finite point, found none; has the run begun?"
            )
        held_against = [self.baseline[1]] if self.baseline else []
        low_x, high_x = _widened(min(xs[0] for xs, _ in drawn), max(xs[-1] for xs, _ in drawn))
        low_y = min(*held_against, *(min(ys) for _, ys in drawn), math.inf)
        high_y = max(*held_against, *(max(ys) for _, ys in drawn), -math.inf)
        low_y, high_y = _widened(low_y, high_y)
        return low_x, high_x, low_y, high_y


def label(value: float, low: float, high: float) -> str:
    """Return how a value of an axis from `low` to `high` is written; what is nothing beside the axis is 0."""
    return f"{value:.4g}" if abs(value) > _NOTHING * (high - low) else "0"


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round values between two bounds, about so many."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    step = next(power * part for part in _STEPS if power * part * most >= high - low)
    first = math.ceil(low / step)
    return [index * step for index in range(first, math.floor(high / step) + 1)]


def _widened(low: float, high: float) -> tuple[float, float]:
    room = abs(low) / 2 or 0.5
    return (low, high) if high > low else (low - room, high + room)
