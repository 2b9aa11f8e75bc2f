import re
from datetime import UTC, datetime

from preftune.api.models import Checkpoint, Event, FineTuneJob, MetricRow
from preftune.runs import Run
from preftune.runs.page import run_page

JOB = {
    "id": "ft-1", "status": "error", "model": "m", "training_method": {"method": "dpo", "simpo_gamma": 1.0},
    "total_price": 12_340_000_000, "steps_completed": 2, "total_steps": 9, "n_epochs": 2,
}  # fmt: skip
EVENTS = [Event(type="job_error", message="the <disk> is full", created_at=datetime(2026, 11, 24, 7, 0, tzinfo=UTC))]


def page(rows=(), **fields):
    return run_page(Run(FineTuneJob(**JOB | fields), rows, [Checkpoint(step=5, path="p")], EVENTS), data="<p>data</p>")


def row(step, **more):
    values = dict.fromkeys(("accuracy", "margin", "kl_chosen", "kl_rejected", "logps_chosen", "grad_norm"), step / 7)
    return MetricRow("train", step=step, loss=1 / step, **values | more)


def test_everything_that_is_known_of_a_run_is_on_its_page():
    text = page([row(1), row(2)])
    assert re.findall("<h2>(.+?)</h2>", text) == [
        "Verdict",
        "Curves",
        "What was trained",
        "Data",
        "Checkpoints",
        "Events",
    ]
    for told in (
        "$12.34",
        "the &lt;disk&gt; is full, 2 of 9 steps",
        "Implied by simpo_gamma",
        "n_epochs",
        "2026-11-24 07:00:00",
        "<p>data</p>",
    ):
        assert told in text
    assert text.count("<svg") == 6


def test_a_run_that_has_just_begun_has_a_page():
    text = page(status="pending", total_price=None, n_epochs=999)
    assert text.count("No rows yet.") == 2
    assert "do not read as a configuration" in text
    assert "<td>unknown</td>" in text


def test_a_page_loads_nothing_and_runs_nothing():
    text = page([row(1), row(2)])
    assert not re.search(r"<script|<link|<img|url\(|@import|src=", text)


def test_ten_thousand_rows_are_less_than_a_megabyte():
    rows = [row(step, kl_chosen=step * 37 % 101, logps_chosen=-float(step * 31 % 97)) for step in range(1, 10_001)]
    assert 10_000 < len(page(rows)) < 1_000_000
