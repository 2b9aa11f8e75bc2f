"""Watching a job: live panels in a terminal, a line a minute in a log, one cell that is redrawn in a notebook."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any

from preftune.api.fine_tuning import JobOrId
from preftune.api.models import FineTuneJob
from preftune.api.reading import id_of
from preftune.client.clients import Client
from preftune.runs.view import View, line, screen, sheet, utc_now, views

_LOG_EVERY = 60.0  # seconds between two lines of a log, unless the status changes
_SPARED = 50.0  # times as long as a picture took nothing is drawn: a long run costs a fiftieth of a core
_POLL = 2.0  # seconds between two looks


def watch(client: Client, job: JobOrId | None = None, *, poll_interval: float = _POLL) -> FineTuneJob:
    """Show a job while it runs, and return it when it has ended; without `job`, the last one of this machine.

    In a terminal the screen is redrawn, elsewhere a line is printed a minute, in a notebook one output is updated.
    An outage is shown and waited for. Interrupting it leaves the job running.
    """
    job_id = id_of(job, "job") if job is not None else client.fine_tuning.last().id
    picture = _notebook() or (_terminal() if sys.stdout.isatty() else None)
    show = _sparing(picture) if picture else _log()
    view: View | None = None
    for view in client.stream(views(job_id, poll_interval=poll_interval)):
        show(view)
    assert view is not None  # noqa: S101 - the feed ends with the view of a job that has ended
    return view.job


def _terminal() -> Callable[[View], None]:
    """Return what draws a view over the one before."""
    drawn = 0

    def show(view: View) -> None:
        nonlocal drawn
        columns, lines = shutil.get_terminal_size()
        text = screen(view, utc_now(), width=columns, height=lines - 1, colour=not os.environ.get("NO_COLOR"))
        shown = text.splitlines()[: lines - 1]
        up = f"\x1b[{drawn}A\r" if drawn else ""
        sys.stdout.write(up + "".join(f"\x1b[2K{each}\n" for each in shown) + "\x1b[0J")
        sys.stdout.flush()
        drawn = len(shown)

    return show


def _sparing(show: Callable[[View], None]) -> Callable[[View], None]:
    """Return what draws a view unless that would take more than a fiftieth of the time; never leaves out an end."""
    status, due = "", 0.0

    def spare(view: View) -> None:
        nonlocal status, due
        begin = time.monotonic()
        if view.job.is_final or view.job.status != status or begin >= due:
            show(view)
            end = time.monotonic()
            status, due = view.job.status, end + _SPARED * (end - begin)

    return spare


def _log() -> Callable[[View], None]:
    """Return what prints a view as a line, when a minute has passed or the status has changed."""
    status, due = "", 0.0

    def show(view: View) -> None:
        nonlocal status, due
        if view.job.status != status or time.monotonic() >= due:
            print(line(view, utc_now()), flush=True)  # noqa: T201 - what it is for
            status, due = view.job.status, time.monotonic() + _LOG_EVERY

    return show


def _notebook() -> Callable[[View], None] | None:
    """Return what redraws one output of a notebook, or None outside of one."""
    shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
    if not shell or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # noqa: PLC0415 - only where it runs already

    handle: Any = None

    def show(view: View) -> None:
        nonlocal handle
        bundle = {"image/svg+xml": sheet(view, utc_now()), "text/plain": screen(view, utc_now())}
        if handle is None:
            handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            handle.update(bundle, raw=True)

    return show
