"""Records as the wire writes them. Source: docs/wire.md, Objects."""

from __future__ import annotations

from preftune.local.store import Record


def file(record: Record) -> Record:
    """Return a file object."""
    answer = {
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
    report = record["report"]
    return answer | ({"validation_report": report | {"file_id": record["id"]}} if report else {})


def job(record: Record) -> Record:
    """Return a job object, as creation, lists and cancelling give it."""
    config, facts = record["config"], record["facts"]
    return {
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


def full_job(record: Record, events: list[Record]) -> Record:
    """Return a job object with all that `retrieve` adds."""
    facts = record["facts"]
    return job(record) | {
        "job_id": record["id"],
        "model_output_path": f"local://{record['id']}",
        "trainingfile_numlines": facts.get("examples", 0),
        "trainingfile_size": facts.get("training_bytes", 0),
        "param_count": facts.get("param_count", 0),
        "total_steps": facts.get("total_steps", 0),
        "steps_completed": facts.get("steps_completed", 0),
        "evals_completed": facts.get("evals_completed", 0),
        "epochs_completed": facts.get("epochs_completed", 0),
        "eval_steps": 0,
        "queue_depth": 0,
        "wandb_url": "",
        "events": [event(one) for one in events],
    }


def event(record: Record) -> Record:
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


def checkpoints(record: Record, rows: list[Record]) -> list[Record]:
    """Return a job's checkpoint objects: a LoRA job's final one as model and as adapter."""
    full = record["config"]["training_type"]["type"] == "Full"
    found = []
    for row in rows:
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
