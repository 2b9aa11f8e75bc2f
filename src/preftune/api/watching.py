"""Following a job until it ends: metrics, events, the end itself.

Invariants: every row is delivered once, by its key (step, split); a late row is delivered when it is seen. A step is no
cursor, for training and evaluation share it: polls ask from the last step seen, inclusively. The end is a reading that
began after a final status was seen, and it asks for everything once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import TypeVar

from preftune.api.fine_tuning import JobOrId, list_events, list_metrics, retrieve
from preftune.api.models import Event, FineTuneJob, MetricRow, has_metrics
from preftune.api.polling import Patience, Pauses
from preftune.api.steps import Emit, Feed, Flow, Now, Sleep
from preftune.errors import APIError, APITimeoutError, JobFailedError

T = TypeVar("T")
_SPLITS = ("train", "eval")


def stream_metrics(
    job: JobOrId, *, from_step: int | None = None, poll_interval: float | None = None
) -> Feed[MetricRow]:
    """Yield MetricRows while a job runs, each exactly once, until it ends; `from_step` is inclusive.

    Ends quietly when the job fails: `wait` is what raises. Transient failures are borne for 15 minutes.
    """
    pauses, patience, seen = Pauses(poll_interval), Patience(), set[Hashable]()
    cursor = from_step
    while True:
        try:
            current = yield from retrieve(job)
            rows = yield from list_metrics(job, from_step=from_step if current.is_final else cursor)
        except APIError as error:
            yield from patience.bear(error)
            continue
        patience.reset()
        fresh = _unseen(rows, _row_key, seen)
        for row in sorted(fresh, key=_in_time):
            yield Emit(row)
        cursor = max([row.step for row in rows if row.step is not None], default=cursor)
        if current.is_final:
            return
        yield Sleep(pauses.after(progress=bool(fresh)))


def stream_events(job: JobOrId, *, poll_interval: float | None = None) -> Feed[Event]:
    """Yield Events while a job runs, each once, until it ends."""
    pauses, patience, seen = Pauses(poll_interval), Patience(), set[Hashable]()
    while True:
        try:
            current = yield from retrieve(job)
            events = yield from list_events(job)
        except APIError as error:
            yield from patience.bear(error)
            continue
        patience.reset()
        fresh = _unseen(events, _event_key, seen)
        for event in fresh:
            yield Emit(event)
        if current.is_final:
            return
        yield Sleep(pauses.after(progress=bool(fresh)))


def wait(job: JobOrId, *, timeout: float | None = None, poll_interval: float | None = None) -> Flow[FineTuneJob]:
    """Return the job once it is completed; `timeout` and `poll_interval` are in seconds.

    Raises JobFailedError, with the server's reason, when it ends otherwise, and APITimeoutError; the job goes on then.
    """
    end = math.inf if timeout is None else (yield Now()) + timeout
    pauses, patience = Pauses(poll_interval), Patience(end)
    while True:
        try:
            current = yield from retrieve(job)
            if current.is_final:
                return (yield from _ended(current))
        except APIError as error:
            yield from patience.bear(error)
            continue
        patience.reset()
        left = math.inf if timeout is None else end - (yield Now())
        if left <= 0:
            raise APITimeoutError(
                f"job {current.id}: expected it to end within {timeout:g} s, found {current.status}; "
                "it goes on: wait again, or cancel it",
                method="GET",
                path=f"/fine-tunes/{current.id}",
            )
        yield Sleep(min(pauses.after(progress=False), left))


def _ended(job: FineTuneJob) -> Flow[FineTuneJob]:
    if not job.has_failed:
        return job
    events = yield from list_events(job)
    raise JobFailedError(f"job {job.id}: {job.status}, {_reason(job, events)}", job=job, events=events)


def _reason(job: FineTuneJob, events: list[Event]) -> str:
    telling = [
        event for event in events if event.kind in ("job_error", "job_user_error", "job_stopped", "billing_limit")
    ]
    told = telling or [event for event in events if str(event.level).lower().endswith("error")] or events[-1:]
    return told[-1].message if told else f"the server gave no reason; see client.fine_tuning.retrieve({job.id!r})"


def _unseen(items: list[T], key: Callable[[T], Hashable], seen: set[Hashable]) -> list[T]:
    """Return the items that were not seen before, one of each, and remember them."""
    fresh: dict[Hashable, T] = {}
    for item in items:
        if key(item) not in seen:
            fresh.setdefault(key(item), item)
    seen.update(fresh)
    return list(fresh.values())


def _row_key(row: MetricRow) -> Hashable:
    """Return the key of a row; one without a step, or with no metric that we know, is known by all that it says."""
    known = row.step is not None and (not row.raw or has_metrics(row.raw, row.split))
    return row.key if known else (row.split, repr(row.raw))


def _in_time(row: MetricRow) -> tuple[int, int]:
    return (-1 if row.step is None else row.step), _SPLITS.index(row.split)


def _event_key(event: Event) -> Hashable:
    return repr((event.kind, event.message, event.step, event.created_at))  # also of what cannot be hashed
