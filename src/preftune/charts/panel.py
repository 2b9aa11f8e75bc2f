"""A picture described once: series of points over steps, and the line that they are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

_NOTHING = 1e-4  # of an axis


@dataclass(frozen=True)
class Series:
    """One curve: its name, and (x, y) points in the order of x; points that are not finite are left out."""

    name: str
    points: Sequence[tuple[float, float]]

    @property
    def finite(self) -> list[tuple[float, float]]:
        """Return the points that can be drawn."""
        return [(x, y) for x, y in self.points if isfinite(x) and isfinite(y)]


@dataclass(frozen=True)
class Panel:
    """Curves that belong into one picture."""

    title: str
    series: Sequence[Series]
    baseline: tuple[str, float] | None = None  # what the line means, and where it stands
    x_label: str = ""

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Return x and y bounds over all that is drawn, never of zero extent; raise ValueError for nothing to draw."""
        points = [point for series in self.series for point in series.finite]
        if not points:
            raise ValueError(
                f"panel {self.title!r}: expected at least one finite point, found none; has the run begun?"
            )
        ys = [y for _, y in points] + ([self.baseline[1]] if self.baseline else [])
        low_x, high_x = _widened(min(x for x, _ in points), max(x for x, _ in points))
        low_y, high_y = _widened(min(ys), max(ys))
        return low_x, high_x, low_y, high_y


def label(value: float, low: float, high: float) -> str:
    """Return how a value of an axis from `low` to `high` is written; what is nothing beside the axis is 0."""
    return f"{value:.4g}" if abs(value) > _NOTHING * (high - low) else "0"


def _widened(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, high + 0.5)
