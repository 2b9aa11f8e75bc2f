"""The command line of the official client, as a script without a terminal runs it, against the local server."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

if importlib.util.find_spec("together") is None:
    pytest.skip("the official client is not in this environment: make peers", allow_module_level=True)

import preftune as pt
from preftune.recipes.sample import MODEL, write_sample

COMMAND = Path(sys.executable).with_name("together")
ASKED = {"model": MODEL, "training_method": "dpo", "training_type": "Lora"}
PAIRS = 1500  # at a batch of one over twenty epochs, training that goes on for as long as it is looked at


@pytest.fixture(scope="module")
def server():
    with pt.LocalServer(speed=0) as server:  # what is created stays pending until the clock is turned
        yield server


@pytest.fixture(scope="module")
def client(server):
    with pt.Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:
        yield client


@pytest.fixture
def tg(server, tmp_path):
    """Return a function that runs the command line, in an empty folder, and returns what it did."""
    folder = tmp_path / "work"
    folder.mkdir()
    env = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "200", "NO_COLOR": "1",
        "TOGETHER_BASE_URL": server.url, "TOGETHER_API_KEY": server.api_key, "TOGETHER_TELEMETRY_DISABLED": "1",
        "TOGETHER_DISABLE_VERSION_CHECK": "1",  # which would ask PyPI
    }  # fmt: skip

    def run(*words, status=0):
        done = subprocess.run(
            [COMMAND, *words], env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout + (done.stderr if status else "")

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Return the paths of pairs, those held out, and one of many pairs."""
    folder = tmp_path_factory.mktemp("sample")
    train, held_out = write_sample(folder)
    lines = train.read_text().splitlines()
    many = folder / "many.jsonl"
    many.write_text("".join(lines[number % len(lines)] + "\n" for number in range(PAIRS)))
    return train, held_out, many


@pytest.fixture(scope="module")
def uploaded(client, sample):
    return [client.files.wait(client.files.upload(path).id, timeout=60).id for path in sample]


@pytest.fixture(scope="module")
def completed(server, client, uploaded):
    job = client.fine_tuning.create(
        **ASKED, training_file=uploaded[0], validation_file=uploaded[1], n_epochs=2, n_checkpoints=2, n_evals=2
    )

    def ended():
        server.turn(60)
        return client.fine_tuning.retrieve(job.id).is_final

    until(ended)
    return job.id


@pytest.fixture(scope="module", params=["completed", "pending", "running"])
def state(request):
    return request.param


@pytest.fixture(scope="module")
def job(state, server, client, uploaded, completed):
    """Return a job that is and stays in this state."""
    if state == "completed":
        yield completed
        return
    file, effort = (uploaded[2], {"n_epochs": 20, "batch_size": 1}) if state == "running" else (uploaded[0], {})
    job = client.fine_tuning.create(**ASKED, **effort, training_file=file)
    if state == "running":
        server.turn(60)
        until(lambda: len(client.fine_tuning.list_metrics(job.id)) > 1)
    yield job.id
    client.fine_tuning.cancel(job.id)


def until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not come about in a minute"
        time.sleep(0.02)


def test_files_go_up_once_are_listed_retrieved_downloaded_and_deleted(tg, client, tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"prompt": "a question", "completion": "an answer"}) + "\n")
    said = tg("files", "upload", str(path), "--no-json")
    [file_id] = [word for word in said.split() if word.startswith("file-")]
    assert "Success!" in said
    assert f"File already exists under ID: {file_id}" in tg("files", "upload", str(path), "--no-json")
    client.files.wait(file_id, timeout=60)
    assert all(word in tg("files", "list", "--no-json") for word in (file_id, "own.jsonl"))
    retrieved = json.loads(tg("files", "retrieve", file_id, "--json"))
    assert (retrieved["id"], retrieved["filename"], retrieved["bytes"]) == (file_id, "own.jsonl", path.stat().st_size)
    assert (retrieved["processing_status"], retrieved["validation_report"]["nlines"]) == ("COMPLETED", 1)
    tg("files", "download", file_id, "--output", "content", "--no-json")
    assert (tg.folder / "content" / "own.jsonl").read_bytes() == path.read_bytes()
    assert "File deleted" in tg("files", "delete", file_id, "--non-interactive", "--no-json")
    assert file_id not in tg("files", "list", "--no-json")
    assert f"there is no file {file_id}" in tg("files", "retrieve", file_id, "--no-json", status=1)


def test_a_job_is_listed_with_its_state(tg, state, job):
    lines = tg("fine-tuning", "list", "--no-json").splitlines()
    [found] = [line for line in lines if job in line]
    assert [word for word in (MODEL, state, "$0.00") if word in found] == [MODEL, state, "$0.00"]


def test_a_job_is_retrieved_with_its_state(tg, state, job):
    found = json.loads(tg("fine-tuning", "retrieve", job, "--json"))
    assert (found["id"], found["status"], found["model"]) == (job, state, MODEL)


def test_a_job_is_retrieved_with_its_curves_once_there_are_any(tg, state, job):
    said = tg("fine-tuning", "retrieve", job, "--no-json")
    assert job in said
    assert ("Training metrics:" in said, "train/loss" in said) == (state != "pending",) * 2


def test_events_of_a_job_are_listed_as_far_as_it_has_come(tg, state, job):
    said = tg("fine-tuning", "list-events", job, "--no-json")
    every = ["job_pending", "training_start", "job_complete"]
    come = {"pending": 1, "running": 2, "completed": 3}[state]
    assert [word for word in every if word in said] == every[:come]


def test_metrics_of_a_job_are_drawn_or_said_to_be_none(tg, state, job):
    said = tg("fine-tuning", "list-metrics", job, "--no-json")
    nothing = f"No metrics found for job {job}"
    assert (nothing in said, "train/loss" in said) == (state == "pending", state != "pending")


def test_checkpoints_of_a_job_are_listed_when_it_has_some(tg, state, job):
    said = tg("fine-tuning", "list-checkpoints", job, "--no-json").lower()
    labels = [label for label in ("final adapter", "final merged", "intermediate (step 2)") if label in said]
    assert len(labels) == (3 if state == "completed" else 0)


def test_metrics_are_filtered_by_steps_times_and_resolution(tg, completed):
    def steps(*filters):
        rows = json.loads(tg("fine-tuning", "list-metrics", completed, "--json", *filters))
        return [row["train/global_step"] for row in rows]

    assert steps("--global-step-from", "2", "--global-step-to", "3") == [2, 2, 3]
    assert steps("--resolution", "1") == [1, 2, 4]
    assert steps("--logged-at-from", "2020-01-01T00:00:00", "--logged-at-to", "2021-01-01T00:00:00") == []


def test_a_job_is_created_goes_on_from_another_is_cancelled_and_deleted(tg, client, uploaded, completed):
    said = tg(
        "fine-tuning", "create", "--training-file", uploaded[0], "--from-checkpoint", f"{completed}:2",
        "--training-method", "dpo", "--dpo-beta", "0.2", "--suffix", "cli", "--non-interactive", "--no-json",
    )  # fmt: skip
    [job_id] = {word.strip("()") for word in said.split() if word.startswith("(ft-")}
    assert "Fine-tuning job has been submitted" in said
    job = client.fine_tuning.retrieve(job_id)
    assert (job.status, job.from_checkpoint, job.suffix) == ("pending", f"{completed}:2", "cli")
    assert "Cancelled" in tg("fine-tuning", "cancel", job_id, "--non-interactive", "--no-json")
    assert client.fine_tuning.retrieve(job_id).status == "cancelled"
    again = tg("fine-tuning", "cancel", job_id, "--non-interactive", "--no-json", status=1)
    assert "Current status is cancelled" in again
    assert "Deleted" in tg("fine-tuning", "delete", job_id, "--force", "--non-interactive", "--no-json")
    assert f"there is no job {job_id}" in tg("fine-tuning", "retrieve", job_id, "--no-json", status=1)


def test_a_file_is_uploaded_by_the_command_that_creates_the_job(tg, client, tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"prompt": "another question", "completion": "an answer"}) + "\n")
    said = tg(
        "fine-tuning", "create", "--training-file", str(path), "--model", MODEL, "--lora", "--non-interactive",
        "--no-json",
    )  # fmt: skip
    [job_id] = {word.strip("()") for word in said.split() if word.startswith("(ft-")}
    job = client.fine_tuning.retrieve(job_id)
    assert client.files.retrieve(job.training_file).filename == "own.jsonl"
    assert "Cancelled" in tg("fine-tuning", "cancel", job_id, "--non-interactive", "--no-json")


def test_a_refusal_is_shown_as_the_server_says_it(tg):
    said = tg(
        "fine-tuning", "create", "--training-file", "file-none", "--model", MODEL, "--non-interactive", "--no-json",
        status=1,
    )  # fmt: skip
    assert "there is no file file-none" in said


@pytest.mark.parametrize(
    ("chosen", "same"),
    [
        ((), {"checkpoint": "merged"}),
        (("--checkpoint-step", "2"), {"checkpoint_step": 2}),
        (("--checkpoint-type", "adapter"), {"checkpoint": "adapter"}),
        (("--checkpoint-type", "merged"), {"checkpoint": "merged"}),
    ],
    ids=["default", "intermediate", "adapter", "merged"],
)
def test_weights_are_downloaded_as_the_server_has_them(tg, completed, server, chosen, same):
    tg.folder.joinpath("weights").mkdir()
    said = tg("fine-tuning", "download", completed, "--output-dir", "weights", "--no-json", *chosen)
    [path] = [path for path in tg.folder.joinpath("weights").rglob("*") if path.is_file()]
    assert "File saved to" in said
    kept = httpx.get(
        f"{server.url}/v1/finetune/download", params={"ft_id": completed} | same,
        headers={"Authorization": f"Bearer {server.api_key}"},
    )  # fmt: skip
    assert path.read_bytes() == kept.raise_for_status().content


def test_the_tokenized_data_set_is_downloaded(tg, completed):
    tg("fine-tuning", "download-tokenized-dataset", completed, "--output-dir", "tokens", "--no-json")
    [path] = [path for path in tg.folder.joinpath("tokens").rglob("*") if path.is_file()]
    assert path.name == f"{completed}_tokenized_datasets.tar.zst"
    assert path.read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


def test_limits_are_shown_and_a_file_is_previewed(tg, client, tmp_path):
    assert MODEL in tg("fine-tuning", "model-limits", MODEL, "--no-json")
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps({"prompt": "a third question", "completion": "an answer"}) + "\n")
    file_id = client.files.wait(client.files.upload(path).id, timeout=60).id
    asked = ("fine-tuning", "preview", "--training-file", file_id, "--model", MODEL)
    assert "instruction" in tg(*asked, "--no-json")
    seen = json.loads(tg(*asked, "--json"))
    assert (seen["dataset_format"], len(seen["rows"])) == ("instruction", 1)


def test_it_says_whose_project_this_is(tg):
    assert "local" in tg("whoami", "--no-json")
