"""Several runs side by side: in what they differ, which went best, and their curves in one picture each.

Losses of different methods or knobs are of different kinds, and so are those of different evaluation files: then the
runs are ranked by reward accuracy, or not at all, and the comparison says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any, Literal, TypeAlias

from preftune.api.config import SFT
from preftune.api.models import MetricRow
from preftune.charts import Panel, Series, draw_sheet, draw_svg, draw_text
from preftune.errors import ConfigError
from preftune.runs.panels import smoothed
from preftune.runs.run import Best, Run

By: TypeAlias = Literal["step", "tokens"]
_WHOLE = 2  # runs that there must be
_SHORT = 12  # characters of a job's id that tell it from others


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; `by` is what their curves are drawn over."""

    runs: tuple[Run, ...]
    by: By = "step"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return a short name for each run: its suffix, else the beginning of its id; no two are the same."""
        short = [run.job.suffix or run.job.id[:_SHORT].rstrip("-") for run in self.runs]
        return tuple(name if short.count(name) == 1 else run.job.id for name, run in zip(short, self.runs, strict=True))

    @cached_property
    def differences(self) -> dict[str, tuple[str, ...]]:
        """Return the fields in which the runs differ, with the value of each run; `-` where it has none."""
        fields = dict.fromkeys(name for run in self.runs for name in run.asked)
        values = {name: tuple(run.asked.get(name, "-") for run in self.runs) for name in fields}
        return {name: told for name, told in values.items() if len(set(told)) > 1}

    @property
    def ranked_by(self) -> Literal["loss", "accuracy", "nothing"]:
        """Return what the runs can be ranked by on their evaluations."""
        methods = {type(run.method) for run in self.runs}
        if "validation_file" in self.differences or len(methods) > 1 or any(run.method is None for run in self.runs):
            return "nothing"
        is_same_loss = not any(name.startswith("training_method") for name in self.differences)
        return "loss" if is_same_loss or methods == {SFT} else "accuracy"

    @cached_property
    def bests(self) -> tuple[Best | None, ...]:
        """Return the best evaluation of each run."""
        return tuple(run.best(by_accuracy=self.ranked_by == "accuracy") for run in self.runs)

    @cached_property
    def leaders(self) -> tuple[int, ...]:
        """Return the indices of the runs with the best evaluation: several where these are equal, none unranked."""
        told = {at: self._score(best) for at, best in enumerate(self.bests) if best is not None}
        if self.ranked_by == "nothing" or len(told) < _WHOLE:
            return ()
        return tuple(at for at, score in told.items() if score == max(told.values()))

    @property
    def best(self) -> int | None:
        """Return the index of the best run, or None where there is no single one."""
        return self.leaders[0] if len(self.leaders) == 1 else None

    @property
    def conclusion(self) -> str:
        """Return in a sentence which checkpoint to take, and by what; or why that cannot be said."""
        if self.ranked_by == "nothing":
            return "The runs cannot be ranked: they differ in the method or in the validation file."
        if not self.leaders:
            return "The runs cannot be ranked: fewer than two of them have evaluations; set n_evals."
        best = self.bests[self.leaders[0]]
        assert best is not None  # noqa: S101 - of a run that was ranked
        is_loss = self.ranked_by == "loss"
        why = f"evaluation loss {best.loss:.4g}" if is_loss else f"reward accuracy {best.accuracy or 0.0:.1%}"
        if len(self.leaders) > 1:
            alike = " and ".join(self.names[at] for at in self.leaders)
            return f"The evaluation cannot tell {alike} apart: the same {why}; more pairs to evaluate on would."
        why += "" if is_loss else " (their losses differ in kind, so those do not rank them)"
        kept = {None: "no checkpoint was kept", best.step: f"take {best.checkpoint}"}
        nearest = f"the nearest kept checkpoint is {best.checkpoint} (step {best.checkpoint_step})"
        take = kept.get(best.checkpoint_step, nearest)
        return f"Best: {self.names[self.leaders[0]]} at step {best.step}, by {why}; {take}."

    @cached_property
    def panels(self) -> list[Panel]:
        """Return the panels in which any run has a curve, a colour a run; chosen is drawn through, rejected dashed."""
        described = [
            self._panel("evaluation loss", "eval", {"": "loss"}),
            self._panel("evaluation reward accuracy", "eval", {"": "accuracy"}),
            self._panel("training loss (mean of 20 steps)", "train", {"": "loss"}),
            self._panel("KL from the reference (dashed: rejected)", "", _sides("kl")),
            self._panel("log-probability of the answers (dashed: rejected)", "", _sides("logps")),
        ]
        return [panel for panel in described if any(series.columns[0] for series in panel.series)]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain values, for JSON."""
        return {
            "runs": [
                {"job": run.job.id, "name": name, "status": run.job.status, "verdict": run.verdict or None}
                | {"best": None if best is None else vars(best)}
                for run, name, best in zip(self.runs, self.names, self.bests, strict=True)
            ],
            "differences": {name: list(values) for name, values in self.differences.items()},
            "ranked_by": self.ranked_by,
            "best": None if self.best is None else self.runs[self.best].job.id,
            "conclusion": self.conclusion,
        }

    def to_json(self) -> str:
        """Return the comparison as JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False)

    def to_text(self, *, width: int = 80, colour: bool = False) -> str:
        """Return the comparison for a terminal of `width` columns: differences, results, conclusion, curves."""
        pictures = [draw_text(panel, width=width, colour=colour) for panel in self.panels]
        return "\n\n".join(filter(None, [*_tables(self._tables, width), self.conclusion, *pictures]))

    def __str__(self) -> str:
        return self.to_text()

    def _repr_svg_(self) -> str:
        """Return the comparison for a notebook, as one picture, which every viewer shows."""
        told = [
            f"{head} — " + " · ".join(f"{name}: {value}" for name, value in zip(self.names, values, strict=True))
            for _, (_, *rows) in self._tables
            for head, *values in rows
        ]
        return draw_sheet(self.panels, [*told, self.conclusion], [])

    def to_html(self) -> str:
        """Return the comparison as HTML: no script, readable on a light and on a dark page."""
        tables = "".join(
            f"<p><b>{escape(title)}</b></p><table>{''.join(_html_row(row) for row in rows)}</table>"
            for title, rows in self._tables
        )
        return f"{tables}<p>{escape(self.conclusion)}</p>{''.join(map(draw_svg, self.panels))}"

    @property
    def _tables(self) -> list[tuple[str, list[tuple[str, ...]]]]:
        differing = [(name, *values) for name, values in self.differences.items()]
        told = [
            ("status", *(run.job.status for run in self.runs)),
            ("verdict", *(run.verdict or "-" for run in self.runs)),
            ("best evaluation", *(_cell(best, lambda one: f"step {one.step}") for best in self.bests)),
            ("  loss", *(_cell(best, lambda one: f"{one.loss:.4g}") for best in self.bests)),
            ("  accuracy", *(_cell(best, _accuracy) for best in self.bests)),
            ("  checkpoint", *(_cell(best, _kept) for best in self.bests)),
        ]
        head = ("", *self.names)
        return [
            ("In what they differ", [head, *(differing or [("nothing", *("" for _ in self.runs))])]),
            ("How they went", [head, *told]),
        ]

    def _score(self, best: Best) -> float:
        return (best.accuracy or 0.0) if self.ranked_by == "accuracy" else -best.loss

    def _panel(self, title: str, split: str, fields: Mapping[str, str]) -> Panel:
        """Return the curves of some fields, of one split or of the one that tells most."""
        drawn: list[Series] = []
        for run, name in zip(self.runs, self.names, strict=True):
            scale = 1.0 if self.by == "step" else run.tokens_per_step or 1.0
            rows = _of(run.rows, split)
            for side, field_name in fields.items():
                values = [(row.step, getattr(row, field_name)) for row in rows]
                points = [(scale * step, value) for step, value in values if step is not None and value is not None]
                if any(row.split == "train" for row in rows):
                    points = smoothed([(x, y) for x, y in points if abs(y) < float("inf")])
                label = name if side != "rejected" else f"{name} rejected"
                drawn.append(Series(label, points, "dashed" if side == "rejected" else "line", name))
        return Panel(title, drawn, None, self.by)


def compare(runs: Iterable[Run], *, by: By = "step") -> Comparison:
    """Return several runs side by side, their curves over steps or over tokens of training.

    Raises ConfigError for fewer than two runs, and where tokens are asked for and the server counts none.
    """
    given = tuple(runs)
    if len({run.job.id for run in given}) < max(_WHOLE, len(given)):
        found = ", ".join(run.job.id for run in given) or "none"
        raise ConfigError(f"compare: expected at least two different jobs, found {found}; name each once")
    uncounted = [run.job.id for run in given if by == "tokens" and run.tokens_per_step is None]
    if uncounted:
        raise ConfigError(
            f"compare: expected a count of tokens, found none for {', '.join(uncounted)}; compare by step"
        )
    return Comparison(given, by)


def _of(rows: Sequence[MetricRow], split: str) -> list[MetricRow]:
    """Return the rows of a split in time; without one, the evaluations, or the training rows where there are none."""
    wanted = split or ("eval" if any(row.split == "eval" for row in rows) else "train")
    return sorted((row for row in rows if row.split == wanted), key=lambda row: row.step or 0)


def _sides(field_name: str) -> dict[str, str]:
    return {side: f"{field_name}_{side}" for side in ("chosen", "rejected")}


def _cell(best: Best | None, told: Callable[[Best], str]) -> str:
    return "-" if best is None else told(best)


def _kept(best: Best) -> str:
    """Return which checkpoint to take for an evaluation, by its step."""
    if best.checkpoint_step is None:
        return "none kept"
    return f"step {best.checkpoint_step}" + ("" if ":" in best.checkpoint else " (final)")


def _accuracy(best: Best) -> str:
    return "-" if best.accuracy is None else f"{best.accuracy:.1%}"


def _tables(tables: Iterable[tuple[str, list[tuple[str, ...]]]], width: int) -> Iterator[str]:
    """Yield tables as text; where the columns do not fit beside each other, each value on a line of its own."""
    for title, (head, *rows) in tables:
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        if sum(widths) + 2 * len(widths[1:]) <= width:
            lines = [
                "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=True)) for row in (head, *rows)
            ]
        else:
            lines = [line for row in rows for line in _stacked(head, row)]
        yield "\n".join([title, *(line.rstrip() for line in lines)])


def _stacked(head: tuple[str, ...], row: tuple[str, ...]) -> Iterator[str]:
    yield row[0]
    yield from (f"    {name}: {value}" for name, value in zip(head[1:], row[1:], strict=True))


def _html_row(row: tuple[str, ...]) -> str:
    return "".join(["<tr>", *(f'<td style="text-align:left">{escape(cell)}</td>' for cell in row), "</tr>"])
