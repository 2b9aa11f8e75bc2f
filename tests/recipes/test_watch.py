import sys
import types

import pytest

import preftune as pt
from preftune.recipes import watch as recipe


@pytest.fixture
def log(preftune_environment, preftune_job, capsys):
    """Watch the finished job of the run; return the job and what was printed."""
    with pt.Client() as client:
        ended = pt.watch(client, preftune_job)
    return ended, capsys.readouterr().out


def test_where_no_terminal_is_a_line_tells_the_state(log, preftune_job):
    ended, out = log
    assert (ended.id, ended.status) == (preftune_job.id, "completed")
    (line,) = out.splitlines()
    assert f"  {preftune_job.id}  completed step {preftune_job.total_steps} of" in line


def test_a_log_tells_each_status_and_else_a_line_a_minute(capsys, monkeypatch):
    show, at = recipe._log(), 0.0
    monkeypatch.setattr(recipe.time, "monotonic", lambda: at)
    job = {status: recipe.View(pt.api.models.FineTuneJob(id="ft-1", status=status)) for status in ("queued", "running")}
    for status, at in (("queued", 1.0), ("queued", 30.0), ("running", 31.0), ("running", 80.0), ("running", 95.0)):  # noqa: B007
        show(job[status])
    assert [line.split("  ")[2] for line in capsys.readouterr().out.splitlines()] == ["queued", "running", "running"]


def test_a_terminal_is_drawn_over(capsys, monkeypatch):
    monkeypatch.setattr(recipe.shutil, "get_terminal_size", lambda: (80, 24))
    monkeypatch.setenv("NO_COLOR", "1")
    show = recipe._terminal()
    view = recipe.View(pt.api.models.FineTuneJob(id="ft-1", status="queued"))
    show(view)
    show(view)
    drawn = "\x1b[2Kft-1  queued\n\x1b[0J"
    assert capsys.readouterr().out == f"{drawn}\x1b[1A\r{drawn}"


def test_a_notebook_has_one_output_that_is_updated(preftune_environment, preftune_job, monkeypatch):
    shown = []

    class Handle:
        def update(self, bundle, *, raw):
            shown.append(bundle)

    def display(bundle, *, raw, display_id):
        shown.append(bundle)
        return Handle()

    shell = types.SimpleNamespace(kernel=object())
    modules = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", modules)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    with pt.Client() as client:
        pt.watch(client, preftune_job)
        show = recipe._notebook()
        view = recipe.View(preftune_job)
        show(view)
        show(view)
    assert len(shown) == 3
    assert [*shown[0]] == ["image/svg+xml", "text/plain"]  # a picture is shown by every viewer, markup is not
    assert shown[0]["image/svg+xml"].count("<svg") == 7
    assert ">verdict: healthy" in shown[0]["image/svg+xml"]
    assert "verdict" in shown[0]["text/plain"]
    shell.__dict__.clear()
    assert recipe._notebook() is None


def test_a_picture_that_takes_long_is_drawn_less_often_but_an_end_always(monkeypatch):
    shown, clock = [], [0.0]
    monkeypatch.setattr(recipe.time, "monotonic", lambda: clock[0])

    def show(view):
        shown.append((view.job.status, clock[0]))
        clock[0] += 0.2

    spare = recipe._sparing(show)
    for status, at in (
        ("queued", 0),
        ("running", 1),
        ("running", 3),
        ("running", 11),
        ("running", 12),
        ("running", 22),
        ("completed", 23),
    ):
        clock[0] = float(at)
        spare(recipe.View(pt.api.models.FineTuneJob(id="ft-1", status=status)))
    assert shown == [("queued", 0.0), ("running", 1.0), ("running", 12.0), ("completed", 23.0)]
