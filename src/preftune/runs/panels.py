"""The pictures of a run: which curves stand together, and the line that each is held against."""

from __future__ import annotations

from collections.abc import Iterable

from preftune.api.config import DPO
from preftune.api.models import MetricRow
from preftune.charts import Panel, Series


def panels(rows: Iterable[MetricRow], *, method: DPO | None = None) -> list[Panel]:
    """Return the panels that the rows can fill: loss, reward accuracy, KL and log-probabilities of both sides."""
    given = list(rows)
    held_against = method or DPO()
    baseline = None if held_against.rpo_alpha else ("nothing learned", held_against.baseline)  # the NLL term moves it
    described = [
        Panel("loss", [_curve("train", given, "loss"), _curve("eval", given, "loss")], baseline),
        Panel(
            "reward accuracy",
            [_curve("train", given, "accuracy"), _curve("eval", given, "accuracy")],
            ("chance", 0.5),
        ),
        _sides("KL from the reference (approx.)", given, "kl"),
        _sides("log-probability of the answers", given, "logps"),
    ]
    return [panel for panel in described if any(series.finite for series in panel.series)]


def _curve(split: str, rows: list[MetricRow], field: str) -> Series:
    return Series(split, _points([row for row in rows if row.split == split], field))


def _sides(title: str, rows: list[MetricRow], field: str) -> Panel:
    """Return chosen and rejected in one panel, from evaluation rows where there are any."""
    telling = [row for row in rows if row.split == "eval"] or rows
    return Panel(title, [Series(side, _points(telling, f"{field}_{side}")) for side in ("chosen", "rejected")])


def _points(rows: list[MetricRow], field: str) -> list[tuple[float, float]]:
    values = ((row.step, getattr(row, field)) for row in rows)
    return [(float(step), value) for step, value in values if step is not None and value is not None]
