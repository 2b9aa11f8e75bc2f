import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from preftune.api.models import Event, FineTuneJob, MetricRow
from preftune.api.steps import Emit, Now, Request, Response, Sleep
from preftune.errors import APIConnectionError, NotFoundError
from preftune.runs.view import View, line, screen, utc_now, views

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ESCAPE = re.compile("\x1b\\[[0-9;]*m")


def job(status="running", **more):
    return FineTuneJob(**{"id": "ft-1", "status": status, "model": "some/model", "total_steps": 40} | more)


def row(step, **more):
    values = {
        "loss": 0.69 - 0.005 * step,
        "accuracy": 0.7,
        "grad_norm": 1.0,
        "kl_chosen": 0.1 * step,
        "kl_rejected": 0.2 * step,
    }
    logged = NOW + timedelta(seconds=2 * step)
    return MetricRow(
        "train", step=step, logged_at=logged, **values | {"logps_chosen": -9.0, "logps_rejected": -9.0 - step} | more
    )


ROWS = tuple(row(step) for step in range(1, 31))


def seen(feed, *looks):
    """Return the views of a feed whose looks are answered in turn, each 10 s after the other; None is an outage."""
    found, asked, step, at, answers = [], [], next(feed), 0.0, {}
    looks = list(looks)
    while True:
        try:
            if isinstance(step, Emit):
                found.append(step.item)
                step = feed.send(None)
            elif isinstance(step, Sleep):
                at += 10.0
                step = feed.send(None)
            elif isinstance(step, Now):
                step = feed.send(at)
            else:
                assert isinstance(step, Request)
                asked.append((step.path.rpartition("/")[2], dict(step.params or {})))
                if step.path.endswith("ft-1"):
                    answers = looks.pop(0)
                if isinstance(answers, Exception):
                    step = feed.throw(answers)
                else:
                    step = feed.send(Response(200, {}, _json(answers[step.path.rpartition("/")[2]]), step))
        except StopIteration:
            return found, asked


def _json(value):
    import json

    return json.dumps(value).encode()


def look(status, *steps):
    rows = [{"train/global_step": step, "train/loss": 0.5} for step in steps]
    return {"ft-1": {"id": "ft-1", "status": status}, "metrics": {"metrics": rows}, "events": {"data": []}}


def outage():
    return APIConnectionError("no network", method="GET", path="/fine-tunes/ft-1")


def test_a_job_is_looked_at_until_it_ends_and_asked_for_what_is_new():
    found, asked = seen(views("ft-1"), look("queued"), look("running", 1, 2), look("completed", 1, 2, 3))
    assert [(view.job.status, view.step, view.trouble) for view in found] == [
        ("queued", 0, ""), ("running", 2, ""), ("completed", 3, ""),
    ]  # fmt: skip
    assert [params for path, params in asked if path == "metrics"] == [{}, {}, {}]
    found, asked = seen(views("ft-1"), look("running", 1), look("running", 1, 2), look("completed", 3))
    assert [params for path, params in asked if path == "metrics"] == [{}, {"global_step_from": 1}, {}]
    assert [row.step for row in found[-1].rows] == [1, 2, 3]


def test_an_outage_is_shown_and_waited_for():
    found, _ = seen(views("ft-1"), outage(), look("running", 1), outage(), outage(), look("completed", 1))
    assert [(view.job.status, bool(view.trouble)) for view in found] == [
        ("running", False), ("running", True), ("running", True), ("completed", False),
    ]  # fmt: skip
    assert [view.quiet for view in found] == [0.0, 10.0, 20.0, 0.0]


def test_a_job_that_is_not_there_is_an_error():
    missing = NotFoundError("no", method="GET", path="/fine-tunes/ft-1", status=404)
    with pytest.raises(NotFoundError):
        seen(views("ft-1"), missing)


@pytest.mark.parametrize(
    ("view", "state"),
    [
        (View(job("queued", created_at=NOW - timedelta(minutes=14), queue_depth=3)), "queued 14 min, 3 before it"),
        (View(job("pending", created_at=NOW - timedelta(seconds=5))), "pending 5 s"),
        (View(job("pending", created_at=NOW - timedelta(hours=3))), "pending 3.0 h"),
        (View(job("queued")), "queued"),
        (View(job(), ROWS), "running step 30 of 40"),
        (View(job(total_steps=None), ROWS), "running step 30 of ?"),
        (
            View(job(progress={"estimate_available": True, "seconds_remaining": 240}), ROWS),
            "running step 30 of 40, about 4 min left",
        ),
        (View(job("completed"), ROWS), "completed step 30 of 30"),
        (View(job("error"), (), (Event(type="job_error", message="It broke."),)), "error: It broke."),
        (View(job("error")), "error"),
        (View(job()), "running"),
    ],
)
def test_a_state_is_told_with_what_explains_it(view, state):
    assert screen(view, NOW).splitlines()[0].rstrip() == f"ft-1  {state}  some/model"


def test_a_running_job_that_is_silent_for_long_is_warned_of():
    silent = View(job(), ROWS, quiet=300.0)
    assert "warning: no row for 5 min: the job may be stalled; look at its events" in screen(silent, NOW)
    for calm in (
        replace(silent, quiet=60.0),
        replace(silent, job=job("completed")),
        replace(silent, job=job("queued")),
    ):
        assert calm.stall == ""
    slow = tuple(replace(one, logged_at=NOW + timedelta(minutes=one.step)) for one in ROWS)
    assert replace(silent, rows=slow).stall == ""


def test_trouble_and_the_last_event_stand_above_the_curves():
    view = View(job(), ROWS, (Event(type="epoch_complete", message="Epoch 1."),), trouble="no network")
    assert screen(view, NOW).splitlines()[1:3] == [
        "last event: epoch_complete: Epoch 1.", "not connected, trying again: no network",
    ]  # fmt: skip


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("width", "height", "panels"), [(80, 24, 2), (80, 50, 4), (120, 24, 4), (80, 8, 1)])
def test_a_screen_holds_as_many_panels_as_fit(width, height, panels, colour):
    lines = ESCAPE.sub("", screen(View(job(), ROWS), NOW, width=width, height=height, colour=colour)).splitlines()
    titles = ("loss ", "reward accuracy", "KL from", "log-probability of")
    assert sum(title in "\n".join(lines) for title in titles) == panels
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 15)


def test_the_verdict_forms_while_the_job_runs():
    assert "so far" not in screen(View(job()), NOW)
    assert "so far: too-early: there are 5 training rows" in screen(View(job(), ROWS[:5]), NOW)
    assert "so far: healthy" in screen(View(job(), ROWS), NOW)
    assert "verdict: healthy" in screen(View(job("completed"), ROWS[:5]), NOW)


def test_a_log_has_all_of_it_in_one_line():
    assert line(View(job("queued")), NOW) == "12:00:00  ft-1  queued  no rows yet  -"
    assert line(View(job(), ROWS, quiet=300.0, trouble="no network"), NOW) == (
        "12:00:00  ft-1  running step 30 of 40  loss 0.54 (train)  healthy  "
        "no row for 5 min: the job may be stalled; look at its events  no network"
    )


def test_now_has_its_zone():
    assert utc_now().tzinfo is UTC
