"""What is seen of a job while it runs: its state, its rows, its curves, and the verdict as it forms.

`views` looks again and again and bears an outage of any length; `screen` and `line` turn what was seen into text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import pairwise, zip_longest
from statistics import median

from preftune.api.config import DPO
from preftune.api.fine_tuning import JobOrId, list_events, list_metrics, retrieve
from preftune.api.models import Event, FineTuneJob, MetricRow
from preftune.api.polling import Pauses
from preftune.api.steps import Emit, Feed, Now, Sleep
from preftune.api.transient import is_transient
from preftune.charts import Panel, draw_sheet, draw_text, visible
from preftune.errors import APIError
from preftune.runs.diagnose import Diagnosis, diagnose, method_of
from preftune.runs.panels import panels

_STALLED, _STALLED_ROWS = 120.0, 20.0  # seconds without a row, and times the usual pause between two
_LOOKED_AT = ("loss", "reward accuracy", "KL from the reference (approx.)", "log-probability of the answers")
_TWO_COLUMNS, _LOWEST, _AROUND = 110, 4, 4  # columns of a terminal for two; rows of a plot, and lines around it
_MINUTE, _HOUR = 60.0, 3600.0


@dataclass(frozen=True)
class View:
    """What is known of a job at one moment."""

    job: FineTuneJob
    rows: tuple[MetricRow, ...] = ()
    events: tuple[Event, ...] = ()
    quiet: float = 0.0  # seconds since anything new came
    trouble: str = ""  # why the last look failed

    @property
    def size(self) -> tuple[str, int, int]:
        """Return what grows while a job comes forward."""
        return self.job.status, len(self.rows), len(self.events)

    @property
    def step(self) -> int:
        """Return the last step that a row tells of."""
        return max((row.step or 0 for row in self.rows), default=0)

    @property
    def total(self) -> int | None:
        """Return the steps in all; of a job that has ended, those that were run."""
        return self.step if self.job.is_final else self.job.total_steps

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """Return what the curves say so far, or None before there is a row with a loss."""
        if not any(f"{row.split}/loss" in row.raw or row.loss is not None for row in self.rows):
            return None
        return diagnose(self.rows, config=method_of(self.job), total_steps=self.total)

    @property
    def stall(self) -> str:
        """Return a warning when a running job has been silent for long, against its own pace."""
        times = sorted(row.logged_at for row in self.rows if row.split == "train" and row.logged_at is not None)
        usual = median([(b - a).total_seconds() for a, b in pairwise(times)] or [0.0])
        if self.job.is_final or self.job.status != "running" or self.quiet < max(_STALLED, _STALLED_ROWS * usual):
            return ""
        return f"no row for {_duration(self.quiet)}: the job may be stalled; look at its events"


def views(job: JobOrId, *, poll_interval: float | None = None) -> Feed[View]:
    """Yield a View now and after each look, until the job has ended; trouble on the way is shown, not raised.

    Raises NotFoundError, and whatever else does not pass by itself.
    """
    pauses, moved, view = Pauses(poll_interval), (yield Now()), None
    rows: dict[tuple[int | None, str], MetricRow] = {}
    while True:
        before, trouble = view, ""
        try:
            found = yield from retrieve(job)
            last = None if found.is_final else max((step for step, _ in rows if step is not None), default=None)
            for row in (yield from list_metrics(job, from_step=last)):
                rows[row.step, row.split] = row
            view = View(found, tuple(rows.values()), tuple((yield from list_events(job))))
        except APIError as error:
            if not is_transient(error):
                raise
            trouble = str(error)
        now = yield Now()
        is_new = view is not None and (before is None or view.size != before.size)
        moved = now if is_new else moved
        if view is not None:
            view = replace(view, quiet=now - moved, trouble=trouble)
            yield Emit(view)
            if view.job.is_final and not trouble:
                return
        yield Sleep(pauses.after(progress=is_new))


def screen(view: View, now: datetime, *, width: int = 80, height: int = 40, colour: bool = False) -> str:
    """Return what a terminal of `width` by `height` shows: the state, as many panels as fit, the verdict so far."""
    head, foot = list(_head(view, now)), list(_foot(view))
    shown = [panel for panel in panels(view.rows, method=_preference(view.job)) if panel.title in _LOOKED_AT]
    columns = 2 if width >= _TWO_COLUMNS and len(shown) > 1 else 1
    room = height - len(head) - len(foot) - 2
    fitting = shown[: max(1, room // (_LOWEST + _AROUND)) * columns]
    lines = -(-len(fitting) // columns)
    each = max(_LOWEST, room // lines - _AROUND) if lines else 0
    drawn = [_drawn(panel, width // columns - 2 * (columns > 1), each, colour=colour) for panel in fitting]
    beside = [_beside(drawn[at : at + columns], width // columns) for at in range(0, len(drawn), columns)]
    return "\n".join(
        [*(part[:width] for part in head), "", *(line for block in beside for line in [*block, ""]), *foot]
    )


def sheet(view: View, now: datetime) -> str:
    """Return what a notebook shows, as one SVG element: the state, the panels, the verdict so far."""
    return draw_sheet(panels(view.rows, method=_preference(view.job))[:6], [*_head(view, now)], [*_foot(view)])


def line(view: View, now: datetime) -> str:
    """Return the state in one line, for a log."""
    last = next((row for row in reversed(view.rows) if row.loss is not None), None)
    loss = f"loss {last.loss:.4g} ({last.split})" if last else "no rows yet"
    verdict = view.diagnosis.verdict if view.diagnosis else "-"
    return "  ".join(
        [f"{now:%H:%M:%S}", view.job.id, _state(view, now), loss, verdict, *filter(None, [view.stall, view.trouble])]
    )


def _head(view: View, now: datetime) -> Iterator[str]:
    yield f"{view.job.id}  {_state(view, now)}  {view.job.model or view.job.from_checkpoint or ''}".rstrip()
    if view.events:
        last = view.events[-1]
        yield f"last event: {last.type}: {last.message}"
    if view.stall:
        yield f"warning: {view.stall}"
    if view.trouble:
        yield f"not connected, trying again: {view.trouble}"


def _state(view: View, now: datetime) -> str:
    """Return the status with what explains it: how long it waits, how far it is, how long it takes."""
    job = view.job
    if job.has_failed:
        return f"{job.status}: {view.events[-1].message}" if view.events else job.status
    if job.status in ("pending", "queued"):
        since = f" {_duration((now - job.created_at).total_seconds())}" if isinstance(job.created_at, datetime) else ""
        return f"{job.status}{since}{f', {job.queue_depth} before it' if job.queue_depth else ''}"
    steps = f" step {view.step} of {view.total or '?'}" if view.step else ""
    left = job.progress.seconds_remaining if job.progress and job.progress.estimate_available else None
    return f"{job.status}{steps}{f', about {_duration(left)} left' if left and not job.is_final else ''}"


def _foot(view: View) -> Iterator[str]:
    found = view.diagnosis
    if found is not None:
        first = found.matches[0]
        yield f"{'verdict' if view.job.is_final else 'so far'}: {first.rule}: {first.evidence}"
        yield f"  {first.advice}"


def _preference(job: FineTuneJob) -> DPO | None:
    method = method_of(job)
    return method if isinstance(method, DPO) else None


def _drawn(panel: Panel, width: int, height: int, *, colour: bool) -> list[str]:
    return draw_text(panel, width=width, height=height, colour=colour).splitlines()


def _beside(blocks: list[list[str]], width: int) -> list[str]:
    """Return blocks of lines next to each other."""
    rows = zip_longest(*blocks, fillvalue="")
    return ["".join(part + " " * (width - len(visible(part))) for part in row).rstrip() for row in rows]


def _duration(seconds: float) -> str:
    if seconds < 2 * _MINUTE:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"


def utc_now() -> datetime:
    """Return the time, with its zone."""
    return datetime.now(UTC)
