import pytest

from preftune.local import answers

FILE = {
    "id": "file-1",
    "created_at": 1_800_000_000,
    "filename": "pairs.jsonl",
    "bytes": 12,
    "purpose": "fine-tune",
    "file_type": "jsonl",
    "checksum": "ab",
    "status": "QUEUED",
    "report": None,
}


def test_file_shows_its_upload_and_not_its_checksum():
    assert answers.file(FILE) == {
        "id": "file-1",
        "object": "file",
        "created_at": 1_800_000_000,
        "filename": "pairs.jsonl",
        "bytes": 12,
        "purpose": "fine-tune",
        "FileType": "jsonl",
        "processing_status": "QUEUED",
        "Processed": False,
        "LineCount": 0,
    }


def test_file_that_was_read_carries_its_report():
    report = {"valid": True, "dataset_format": "general", "nlines": 3}
    shown = answers.file(FILE | {"status": "COMPLETED", "report": report})
    assert (shown["Processed"], shown["validation_report"]) == (True, report | {"file_id": "file-1"})


def test_event_fills_unused_fields_with_empty_values():
    record = {"created_at": "2026-01-01T00:00:00.000Z", "level": "info", "type": "warning", "message": "m", "step": 3}
    assert answers.event(record) == record | {
        "object": "fine-tune-event",
        "total_steps": 0,
        "token_count": 0,
        "param_count": 0,
        "checkpoint_path": "",
        "model_path": "",
        "wandb_url": "",
        "training_offset": 0,
        "hash": "",
    }


@pytest.mark.parametrize(
    ("case", "expected"),
    [("lower", ["job_start", "early_stopped", "tokenized_dataset_upload_complete"]), ("upper", ["JOB_START"])],
)
def test_event_types_are_of_the_case_that_was_asked_for_and_such_as_its_clients_know(case, expected):
    record = {"created_at": "t", "level": "info", "message": "The Job", "step": 0}
    kinds = ("job_start", "early_stopped", "tokenized_dataset_upload_complete")
    shown = answers.events([record | {"type": kind} for kind in kinds], case)
    assert [(one["type"], one["message"], one["level"]) for one in shown] == [
        (kind, "The Job", "info") for kind in expected
    ]


JOB = {
    "id": "ft-1",
    "status": "queued",
    "created_at": "t0",
    "updated_at": "t1",
    "started_at": None,
    "output_name": "local/tiny",
    "config": {"training_file": "file-1", "suffix": "mine"},
    "facts": {"model": "acme/tiny"},
}
COME = {"steps": 3, "evals": 1, "epochs": 2, "first": 1_000_000_000, "last": 5_000_000_000}


def test_job_repeats_what_was_asked_for_over_empty_defaults():
    assert answers.job(JOB) == {
        "id": "ft-1",
        "status": "queued",
        "created_at": "t0",
        "updated_at": "t1",
        "started_at": None,
        "user_id": "local",
        "owner_address": "local",
        "total_price": 0,
        "token_count": 0,
        "model": "acme/tiny",
        "model_output_name": "local/tiny",
        "training_file": "file-1",
        "validation_file": "",
        "from_checkpoint": "",
        "suffix": "mine",
        "wandb_project_name": "",
        "wandb_name": "",
        "events": [],
        "progress": {"estimate_available": False, "seconds_remaining": 0},
        "early_stopped": False,
        "early_stopping_best_step": None,
        "early_stopping_best_metric": None,
    }


def test_full_job_adds_how_far_it_has_come():
    facts = {
        "model": "acme/tiny", "examples": 9, "training_bytes": 90, "param_count": 900, "total_steps": 6,
        "token_count": 7, "tokenized": True, "early_stopped": True, "early_stopping_best_step": 2,
        "early_stopping_best_metric": 0.5,
    }  # fmt: skip
    record = JOB | {"facts": facts}
    event = answers.event({"created_at": "t", "level": "info", "type": "x", "message": "m", "step": 0})
    assert answers.full_job(record, [event], come=COME, ahead=4, seconds=7.5) == answers.job(record) | {
        "job_id": "ft-1",
        "model_output_path": "local://ft-1",
        "trainingfile_numlines": 9,
        "trainingfile_size": 90,
        "param_count": 900,
        "total_steps": 6,
        "steps_completed": 3,
        "evals_completed": 1,
        "epochs_completed": 2,
        "eval_steps": 0,
        "queue_depth": 4,
        "wandb_url": "",
        "tokenized_dataset_path": "local://ft-1/tokenized",
        "events": [event],
        "progress": {"estimate_available": True, "seconds_remaining": 7.5},
    }


def test_full_job_of_which_nothing_is_known_yet_says_nothing():
    shown = answers.full_job(JOB, [], come=COME, ahead=0, seconds=None)
    names = ("trainingfile_numlines", "trainingfile_size", "param_count", "total_steps", "tokenized_dataset_path")
    assert [shown[name] for name in names] == [0, 0, 0, 0, None]
    assert shown["progress"] == {"estimate_available": False, "seconds_remaining": 0}


@pytest.mark.parametrize(
    ("status", "depth"), [("cancelled", 0), ("completed", 0), ("pending", 4), ("queued", 4), ("running", 0)]
)
def test_only_a_job_that_waits_is_told_how_many_are_before_it(status, depth):
    shown = answers.full_job(JOB | {"status": status}, [], come=COME, ahead=4, seconds=None)
    assert shown["queue_depth"] == depth


@pytest.mark.parametrize(
    ("status", "steps", "expected"),
    [
        ("completed", 3, None),
        ("running", 0, None),
        ("running", 1, None),
        ("running", 3, 6.0),  # three steps are left, and two took four seconds
        ("running", 6, 0.0),
    ],
)
def test_the_rest_of_a_training_is_told_at_the_pace_of_its_rows(status, steps, expected):
    record = JOB | {"status": status, "facts": {"model": "m", "total_steps": 6}}
    assert answers.seconds_of_training(record, COME | {"steps": steps}) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            "Lora",
            [(4, "Final Merged", "model"), (4, "Final Adapter", "adapter"), (2, "Intermediate (step 2)", "adapter")],
        ),
        ("Full", [(4, "Final", "model"), (2, "Intermediate (step 2)", "model")]),
    ],
)
def test_checkpoints_are_labelled_by_training_type(kind, expected):
    record = {"id": "ft-1", "config": {"training_type": {"type": kind}}}
    rows = [{"step": 4, "final": 1, "created_at": "t4"}, {"step": 2, "final": 0, "created_at": "t2"}]
    assert answers.checkpoints(record, rows) == [
        {
            "step": step,
            "created_at": f"t{step}",
            "path": f"local://ft-1/{step}",
            "checkpoint_type": label,
            "checkpoint": which,
        }
        for step, label, which in expected
    ]
