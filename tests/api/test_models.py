import json
import math
from datetime import UTC, datetime, timedelta

import pytest

from preftune.api.models import (
    Checkpoint,
    Event,
    File,
    FineTuneJob,
    MetricRow,
    ModelLimits,
    Preview,
    PreviewRow,
    PriceEstimate,
    Progress,
    metric_rows,
)

MODELS = [File, Event, FineTuneJob, Checkpoint, ModelLimits, PriceEstimate, Progress, Preview, PreviewRow]


@pytest.mark.parametrize("model", MODELS)
def test_nothing_is_required(model):
    assert model.model_validate({}) == model()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("odd", [{"x": [1, None]}, ["a"], "odd", -1.5, None, True])
def test_every_value_of_an_odd_type_is_kept_and_written_back(model, odd):
    raw = {field.alias or name: odd for name, field in model.model_fields.items()}
    read = model.model_validate(raw)
    again = model.model_validate(json.loads(read.model_dump_json(by_alias=True)))
    assert again.model_dump() == read.model_dump()


def test_odd_values_come_out_as_they_came_in():
    raw = {"id": 7, "n_epochs": "three", "created_at": "tomorrow", "events": "none", "progress": [1]}
    assert FineTuneJob.model_validate(raw).model_dump(exclude_unset=True) == raw


def test_unknown_fields_are_attributes_and_are_written_back():
    job = FineTuneJob.model_validate({"id": "ft-1", "color": "blue", "user_id": {"a": 1}})
    assert (job.color, job.model_extra) == ("blue", {"color": "blue", "user_id": {"a": 1}})
    assert job.model_dump(exclude_unset=True) == {"id": "ft-1", "color": "blue", "user_id": {"a": 1}}


def test_known_fields_are_typed_and_nested():
    job = FineTuneJob.model_validate(
        {"created_at": "2026-01-02T03:04:05Z", "events": [{"type": "JOB_START"}], "progress": {"seconds_remaining": 3}}
    )
    assert job.created_at == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert job.events == [Event(type="JOB_START")]
    assert job.progress == Progress(seconds_remaining=3)
    assert json.loads(job.model_dump_json(exclude_unset=True)) == {
        "created_at": "2026-01-02T03:04:05Z",
        "events": [{"type": "JOB_START"}],
        "progress": {"seconds_remaining": 3.0},
    }


@pytest.mark.parametrize("name", ["FileType", "file_type"])
def test_a_file_type_has_two_spellings(name):
    assert File.model_validate({name: "jsonl"}).file_type == "jsonl"


@pytest.mark.parametrize(
    ("status", "final", "failed"),
    [
        ("completed", True, False),
        ("COMPLETED", True, False),
        ("error", True, True),
        ("user_error", True, True),
        ("cancelled", True, True),
        ("pending", False, False),
        ("running", False, False),
        ("cancel_requested", False, False),
        ("compressing", False, False),
        ("a_new_one", False, False),
        ("", False, False),
        (None, False, False),
        (7, False, False),
    ],
)
def test_four_statuses_are_final_and_unknown_ones_are_not(status, final, failed):
    job = FineTuneJob.model_validate({"status": status})
    assert (job.is_final, job.has_failed) == (final, failed)


@pytest.mark.parametrize(
    ("status", "ready", "refused"),
    [
        ("COMPLETED", True, False),
        ("completed", True, False),
        (None, True, False),
        ("PENDING", False, False),
        ("RUNNING", False, False),
        ("A_NEW_ONE", False, False),
        ("INVALID_FORMAT", False, True),
        ("failed", False, True),
        (7, False, False),
    ],
)
def test_a_file_is_ready_refused_or_neither(status, ready, refused):
    file = File.model_validate({"processing_status": status})
    assert (file.is_ready, file.is_refused) == (ready, refused)


@pytest.mark.parametrize(("type_", "kind"), [("JOB_START", "job_start"), ("job_start", "job_start"), (None, "none")])
def test_the_kind_of_an_event_has_one_case(type_, kind):
    assert Event.model_validate({"type": type_}).kind == kind


# metric rows


def test_a_row_of_training_has_every_field():
    raw = {
        "timestamp": 1_700_000_000_000_000_000,
        "train/global_step": 7,
        "train/epoch": 0.5,
        "train/loss": 0.6,
        "train/learning_rate": 1e-5,
        "train/grad_norm": 2,
        "train/reward/accuracy": 0.75,
        "train/reward/chosen": 0.5,
        "train/reward/rejected": -0.25,
        "train/approx. KL/chosen": 1.5,
        "train/approx. KL/rejected": 2.5,
        "train/logps/chosen": -10.0,
        "train/logps/rejected": -20.0,
        "train/unheard_of": 9,
    }
    (row,) = metric_rows(raw)
    assert row == MetricRow(
        "train",
        step=7,
        epoch=0.5,
        loss=0.6,
        learning_rate=1e-5,
        grad_norm=2.0,
        accuracy=0.75,
        rewards_chosen=0.5,
        rewards_rejected=-0.25,
        margin=0.75,
        kl_chosen=1.5,
        kl_rejected=2.5,
        logps_chosen=-10.0,
        logps_rejected=-20.0,
        logged_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        raw=raw,
    )
    assert row.raw is raw
    assert row.key == (7, "train")


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        (("reward/accuracy", "rewards/accuracies"), "accuracy"),
        (("reward/chosen", "rewards/chosen"), "rewards_chosen"),
        (("reward/rejected", "rewards/rejected"), "rewards_rejected"),
        (("reward/margin", "rewards/margins"), "margin"),
        (("approx. KL/chosen", "kl/chosen"), "kl_chosen"),
        (("approx. KL/rejected", "kl/rejected"), "kl_rejected"),
    ],
)
def test_each_name_of_a_metric_is_understood_and_the_first_wins(keys, field):
    first, second = (f"eval/{key}" for key in keys)
    found = [metric_rows(raw)[0] for raw in ({first: 1}, {second: 2}, {second: 2, first: 1})]
    assert [getattr(row, field) for row in found] == [1.0, 2.0, 1.0]


def test_a_row_of_evaluation_carries_the_step_under_the_name_of_training():
    raw = {"train/global_step": 7, "train/epoch": 1, "eval/loss": 0.5}
    assert metric_rows(raw) == [MetricRow("eval", step=7, epoch=1.0, loss=0.5, raw=raw)]


def test_an_object_of_both_splits_is_two_rows_training_first():
    raw = {"eval/loss": 0.5, "train/loss": 0.6, "train/global_step": 7}
    assert metric_rows(raw) == [
        MetricRow("train", step=7, loss=0.6, raw=raw),
        MetricRow("eval", step=7, loss=0.5, raw=raw),
    ]


@pytest.mark.parametrize("raw", [{}, {"train/global_step": 3}, {"gpu": 1}])
def test_an_object_without_metrics_is_a_row_of_training(raw):
    assert metric_rows(raw) == [MetricRow("train", step=raw.get("train/global_step"), raw=raw)]


@pytest.mark.parametrize("odd", [None, "0.5", True, [1], 10**400])
def test_what_is_no_number_reads_as_none_and_is_kept_raw(odd):
    raw = {"train/global_step": odd, "train/loss": odd, "timestamp": odd, "train/epoch": odd}
    assert metric_rows(raw) == [MetricRow("train", raw=raw)]


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_number_that_is_not_finite_is_kept_but_is_no_step_and_no_time(odd):
    (row,) = metric_rows({"train/global_step": odd, "train/loss": odd, "timestamp": odd})
    assert (row.step, row.logged_at, str(row.loss)) == (None, None, str(odd))


def test_a_time_has_its_fraction_of_a_second():
    (row,) = metric_rows({"timestamp": 1.5e9})
    assert row.logged_at == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=1.5)


def test_equal_rows_are_one_in_a_set_whatever_is_in_the_servers_row():
    raw = {"train/global_step": 1, "train/loss": 0.5, "train/odd": [1, {"a": 2}]}
    rows = {*metric_rows(raw), *metric_rows(dict(raw)), *metric_rows(raw | {"train/global_step": 2})}
    assert sorted(row.step for row in rows) == [1, 2]


def test_rows_that_differ_in_an_unknown_metric_alone_are_two():
    raw = {"train/global_step": 1, "train/loss": 0.5}
    assert len({*metric_rows(raw), *metric_rows(raw | {"train/odd": 1})}) == 2


@pytest.mark.parametrize(
    ("reason", "pending"),
    [
        ("training_file_not_validated", True),
        ("VALIDATION_FILE_NOT_VALIDATED", True),
        ("training_file_invalid", False),
        ("validation_file_invalid", False),
        ("multimodal_dataset", False),
        ("", False),
        (None, False),
        (["training_file_not_validated"], False),
    ],
)
def test_a_price_is_pending_while_a_file_is_being_read(reason, pending):
    assert PriceEstimate.model_validate({"unavailable_reason": reason}).is_pending is pending


def test_a_price_that_nothing_is_said_about_is_not_pending():
    assert not PriceEstimate.model_validate({}).is_pending


def test_a_preview_is_printed_by_its_words_and_not_by_its_numbers():
    row = {"input_ids": [83, 97], "labels": [-100, 97], "tokens": ["S", "a"], "trained_spans": [[1, 2]]}
    (seen,) = Preview.model_validate({"rows": [row]}).rows
    assert (seen.input_ids, seen.labels, seen.trained_spans) == ([83, 97], [-100, 97], [(1, 2)])
    assert "tokens=['S', 'a']" in repr(seen)
    assert "83" not in repr(seen)
    assert "-100" not in repr(seen)
