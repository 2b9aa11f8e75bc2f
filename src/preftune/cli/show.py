"""`preftune show JOB`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from preftune.api.models import FineTuneJob
from preftune.cli.remote import cell, chosen, job_argument, json_option, method_name, print_versioned, show_table
from preftune.client.clients import Client

_KNOBS = ("n_epochs", "batch_size", "learning_rate", "n_evals", "n_checkpoints", "suffix", "random_seed")


@click.command("show")
@job_argument
@json_option
def command(job: str | None, *, as_json: bool) -> None:
    """Show what JOB was asked for, how far it has come, and why it ended.

    Without JOB it is the last one that this machine asked for.
    """
    with Client() as client:
        found = client.fine_tuning.retrieve(chosen(client, job))
    if as_json:
        print_versioned(job=found.model_dump(mode="json"))
    else:
        show_table([(name, cell(value)) for name, value in _facts(found)])


def _facts(job: FineTuneJob) -> Iterator[tuple[str, object]]:
    yield "job", job.id
    yield "status", _status(job)
    yield "model", job.model or job.from_checkpoint
    if job.model and job.from_checkpoint:
        yield "from", job.from_checkpoint
    yield "becomes", job.model_output_name
    method = job.training_method if isinstance(job.training_method, dict) else {}
    knobs = [f"{name} {value:g}" for name, value in method.items() if isinstance(value, float | int) and value]
    yield "method", ", ".join(filter(None, [method_name(job), *knobs]))
    kind = job.training_type if isinstance(job.training_type, dict) else {}
    parts = [f"{name} {value}" for name, value in kind.items() if name != "type"]
    yield "trains", ", ".join(filter(None, [kind.get("type"), *parts]))
    yield "training file", job.training_file
    if job.validation_file:
        yield "validation file", job.validation_file
    yield "asked for", ", ".join(f"{name} {cell(getattr(job, name))}" for name in _KNOBS if getattr(job, name))
    yield "steps", f"{job.steps_completed or 0} of {job.total_steps or '?'}"
    yield "created (UTC)", job.created_at
    yield "started (UTC)", job.started_at
    yield "price", None if job.total_price is None else f"${job.total_price / 1e9:,.2f}"


def _status(job: FineTuneJob) -> str:
    """Return the status with what explains it: the place in the queue, the time left, the reason of the end."""
    if job.has_failed and job.events:
        return f"{job.status}: {job.events[-1].message}"
    if job.queue_depth:
        return f"{job.status}, {job.queue_depth} before it"
    left = job.progress.seconds_remaining if job.progress and job.progress.estimate_available else None
    return f"{job.status}, about {left:.0f} s to the next state" if left and not job.is_final else job.status
