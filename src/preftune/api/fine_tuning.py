"""Fine-tuning jobs: single calls. Creation stands in `creation`, prices in `pricing`, waiting in `watching`.

Source: docs/wire.md, Fine-tuning endpoints.
"""

from __future__ import annotations

import builtins
from typing import Literal, TypeAlias

from preftune.api.files import FileOrId
from preftune.api.models import (
    Checkpoint,
    DeletedJob,
    Event,
    FineTuneJob,
    MetricRow,
    ModelLimits,
    Preview,
    metric_rows,
)
from preftune.api.reading import id_of, path_id, read, read_items, read_list, read_object
from preftune.api.steps import Flow, Request

JobOrId: TypeAlias = FineTuneJob | str


def list() -> Flow[builtins.list[FineTuneJob]]:  # noqa: A001 - the name that SDKs of this API share
    """Return all jobs, in the server's order (newest first)."""
    return read_list((yield Request("GET", "/fine-tunes")), "data", FineTuneJob)


def retrieve(job: JobOrId) -> Flow[FineTuneJob]:
    """Return one job. Raises NotFoundError."""
    return read((yield Request("GET", _path(job))), FineTuneJob)


def cancel(job: JobOrId) -> Flow[FineTuneJob]:
    """Ask for a job to be stopped; finished steps stay billed. Raises BadRequestError for one that has ended."""
    return read((yield Request("POST", f"{_path(job)}/cancel")), FineTuneJob)


def delete(job: JobOrId) -> Flow[DeletedJob]:
    """Delete a job and everything that it made."""
    return read((yield Request("DELETE", _path(job))), DeletedJob)


def list_events(job: JobOrId) -> Flow[builtins.list[Event]]:
    """Return what has happened to a job so far."""
    return read_list((yield Request("GET", f"{_path(job)}/events")), "data", Event)


def list_checkpoints(job: JobOrId) -> Flow[builtins.list[Checkpoint]]:
    """Return the checkpoints of a job."""
    return read_list((yield Request("GET", f"{_path(job)}/checkpoints")), "data", Checkpoint)


def list_metrics(
    job: JobOrId, *, from_step: int | None = None, to_step: int | None = None, resolution: int | None = None
) -> Flow[builtins.list[MetricRow]]:
    """Return the metrics so far, in time; both steps are inclusive, `resolution` thins the training rows."""
    asked = {"global_step_from": from_step, "global_step_to": to_step, "resolution": resolution}
    params = {name: value for name, value in asked.items() if value is not None}
    response = yield Request("GET", f"{_path(job)}/metrics", params=params)
    return [row for raw in read_items(response, "metrics") for row in metric_rows(raw)]


def model_limits(model: str) -> Flow[ModelLimits]:
    """Return what a model, or a job's checkpoint, can be asked for. Raises NotFoundError for an unknown one."""
    return read((yield Request("GET", "/fine-tunes/models/limits", params={"model_name": model})), ModelLimits)


def supported_models() -> Flow[builtins.list[str]]:
    """Return the names of the models that can be tuned."""
    models = read_object((yield Request("GET", "/fine-tunes/models/supported"))).get("models") or []
    return [str(model) for model in models]


def preview(
    file: FileOrId, *, model: str, rows: int = 5, train_on_inputs: bool | Literal["auto"] = "auto"
) -> Flow[Preview]:
    """Return the first rows (1 to 50) of an uploaded SFT file as the trainer will see them, in tokens.

    Raises BadRequestError for a file of pairs, or one that has not been read yet.
    """
    body = {"model": model, "training_file": id_of(file, "file"), "top_k": rows, "train_on_inputs": train_on_inputs}
    return read((yield Request("POST", "/fine-tunes/preview", json=body | {"training_method": "sft"})), Preview)


def _path(job: JobOrId) -> str:
    return f"/fine-tunes/{path_id(job, 'job')}"
