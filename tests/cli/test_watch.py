import re
import signal
import subprocess
import sys

import pytest


def test_a_job_that_ended_well_is_shown_once(run, preftune_environment, preftune_job):
    code, out, err = run("watch", preftune_job.id)
    assert (code, err, len(out.splitlines())) == (0, "", 1)


def test_a_job_that_failed_is_told_by_the_exit_code(run, answering):
    answering(GET_={"id": "ft-1", "status": "error"}, GET_metrics={"metrics": []}, GET_events={"data": []})
    assert run("watch", "ft-1")[0] == 1


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_shows_the_screen(terminal, preftune_environment, preftune_job, columns):
    code, shown = terminal("watch", preftune_job.id, columns=columns)
    assert code == 0
    lines = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", shown).splitlines()
    assert any(line.startswith(f"{preftune_job.id}  completed") for line in lines)
    assert any(line.startswith("verdict: ") for line in lines)


@pytest.mark.slow
def test_an_interrupt_leaves_the_job_running_and_says_how_to_come_back(
    preftune_environment, preftune_client, preftune_faults, tmp_path
):
    from preftune.recipes.sample import write_sample

    preftune_faults.add("stuck-queued once")
    file = preftune_client.files.wait(preftune_client.files.upload(write_sample(tmp_path)[0]), poll_interval=0.01)
    job = preftune_client.fine_tuning.create(model="m", training_file=file.id, training_method="dpo")
    command = [sys.executable, "-m", "preftune", "watch", job.id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "queued" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, f"\n{job.id} goes on; come back with: preftune watch {job.id}\n")
    assert preftune_client.fine_tuning.retrieve(job).status == "queued"
    preftune_client.fine_tuning.cancel(job)
