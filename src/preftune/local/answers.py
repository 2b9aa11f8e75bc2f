"""Records as the wire writes them. Source: docs/wire.md, Objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from preftune.local.database import Record

if TYPE_CHECKING:
    from preftune.local import wire

_SINCE_2 = (
    "early_stopped",
    "tokenized_dataset_upload_complete",
)  # event types that clients of the 1.x line do not know


def file(record: Record) -> wire.File:
    """Return a file object."""
    answer: wire.File = {
        "id": record["id"],
        "object": "file",
        "created_at": record["created_at"],
        "filename": record["filename"],
        "bytes": record["bytes"],
        "purpose": record["purpose"],
        "FileType": record["file_type"],
        "processing_status": record["status"],
        "Processed": record["status"] == "COMPLETED",
        "LineCount": 0,
    }
    if record["report"]:
        answer["validation_report"] = record["report"] | {"file_id": record["id"]}
    return answer


def job(record: Record) -> wire.Job:
    """Return a job object, as creation, lists and cancelling give it."""
    config, facts = record["config"], record["facts"]
    answer = {
        "id": record["id"],
        "status": record["status"],
        "created_at": record["created_at"],
        "updated_at": record["updated_at"],
        "started_at": record["started_at"],
        "user_id": "local",
        "owner_address": "local",
        "total_price": 0,
        "token_count": facts.get("token_count", 0),
        "model_output_name": record["output_name"],
        "validation_file": "",
        "from_checkpoint": "",
        "suffix": "",
        "wandb_project_name": "",
        "wandb_name": "",
        "events": [],
        "progress": {"estimate_available": False, "seconds_remaining": 0},
        **config,
        "model": facts["model"],
        "early_stopped": facts.get("early_stopped", False),
        "early_stopping_best_step": facts.get("early_stopping_best_step"),
        "early_stopping_best_metric": facts.get("early_stopping_best_metric"),
    }
    return cast("wire.Job", answer)


def full_job(
    record: Record, events: list[wire.Event], *, come: Record, ahead: int, seconds: float | None
) -> wire.FullJob:
    """Return a job object with all that `retrieve` adds.

    `come` is how far it has come (`Store.progress`), `ahead` the number of jobs before it, `seconds` how long it takes
    to its next state, if that can be said.
    """
    facts = record["facts"]
    answer = job(record) | {
        "job_id": record["id"],
        "model_output_path": f"local://{record['id']}",
        "trainingfile_numlines": facts.get("examples", 0),
        "trainingfile_size": facts.get("training_bytes", 0),
        "param_count": facts.get("param_count", 0),
        "total_steps": facts.get("total_steps", 0),
        "steps_completed": come["steps"],
        "evals_completed": come["evals"],
        "epochs_completed": come["epochs"],
        "eval_steps": 0,
        "queue_depth": ahead if record["status"] in ("pending", "queued") else 0,
        "wandb_url": "",
        "tokenized_dataset_path": f"local://{record['id']}/tokenized" if facts.get("tokenized") else None,
        "events": events,
        "progress": {"estimate_available": seconds is not None, "seconds_remaining": seconds or 0},
    }
    return cast("wire.FullJob", answer)


def seconds_of_training(record: Record, come: Record) -> float | None:
    """Return how long a training still takes at the pace of its rows, or None before there is one."""
    steps, total = come["steps"], record["facts"].get("total_steps", 0)
    if record["status"] != "running" or steps < 2:  # noqa: PLR2004 - a pace needs two rows
        return None
    return float((total - steps) * (come["last"] - come["first"]) / (steps - 1) / 1e9)


def events(records: list[Record], case: str) -> list[wire.Event]:
    """Return event objects with types in lower case; or in upper case, without those that a 1.x client cannot read."""
    if case == "lower":
        return [event(record) for record in records]
    known = [event(record) for record in records if record["type"] not in _SINCE_2]
    return [{**each, "type": each["type"].upper()} for each in known]


def event(record: Record) -> wire.Event:
    """Return an event object, unused fields empty."""
    return {
        "object": "fine-tune-event",
        "created_at": record["created_at"],
        "level": record["level"],
        "type": record["type"],
        "message": record["message"],
        "step": record["step"],
        "total_steps": 0,
        "token_count": 0,
        "param_count": 0,
        "checkpoint_path": "",
        "model_path": "",
        "wandb_url": "",
        "training_offset": 0,
        "hash": "",
    }


def checkpoints(record: Record, rows: list[Record]) -> list[wire.Checkpoint]:
    """Return a job's checkpoint objects: a LoRA job's final one as model and as adapter."""
    full = record["config"]["training_type"]["type"] == "Full"
    found: list[wire.Checkpoint] = []
    for row in rows:
        kinds: list[tuple[str, Literal["model", "adapter"]]]
        if not row["final"]:
            kinds = [(f"Intermediate (step {row['step']})", "model" if full else "adapter")]
        else:
            kinds = [("Final", "model")] if full else [("Final Merged", "model"), ("Final Adapter", "adapter")]
        found += [
            {
                "step": row["step"],
                "created_at": row["created_at"],
                "path": f"local://{record['id']}/{row['step']}",
                "checkpoint_type": label,
                "checkpoint": kind,
            }
            for label, kind in kinds
        ]
    return found
