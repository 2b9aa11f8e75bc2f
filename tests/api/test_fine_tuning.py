import pytest

from preftune.api import fine_tuning
from preftune.api.models import (
    Checkpoint,
    DeletedJob,
    Event,
    File,
    FineTuneJob,
    LoraLimits,
    MetricRow,
    ModelLimits,
    Preview,
    PreviewRow,
)
from preftune.api.steps import Request
from preftune.errors import APIResponseValidationError, ConfigError

JOB = FineTuneJob(id="ft-1")


@pytest.mark.parametrize(
    ("flow", "request_", "answer", "result"),
    [
        (fine_tuning.list(), Request("GET", "/fine-tunes"), {"data": [{"id": "ft-1"}]}, [JOB]),
        (fine_tuning.retrieve("ft-1"), Request("GET", "/fine-tunes/ft-1"), {"id": "ft-1"}, JOB),
        (fine_tuning.retrieve(JOB), Request("GET", "/fine-tunes/ft-1"), {"id": "ft-1"}, JOB),
        (
            fine_tuning.cancel("ft-1"),
            Request("POST", "/fine-tunes/ft-1/cancel"),
            {"id": "ft-1", "status": "cancel_requested"},
            FineTuneJob(id="ft-1", status="cancel_requested"),
        ),
        (fine_tuning.delete("ft-1"), Request("DELETE", "/fine-tunes/ft-1"), b"", DeletedJob()),
        (
            fine_tuning.list_events(JOB),
            Request("GET", "/fine-tunes/ft-1/events"),
            {"data": [{"type": "JOB_START"}]},
            [Event(type="JOB_START")],
        ),
        (
            fine_tuning.list_checkpoints("ft-1"),
            Request("GET", "/fine-tunes/ft-1/checkpoints"),
            {"data": [{"step": 3, "checkpoint_type": "Final"}]},
            [Checkpoint(step=3, checkpoint_type="Final")],
        ),
        (
            fine_tuning.model_limits("a/b"),
            Request("GET", "/fine-tunes/models/limits", params={"model_name": "a/b"}),
            {"model_name": "a/b", "lora_training": {"max_rank": 64}},
            ModelLimits(model_name="a/b", lora_training=LoraLimits(max_rank=64)),
        ),
        (
            fine_tuning.supported_models(),
            Request("GET", "/fine-tunes/models/supported"),
            {"models": ["a", "b"]},
            ["a", "b"],
        ),
        (fine_tuning.supported_models(), Request("GET", "/fine-tunes/models/supported"), {}, []),
    ],
)
def test_a_single_call_asks_for_one_thing_and_reads_it(play, flow, request_, answer, result):
    assert play(flow, (request_, answer)).result == result


@pytest.mark.parametrize(
    ("asked", "params"),
    [
        ({}, {}),
        ({"from_step": 0}, {"global_step_from": 0}),
        (
            {"from_step": 3, "to_step": 9, "resolution": 100},
            {"global_step_from": 3, "global_step_to": 9, "resolution": 100},
        ),
    ],
)
def test_list_metrics_asks_for_a_range_of_steps(play, asked, params):
    request = Request("GET", "/fine-tunes/ft-1/metrics", params=params)
    rows = [{"train/global_step": 3, "train/loss": 0.5}, {"train/global_step": 3, "eval/loss": 0.6}]
    assert play(fine_tuning.list_metrics(JOB, **asked), (request, {"metrics": rows})).result == [
        MetricRow("train", step=3, loss=0.5, raw=rows[0]),
        MetricRow("eval", step=3, loss=0.6, raw=rows[1]),
    ]


def test_an_answer_that_is_no_object_is_refused(play):
    with pytest.raises(APIResponseValidationError) as error:
        play(fine_tuning.retrieve("ft-1"), (Request("GET", "/fine-tunes/ft-1"), [1]))
    assert str(error.value) == (
        "GET /fine-tunes/ft-1: 200, the body is no JSON object (of no stated type, 3 bytes); "
        "is base_url an API of this kind?"
    )


def test_a_job_without_an_id_is_refused_before_anything_is_sent(play):
    with pytest.raises(ConfigError, match="job: expected an id"):
        play(fine_tuning.cancel(""))


SEEN = {
    "dataset_format": "conversation",
    "max_seq_length": 65_536,
    "model": "m",
    "train_on_inputs": False,
    "rows": [
        {
            "input_ids": [83, 97],
            "labels": [-100, 97],
            "num_tokens": 2,
            "num_trained_tokens": 1,
            "tokens": ["S", "a"],
            "trained_spans": [[1, 2]],
            "truncated": False,
        }
    ],
}


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({}, {"top_k": 5, "train_on_inputs": "auto"}),
        ({"rows": 50, "train_on_inputs": True}, {"top_k": 50, "train_on_inputs": True}),
        ({"train_on_inputs": False}, {"top_k": 5, "train_on_inputs": False}),
    ],
)
@pytest.mark.parametrize("file", ["file-1", File(id="file-1")])
def test_a_preview_asks_for_the_first_rows_of_a_supervised_file_and_reads_their_tokens(play, file, asked, sent):
    body = {"model": "m", "training_file": "file-1", "training_method": "sft"} | sent
    flow = fine_tuning.preview(file, model="m", **asked)
    row = PreviewRow(
        input_ids=[83, 97],
        labels=[-100, 97],
        num_tokens=2,
        num_trained_tokens=1,
        tokens=["S", "a"],
        trained_spans=[(1, 2)],
        truncated=False,
    )
    seen = Preview(
        dataset_format="conversation", max_seq_length=65_536, model="m", train_on_inputs=False, rows=[row]
    )  # fmt: skip
    assert play(flow, (Request("POST", "/fine-tunes/preview", json=body), SEEN)).result == seen


def test_a_preview_of_a_file_without_an_id_is_refused_before_anything_is_sent(play):
    with pytest.raises(ConfigError, match="file: expected an id"):
        play(fine_tuning.preview("", model="m"))
