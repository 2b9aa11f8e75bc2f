"""The official client, unpatched, against the local server."""

import importlib.util
import json

import pytest

if importlib.util.find_spec("together") is None:
    pytest.skip("the official client is not in this environment: make peers", allow_module_level=True)

from together import Together

import preftune as pt


@pytest.fixture
def together(preftune_server, monkeypatch):
    monkeypatch.setenv("TOGETHER_TELEMETRY_DISABLED", "1")
    with Together(api_key=preftune_server.api_key, base_url=preftune_server.url) as client:
        yield client


@pytest.fixture
def pairs(tmp_path):
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"question {i}"}]},
            "preferred_output": [{"role": "assistant", "content": f"a direct answer, {i}"}],
            "non_preferred_output": [{"role": "assistant", "content": f"perhaps later {i}"}],
        }
        for i in range(32)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_it_uploads_trains_with_dpo_reads_metrics_and_downloads(together, preftune_client, pairs):
    file = together.files.upload(file=pairs, purpose="fine-tune")
    preftune_client.files.wait(file.id)
    again = together.files.upload(file=pairs, purpose="fine-tune")
    assert again.id == file.id
    assert together.files.retrieve(file.id).processing_status == "COMPLETED"

    job = together.fine_tuning.create(
        training_file=file.id,
        model="Qwen/Qwen3-8B",
        training_method="dpo",
        dpo_beta=0.2,
        n_epochs=2,
        n_checkpoints=2,
        lora=True,
    )
    preftune_client.fine_tuning.wait(job.id, timeout=60)
    assert together.fine_tuning.retrieve(job.id).status == "completed"
    assert job.id in [one.id for one in together.fine_tuning.list().data]

    rows = together.fine_tuning.list_metrics(job.id).metrics
    assert [row["train/global_step"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["train/reward/accuracy"] == 0
    assert rows[0]["train/approx. KL/chosen"] == 0
    events = [event.type for event in together.fine_tuning.list_events(job.id).data]
    assert events[0].lower() == "job_pending"
    assert events[-1].lower() == "job_complete"
    checkpoints = together.fine_tuning.list_checkpoints(job.id).data
    assert [point.checkpoint_type for point in checkpoints] == [
        "Final Merged",
        "Final Adapter",
        "Intermediate (step 2)",
    ]
    content = together.fine_tuning.content(ft_id=job.id, checkpoint="adapter").read()
    assert content[:4] == b"\x28\xb5\x2f\xfd"  # zstd


def test_it_goes_on_from_a_checkpoint_and_cancels_and_deletes(together, preftune_client, pairs):
    file = preftune_client.files.wait(together.files.upload(file=pairs, purpose="fine-tune").id)
    parent = together.fine_tuning.create(training_file=file.id, model="m", training_method="dpo", lora=True)
    preftune_client.fine_tuning.wait(parent.id, timeout=60)
    child = together.fine_tuning.create(
        training_file=file.id, from_checkpoint=parent.id, training_method="dpo", n_epochs=20, lora=True
    )
    cancelled = together.fine_tuning.cancel(child.id)
    assert cancelled.status == "cancel_requested"
    with pytest.raises(pt.errors.JobFailedError, match="cancelled"):
        preftune_client.fine_tuning.wait(child.id, timeout=60)
    together.fine_tuning.delete(child.id)
    assert child.id not in [one.id for one in together.fine_tuning.list().data]
