"""Following a job until it ends: metrics, events, the end itself.

Invariants: every row is delivered once, by its key (step, split); a late row is delivered when it is seen. A step is no
cursor, for training and evaluation share it: polls ask from the last step seen, inclusively. The end is a reading that
began after a final status was seen, and it asks for everything once more.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from operator import itemgetter
from typing import Generic, TypeAlias, TypeVar

from preftune.api.fine_tuning import JobOrId, cancel, list_events, list_metrics, retrieve
from preftune.api.models import Event, FineTuneJob, MetricRow, has_metrics
from preftune.api.polling import Patience, Pauses
from preftune.api.steps import Emit, Feed, Flow, Now, Sleep
from preftune.api.transient import is_transient
from preftune.errors import (
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    BadRequestError,
    ConfigError,
    JobFailedError,
)

T = TypeVar("T")
CancelIf: TypeAlias = Callable[[list[MetricRow]], bool | str | None]
_SPLITS = ("train", "eval")


def stream_metrics(
    job: JobOrId,
    *,
    from_step: int | None = None,
    after: MetricRow | None = None,
    poll_interval: float | None = None,
    cancel_if: CancelIf | None = None,
    raise_on_failure: bool = False,
) -> Feed[MetricRow]:
    """Yield MetricRows while a job runs, each exactly once, until it ends; `from_step` is inclusive.

    `after` goes on behind a row that was delivered before. `cancel_if` is shown the rows so far, the newest last, as
    each one arrives; when it returns something true the job is cancelled, and once it has stopped JobFailedError says
    why (in the predicate's words, if it returned any). Otherwise the stream ends quietly when the job fails, unless
    `raise_on_failure`. Transient failures are borne for 15 minutes.
    """
    rows = _Rows(from_step, after)

    def read(*, final: bool) -> Flow[list[MetricRow]]:
        return rows.fresh((yield from list_metrics(job, from_step=rows.ask_from(final=final))))

    return _watched(job, read, _Guard(job, cancel_if), Pauses(poll_interval), raise_on_failure=raise_on_failure)


def stream_events(job: JobOrId, *, poll_interval: float | None = None, raise_on_failure: bool = False) -> Feed[Event]:
    """Yield Events while a job runs, each once, until it ends, quietly when it fails, unless `raise_on_failure`."""
    seen = _Seen(_event_key)

    def read(*, final: bool) -> Flow[list[Event]]:  # noqa: ARG001 - events are always asked for whole
        return seen.fresh((yield from list_events(job)))

    return _watched(job, read, _Guard(job, None), Pauses(poll_interval), raise_on_failure=raise_on_failure)


def follow(
    job: JobOrId,
    *,
    from_step: int | None = None,
    poll_interval: float | None = None,
    cancel_if: CancelIf | None = None,
    raise_on_failure: bool = False,
) -> Feed[MetricRow | Event]:
    """Yield MetricRows and Events while a job runs, merged in time, each once; the arguments are `stream_metrics`'s."""
    rows, seen = _Rows(from_step, None), _Seen(_event_key)

    def read(*, final: bool) -> Flow[list[MetricRow | Event]]:
        found = yield from list_metrics(job, from_step=rows.ask_from(final=final))
        events = yield from list_events(job)  # nothing counts as seen before both have been read
        return _merged(rows.fresh(found), seen.fresh(events))

    return _watched(job, read, _Guard(job, cancel_if), Pauses(poll_interval), raise_on_failure=raise_on_failure)


def _watched(
    job: JobOrId, read: Callable[..., Flow[list[T]]], guard: _Guard, pauses: Pauses, *, raise_on_failure: bool
) -> Feed[T]:
    """Read until the end, handing on what is new."""
    patience = Patience()
    while True:
        try:
            current = yield from retrieve(job)
            fresh = yield from read(final=current.is_final)
        except APIError as error:
            yield from patience.bear(error)
            continue
        patience.reset()
        yield from guard.look_at(fresh)  # before they are handed on: whoever reads may be slow, and steps cost money
        for item in fresh:
            yield Emit(item)
        if current.is_final and (raise_on_failure or guard.why):
            yield from _ended_patiently(current, guard.why, patience)
        if current.is_final:
            return
        yield Sleep(pauses.after(progress=bool(fresh)))


def _ended_patiently(job: FineTuneJob, why: str, patience: Patience) -> Flow[None]:
    while True:
        try:
            yield from _ended(job, why)
        except APIError as error:
            yield from patience.bear(error)
        else:
            return


class _Seen(Generic[T]):
    """Tells what is new by its key."""

    def __init__(self, key: Callable[[T], Hashable]) -> None:
        self._key = key
        self.keys = set[Hashable]()

    def fresh(self, items: Iterable[T]) -> list[T]:
        """Return the items that were not seen before, one of each, and remember them."""
        fresh: dict[Hashable, T] = {}
        for item in items:
            if self._key(item) not in self.keys:
                fresh.setdefault(self._key(item), item)
        self.keys.update(fresh)
        return list(fresh.values())


class _Rows:
    """Which rows to ask for, and which of them are new."""

    def __init__(self, from_step: int | None, after: MetricRow | None) -> None:
        if after is not None and from_step is not None:
            raise ConfigError("stream_metrics: expected from_step or after, found both; after=row says the step itself")
        if after is not None and (after.step is None or after.split not in _SPLITS):
            raise ConfigError(
                "stream_metrics: expected after= a row with a step, of train or eval, found none such; give from_step="
            )
        self._first = self._cursor = from_step if after is None else after.step
        self._seen = _Seen(_row_key)
        if after is not None:
            self._seen.keys.update((after.step, split) for split in _SPLITS[: _SPLITS.index(after.split) + 1])

    def ask_from(self, *, final: bool) -> int | None:
        """Return the first step to ask for: the last one seen, and at the end the first of all."""
        return self._first if final else self._cursor

    def fresh(self, rows: list[MetricRow]) -> list[MetricRow]:
        """Return the new rows in time, and remember them."""
        first = -math.inf if self._first is None else self._first
        wanted = [row for row in rows if row.step is None or row.step >= first]
        self._cursor = max([row.step for row in wanted if row.step is not None], default=self._cursor)
        return sorted(self._seen.fresh(wanted), key=_in_time)


class _Guard:
    """Cancels a job when the user's predicate says so, and keeps why."""

    def __init__(self, job: JobOrId, cancel_if: CancelIf | None) -> None:
        self._job, self._cancel_if = job, cancel_if
        self._rows: list[MetricRow] = []
        self._is_asked = False
        self.why = ""

    def look_at(self, items: Sequence[object]) -> Flow[None]:
        """Show the rows among the items to the predicate, one after another; cancel the job on its word."""
        if self._cancel_if is None:
            return
        for row in items:
            if isinstance(row, MetricRow) and not self.why:
                self._rows.append(row)
                verdict = self._cancel_if(self._rows)
                if verdict:
                    said = verdict if isinstance(verdict, str) else f"{_name(self._cancel_if)} said so"
                    self.why = f"cancel_if at step {row.step} ({row.split}): {said}"
        if self.why and not self._is_asked:
            yield from self._cancel()

    def _cancel(self) -> Flow[None]:
        try:
            yield from cancel(self._job)
        except BadRequestError:
            self._is_asked = True  # it has ended, as the next reading of its status says
        except APIError as error:
            if not is_transient(error) and not isinstance(error, APIResponseValidationError):
                raise  # else the next poll tries again; the reading before made sense, so nonsense passes as well
        else:
            self._is_asked = True


def _name(function: object) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


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


def _ended(job: FineTuneJob, why: str = "") -> Flow[FineTuneJob]:
    """Return a job that is completed; raise JobFailedError for any other, with the reason.

    `why` is our own for cancelling it; a job that failed by itself meanwhile has the server's.
    """
    if not job.has_failed:
        return job
    events = yield from list_events(job)
    reason = why if why and str(job.status).lower() == "cancelled" else _reason(job, events)
    raise JobFailedError(f"job {job.id}: {job.status}, {reason}", job=job, events=events)


def _reason(job: FineTuneJob, events: list[Event]) -> str:
    telling = [
        event for event in events if event.kind in ("job_error", "job_user_error", "job_stopped", "billing_limit")
    ]
    told = telling or [event for event in events if str(event.level).lower().endswith("error")] or events[-1:]
    return told[-1].message if told else f"the server gave no reason; see client.fine_tuning.retrieve({job.id!r})"


def _row_key(row: MetricRow) -> Hashable:
    """Return the key of a row; one without a step, or with no metric that we know, is known by all that it says."""
    known = row.step is not None and (not row.raw or has_metrics(row.raw, row.split))
    return row.key if known else (row.split, repr(row.raw))


def _in_time(row: MetricRow) -> tuple[int, int]:
    return (-1 if row.step is None else row.step), _SPLITS.index(row.split)


def _event_key(event: Event) -> Hashable:
    return repr((event.kind, event.message, event.step, event.created_at))  # also of what cannot be hashed


def _merged(rows: list[MetricRow], events: list[Event]) -> list[MetricRow | Event]:
    """Return both in one order of time; each keeps its own order, and what has no time stands after the one before."""
    first: list[tuple[float, MetricRow | Event]] = _timed(rows, [row.logged_at for row in rows])
    second: list[tuple[float, MetricRow | Event]] = _timed(events, [event.created_at for event in events])
    return [item for _, item in heapq.merge(first, second, key=itemgetter(0))]


def _timed(items: Iterable[T], times: Iterable[object]) -> list[tuple[float, T]]:
    """Return items with unix seconds that never fall."""
    return list(zip(accumulate(map(_seconds, times), max), items, strict=True))


def _seconds(time: object) -> float:
    """Return unix seconds; a time without a zone is the server's, universal."""
    if not isinstance(time, datetime):
        return -math.inf
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
