"""The official client's earlier lines, 2.42 and 1.5, each in an environment of its own, against the local server.

Their base URL ends in /v1. What a script in that environment found comes back as JSON.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

import preftune as pt
from preftune.recipes.sample import MODEL, train_sample, write_sample

ROOT = Path(__file__).parents[2]
ZSTD = "28b52ffd"

LIBRARY_2 = """
import json, sys, time
from together import Together, BadRequestError, NotFoundError, __version__

sft_path, pairs_path, model = sys.argv[1:]
client = Together()
found = {"version": __version__}

def ready(path):
    file = client.files.upload(file=path, purpose="fine-tune")
    end = time.monotonic() + 60
    while client.files.retrieve(file.id).processing_status != "COMPLETED" and time.monotonic() < end:
        time.sleep(0.02)
    return file.id

def finished(job):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        status = client.fine_tuning.retrieve(job.id).status
        if status in ("completed", "error", "user_error", "cancelled"):
            return status
        time.sleep(0.02)

def refused(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as error:
        return error.body["error"]["message"]

sft_file, pairs_file = ready(sft_path), ready(pairs_path)
found["again"] = client.files.upload(file=pairs_path, purpose="fine-tune").id == pairs_file
found["listed"] = sorted(file.filename for file in client.files.list().data)
found["content"] = client.files.content(pairs_file).read() == open(pairs_path, "rb").read()
price = client.fine_tuning.estimate_price(training_file=pairs_file, model=model)
found["price"] = price.estimated_total_price
found["limits"] = client.fine_tuning.model_limits(model_name=model).model_name
found["preview"] = len(client.fine_tuning.preview(model=model, training_file=sft_file).rows)

sft = client.fine_tuning.create(training_file=sft_file, model=model, lora=True)
found["sft"] = finished(sft)
job = client.fine_tuning.create(
    training_file=pairs_file, from_checkpoint=sft.id, training_method="dpo", dpo_beta=0.2, n_epochs=2, n_checkpoints=2,
    lora=True,
)
found["dpo"] = finished(job)
found["parent"] = client.fine_tuning.retrieve(job.id).from_checkpoint == sft.id
found["jobs"] = [one.id for one in client.fine_tuning.list().data] == [job.id, sft.id]
rows = client.fine_tuning.list_metrics(job.id, global_step_from=2).metrics
found["steps"] = [row["train/global_step"] for row in rows]
events = [event.type for event in client.fine_tuning.list_events(job.id).data]
found["events"] = [events[0], events[-1]]
found["checkpoints"] = [point.checkpoint_type for point in client.fine_tuning.list_checkpoints(job.id).data]
content = client.fine_tuning.content
found["magic"] = [
    content(ft_id=job.id, checkpoint="adapter").read()[:4].hex(),
    content(ft_id=job.id, checkpoint="merged").read()[:4].hex(),
    content(ft_id=job.id, checkpoint_step=2).read()[:4].hex(),
]
tokens = client.fine_tuning.retrieve_tokenized_dataset(job.id)
found["tokens"] = tokens.filename == job.id + "_tokenized_datasets.tar.zst"

last = client.fine_tuning.create(
    training_file=pairs_file, model=model, training_method="dpo", n_epochs=20, batch_size=1, lora=True
)
found["asked"] = client.fine_tuning.cancel(last.id).status
found["cancelled"] = finished(last)
found["twice"] = refused(BadRequestError, client.fine_tuning.cancel, last.id) is not None
client.fine_tuning.delete(last.id)
found["gone"] = refused(NotFoundError, client.fine_tuning.retrieve, last.id) == "there is no job " + last.id
found["deleted"] = client.files.delete(sft_file).deleted
found["file gone"] = refused(NotFoundError, client.files.retrieve, sft_file) == "there is no file " + sft_file
print(json.dumps(found))
"""

LIBRARY_1 = """
import json, sys, time
from together import Together
from together.version import VERSION

pairs_path, folder, model = sys.argv[1:]
client = Together()
found = {"version": VERSION}

def finished(job):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        status = client.fine_tuning.retrieve(job.id).status.value
        if status in ("completed", "error", "user_error", "cancelled"):
            return status
        time.sleep(0.02)

file = client.files.upload(file=pairs_path, purpose="fine-tune", check=True).id
end = time.monotonic() + 60
while not client.files.retrieve(file).processed and time.monotonic() < end:
    time.sleep(0.02)
found["listed"] = [one.filename for one in client.files.list().data]
client.files.retrieve_content(file, output=folder + "/content.jsonl")
found["content"] = open(folder + "/content.jsonl", "rb").read() == open(pairs_path, "rb").read()
job = client.fine_tuning.create(
    training_file=file, model=model, training_method="dpo", dpo_beta=0.2, n_epochs=2, n_checkpoints=2, lora=True
)
found["dpo"] = finished(job)
found["jobs"] = [one.id for one in client.fine_tuning.list().data] == [job.id]
events = [event.type.value for event in client.fine_tuning.list_events(job.id).data]
found["events"] = [events[0], events[-1]]
found["checkpoints"] = len(client.fine_tuning.list_checkpoints(job.id))
found["magic"] = []
for kind in ("adapter", "merged"):
    client.fine_tuning.download(job.id, output=folder + "/" + kind, checkpoint_type=kind)
    found["magic"].append(open(folder + "/" + kind, "rb").read(4).hex())
client.fine_tuning.download(job.id, output=folder + "/between", checkpoint_step=2)
found["magic"].append(open(folder + "/between", "rb").read(4).hex())
last = client.fine_tuning.create(
    training_file=file, from_checkpoint=job.id, training_method="dpo", n_epochs=20, batch_size=1, lora=True
)
found["asked"] = client.fine_tuning.cancel(last.id).status.value
found["cancelled"] = finished(last)
client.fine_tuning.delete(last.id)
found["left"] = [one.id for one in client.fine_tuning.list().data] == [job.id]
found["deleted"] = client.files.delete(file).deleted
print(json.dumps(found))
"""


def environment(number):
    """Return a function that gives a program of an environment of its own; skip where there is none."""
    folder = ROOT / f".venv-together{number}" / "bin"
    if not (folder / "python").exists():
        pytest.skip(f".venv-together{number} is not there: make peers")
    return lambda program: folder / program


def run(command, server, folder, *, status=0):
    env = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "COLUMNS": "200", "NO_COLOR": "1",
        "TOGETHER_BASE_URL": f"{server.url}/v1", "TOGETHER_API_KEY": server.api_key,
        "TOGETHER_TELEMETRY_DISABLED": "1", "TOGETHER_NO_BANNER": "1",
        "TOGETHER_DISABLE_VERSION_CHECK": "1",  # which would ask PyPI
    }  # fmt: skip
    done = subprocess.run(
        command, env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + (done.stderr if status else "")


@pytest.fixture
def pairs(tmp_path):
    return write_sample(tmp_path)[0]


@pytest.fixture
def sft(tmp_path):
    path = tmp_path / "sft.jsonl"
    rows = [{"prompt": f"question {number}", "completion": f"answer {number}"} for number in range(8)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_library_of_the_second_line_goes_from_upload_to_deletion(tmp_path, pairs, sft):
    program = environment(2)
    with pt.LocalServer() as server:
        found = json.loads(run([program("python"), "-c", LIBRARY_2, sft, pairs, MODEL], server, tmp_path))
    assert found == {
        "version": "2.42.0",
        "again": True,
        "listed": ["sft.jsonl", "train.jsonl"],
        "content": True,
        "price": 0,
        "limits": MODEL,
        "preview": 5,
        "sft": "completed",
        "dpo": "completed",
        "parent": True,
        "jobs": True,
        "steps": [2, 3, 4],
        "events": ["job_pending", "job_complete"],
        "checkpoints": ["Final Merged", "Final Adapter", "Intermediate (step 2)"],
        "magic": [ZSTD] * 3,
        "tokens": True,
        "asked": "cancel_requested",
        "cancelled": "cancelled",
        "twice": True,
        "gone": True,
        "deleted": True,
        "file gone": True,
    }


def test_the_command_line_of_the_second_line_goes_from_upload_to_deletion(tmp_path, pairs):
    program = environment(2)
    with pt.LocalServer() as server, pt.Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:

        def tg(*words, status=0):
            return run([program("together"), *words], server, tmp_path, status=status)

        assert "Success!" in tg("files", "upload", str(pairs), "--no-json")
        assert "already exists" in tg("files", "upload", str(pairs), "--no-json")
        [file] = client.files.list()
        client.files.wait(file.id, timeout=60)
        assert file.id in tg("files", "list", "--no-json")
        assert json.loads(tg("files", "retrieve", file.id, "--json"))["processing_status"] == "COMPLETED"
        create = (
            "fine-tuning", "create", "--training-file", file.id, "--training-method", "dpo", "--n-epochs", "2",
            "--n-checkpoints", "2", "--non-interactive", "--no-json",
        )  # fmt: skip
        assert "submitted" in tg(*create, "--model", MODEL, "--lora")
        [job] = client.fine_tuning.list()
        client.fine_tuning.wait(job, timeout=60, poll_interval=0.02)
        assert "completed" in tg("fine-tuning", "list", "--no-json")
        assert json.loads(tg("fine-tuning", "retrieve", job.id, "--json"))["status"] == "completed"
        assert "Training metrics:" in tg("fine-tuning", "retrieve", job.id, "--no-json")
        assert "job_complete" in tg("fine-tuning", "list-events", job.id, "--no-json")
        assert "final adapter" in tg("fine-tuning", "list-checkpoints", job.id, "--no-json").lower()
        assert len(json.loads(tg("fine-tuning", "list-metrics", job.id, "--json"))) == 4
        for number, chosen in enumerate(([], ["--checkpoint-type", "adapter"])):
            tmp_path.joinpath(f"weights-{number}").mkdir()
            tg("fine-tuning", "download", job.id, "--output-dir", f"weights-{number}", "--no-json", *chosen)
            [path] = [path for path in tmp_path.joinpath(f"weights-{number}").rglob("*") if path.is_file()]
            assert path.read_bytes()[:4].hex() == ZSTD
        server.faults.add("stuck-queued once")
        assert "submitted" in tg(*create, "--from-checkpoint", job.id)
        waiting = next(one for one in client.fine_tuning.list() if one.id != job.id)
        assert "Cancelled" in tg("fine-tuning", "cancel", waiting.id, "--non-interactive", "--no-json")
        assert "Deleted" in tg("fine-tuning", "delete", waiting.id, "--force", "--non-interactive", "--no-json")
        assert "deleted" in tg("files", "delete", file.id, "--non-interactive", "--no-json")
        assert f"there is no file {file.id}" in tg("files", "retrieve", file.id, "--no-json", status=1)
        assert [one.id for one in client.fine_tuning.list()] == [job.id]
        assert list(client.files.list()) == []


def test_the_command_line_of_the_second_line_downloads_an_intermediate_step(tmp_path):
    program = environment(2)
    with pt.LocalServer() as server, pt.Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:
        job = train_sample(client, tmp_path)
        words = ("fine-tuning", "download", job.id, "--checkpoint-step", "2", "--output-dir", "between", "--no-json")
        run([program("together"), *words], server, tmp_path)
        kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".jsonl"]
        assert [path.read_bytes()[:4].hex() for path in kept] == [ZSTD]


def test_the_library_of_the_first_line_works_with_events_in_upper_case(tmp_path, pairs):
    program = environment(1)
    with pt.LocalServer(event_case="upper") as server:
        found = json.loads(run([program("python"), "-c", LIBRARY_1, pairs, tmp_path, MODEL], server, tmp_path))
    assert found == {
        "version": "1.5.34",
        "listed": ["train.jsonl"],
        "content": True,
        "dpo": "completed",
        "jobs": True,
        "events": ["JOB_PENDING", "JOB_COMPLETE"],
        "checkpoints": 3,
        "magic": [ZSTD] * 3,
        "asked": "cancel_requested",
        "cancelled": "cancelled",
        "left": True,
        "deleted": True,
    }
