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
    "token": "secret",
    "status": "QUEUED",
    "report": None,
}


def test_file_shows_its_upload_and_not_its_token():
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
