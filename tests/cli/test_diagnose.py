import json

import pytest


def rows(loss=0.6, accuracy=0.9):
    return [
        {"train/global_step": step, "train/loss": loss, "train/grad_norm": 1.0, "train/reward/accuracy": accuracy}
        for step in range(1, 41)
    ] + [{"train/global_step": 40, "eval/loss": loss, "eval/reward/accuracy": accuracy}]


JOB = {"id": "ft-1", "status": "completed", "training_method": {"method": "dpo", "dpo_beta": 0.1}}


def test_a_finished_job_is_read_to_its_end(run, preftune_environment, preftune_job):
    code, out, err = run("diagnose", preftune_job.id)
    assert (code, err) == (0, "")
    assert out.startswith("healthy: ")
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("loss", "accuracy", "verdict", "code"),
    [(0.6, 0.9, "healthy", 0), (0.6, 0.2, "ties", 1), (0.9, 0.2, "swapped-eval", 1)],
)
def test_a_guard_ends_with_one_unless_the_run_is_healthy(run, answering, loss, accuracy, verdict, code):
    answering(GET_=JOB, GET_metrics={"metrics": rows(loss, accuracy)})
    assert run("diagnose", "ft-1")[0] == 0
    assert run("diagnose", "ft-1", "--strict")[0] == code
    told = json.loads(run("diagnose", "ft-1", "--json")[1])
    assert (told["version"], told["job"], told["diagnosis"]["verdict"]) == (1, "ft-1", verdict)


def test_a_job_that_has_hardly_begun_is_no_failure(run, answering):
    answering(GET_=JOB | {"status": "running", "total_steps": 90}, GET_metrics={"metrics": rows()[:3]})
    code, out, _ = run("diagnose", "ft-1", "--strict")
    assert (code, out.partition(":")[0]) == (0, "too-early")


def test_a_job_without_rows_is_told(run, answering):
    answering(GET_=JOB, GET_metrics={"metrics": []})
    code, _, err = run("diagnose", "ft-1")
    assert (code, err.startswith("preftune: ft-1: rows: expected at least one row with a loss, found none")) == (
        2,
        True,
    )


def test_rows_on_disk_need_no_server(run, write):
    assert run("diagnose", write(*rows(), name="rows.jsonl"))[1].startswith("healthy: ")


def test_a_file_that_is_not_there_is_told_as_one(run, folder):
    assert run("diagnose", "rows.jsonl") == (
        2, "", "preftune: rows.jsonl: cannot be read, No such file or directory; check the path\n",
    )  # fmt: skip
