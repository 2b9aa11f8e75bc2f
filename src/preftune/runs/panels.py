"""The pictures of a run: which curves stand together, and the line that each is held against.

A training row is of one batch, and neighbours differ twofold at a batch of 16: each value is drawn faint, and the mean
of the last 20 rows bold. Chosen and rejected always stand in one panel. Source: docs/losses.md, Reading a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from preftune.api.config import DPO
from preftune.api.models import MetricRow
from preftune.charts import Panel, Series
from preftune.charts.panel import Points

WINDOW = 20  # rows that a bold curve is the mean of
_EACH = "each step"


def panels(rows: Iterable[MetricRow], *, method: DPO | None = None) -> list[Panel]:
    """Return the panels that the rows can fill, those first that are looked at first.

    `method` tells where the loss begins; without it that is ln 2 where the rows are of a preference run. The loss of a
    supervised run, or with an NLL term, has no such line.
    """
    given = list(rows)
    train, evals = ([row for row in given if row.split == split] for split in ("train", "eval"))
    described = [
        Panel("loss", [*_curves(train, evals, {"train": "loss"})], _baseline(given, method), "step", _best(evals)),
        Panel("reward accuracy", [*_curves(train, evals, {"train": "accuracy"})], ("chance", 0.5), "step"),
        _sides("rewards and their margin", train, evals, "rewards", margin="margin"),
        _sides("KL from the reference (approx.)", train, evals, "kl"),
        _sides("log-probability of the answers", train, evals, "logps"),
        Panel("learning rate", [Series("learning rate", _points(train, "learning_rate"))], None, "step"),
        Panel("gradient norm", [*_curves(train, [], {"gradient norm": "grad_norm"})], None, "step"),
    ]
    return [panel for panel in described if any(series.columns[0] for series in panel.series)]


def smoothed(points: Points, window: int = WINDOW) -> Points:
    """Return for each point the mean of the last `window` values; the first ones have fewer before them."""
    means, total = [], 0.0
    for index, (x, y) in enumerate(points):
        total += y - (points[index - window][1] if index >= window else 0.0)
        means.append((x, total / min(index + 1, window)))
    return means


def _sides(title: str, train: list[MetricRow], evals: list[MetricRow], field: str, **more: str) -> Panel:
    """Return chosen and rejected in one panel."""
    return Panel(
        title,
        [*_curves(train, evals, {side: f"{field}_{side}" for side in ("chosen", "rejected")} | more)],
        None,
        "step",
    )


def _curves(train: list[MetricRow], evals: list[MetricRow], fields: dict[str, str]) -> Iterator[Series]:
    """Yield the curves of some fields by name: a line each, single steps behind it, evaluations on it."""
    for name, field in fields.items():
        points = _points(train, field)
        if len(points) > WINDOW:
            yield Series(_EACH, points, "faint", name)
            points = smoothed([(x, y) for x, y in points if abs(y) < float("inf")])
        if points:
            yield Series(name, points, "line", name)
    for name, field in fields.items():
        points = _points(evals, field)
        if points:
            yield Series("evaluation", points, "points", name if len(fields) > 1 else "evaluation")


def _baseline(rows: list[MetricRow], method: DPO | None) -> tuple[str, float] | None:
    """Return the loss of a run that has learned nothing."""
    if method is None and all(row.accuracy is None for row in rows):
        return None
    held_against = method or DPO()
    return None if held_against.rpo_alpha else ("nothing learned", held_against.baseline)  # the NLL term moves it


def _best(evals: list[MetricRow]) -> tuple[str, float, float] | None:
    """Return the evaluation of the lowest loss, where there is a choice."""
    points = [point for point in _points(evals, "loss") if point[1] == point[1]]  # no NaN
    if len(points) < 2:  # noqa: PLR2004 - one is no choice
        return None
    step, loss = min(points, key=lambda point: point[1])
    return f"best {loss:.3f} (step {step:g})", step, loss


def _points(rows: list[MetricRow], field: str) -> Points:
    values = ((row.step, getattr(row, field)) for row in rows)
    return [(float(step), value) for step, value in values if step is not None and value is not None]
