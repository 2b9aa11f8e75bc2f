"""The smoke test of a script that submits jobs: it runs unchanged, against a server that really trains."""

import os
import runpy
import sys
from pathlib import Path

import pytest

import preftune as pt

SCRIPT = Path(os.environ.get("TRAIN_SCRIPT", "submit_from_ci.py"))


def run_script(monkeypatch: pytest.MonkeyPatch) -> object:
    """Run the script as CI would; return its exit code."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "pairs.jsonl", "heldout.jsonl"])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return end.value.code


@pytest.mark.preftune
def test_the_script_trains_a_healthy_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_script(monkeypatch) == 0


@pytest.mark.preftune("POST /fine-tunes lose once")
def test_a_lost_answer_is_not_paid_for_twice(monkeypatch: pytest.MonkeyPatch, preftune_client: pt.Client) -> None:
    monkeypatch.setenv("GITHUB_SHA", "another")
    before = len(preftune_client.fine_tuning.list())
    assert run_script(monkeypatch) == 0
    assert len(preftune_client.fine_tuning.list()) == before + 1


@pytest.mark.preftune("job-error at step 3 once")
def test_a_job_that_fails_fails_the_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_SHA", "failing")
    assert run_script(monkeypatch) == 2
