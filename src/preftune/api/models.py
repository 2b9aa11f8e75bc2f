"""What the server answers: typed where it is known, kept where it is not.

Invariant: an unknown field, status, type or metric key is never an error, and neither is a value of an odd type: it is
kept as it came. Only an answer that is no object at all does not read. Source: docs/wire.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError, WrapValidator
from pydantic import ValidatorFunctionWrapHandler as Handler

from preftune.losses.rows import EPOCH, KEYS, STEP, TIMESTAMP

T = TypeVar("T")


def _keep(value: Any, read: Handler) -> Any:
    """Read a value as its type, or keep it as it came."""
    try:
        return read(value)
    except ValidationError:
        return value


def _as_it_is(value: Any) -> Any:
    """Write a value by what it is: pydantic would warn about one that was kept although it is of an odd type."""
    return value


Kept: TypeAlias = Annotated[T, WrapValidator(_keep), PlainSerializer(_as_it_is)]
Time: TypeAlias = Kept[datetime | None]


class Model(BaseModel):
    """An answer's object: unknown fields are kept as attributes and in `model_extra`."""

    model_config = ConfigDict(extra="allow", populate_by_name=True, protected_namespaces=())


class ValidationReport(Model):
    """What the server found when it read an uploaded file."""

    valid: Kept[bool | None] = None
    dataset_format: Kept[str | None] = None
    error: Kept[str | None] = None
    error_type: Kept[str | None] = None
    nlines: Kept[int | None] = None


class File(Model):
    """An uploaded file."""

    id: Kept[str] = ""
    object: Kept[str] = "file"
    created_at: Kept[int | None] = None  # unix seconds
    filename: Kept[str] = ""
    bytes: Kept[int | None] = None
    purpose: Kept[str] = ""
    file_type: Kept[str] = Field("", alias="FileType")
    processing_status: Kept[str | None] = None
    processed: Kept[bool | None] = Field(None, alias="Processed")
    validation_report: Kept[ValidationReport | None] = None

    @property
    def is_ready(self) -> bool:
        """Tell whether the server has taken the file; one without a status is never looked at, so it is ready."""
        return str(self.processing_status or "COMPLETED").upper() == "COMPLETED"

    @property
    def is_refused(self) -> bool:
        """Tell whether the server has read the file and refused it, or failed to read it."""
        return str(self.processing_status).upper() in ("INVALID_FORMAT", "FAILED")


class DeletedFile(Model):
    """The answer to a deletion."""

    id: Kept[str] = ""
    deleted: Kept[bool] = False


class Event(Model):
    """Something that happened to a job; types are compared in lower case, since servers spell them both ways."""

    type: Kept[str] = ""
    message: Kept[str] = ""
    level: Kept[str | None] = None
    created_at: Time = None
    step: Kept[int | None] = None
    total_steps: Kept[int | None] = None

    @property
    def kind(self) -> str:
        """Return the type in lower case."""
        return str(self.type).lower()


class Progress(Model):
    """How long until the job's next state, when the server knows."""

    estimate_available: Kept[bool] = False
    seconds_remaining: Kept[float | None] = None


FINAL = frozenset({"completed", "error", "user_error", "cancelled"})


class FineTuneJob(Model):
    """A training job as the server sees it; lists and creation give fewer fields than `retrieve`."""

    id: Kept[str] = ""
    status: Kept[str] = ""
    model: Kept[str | None] = None
    model_output_name: Kept[str | None] = None
    from_checkpoint: Kept[str | None] = None
    training_file: Kept[str | None] = None
    validation_file: Kept[str | None] = None
    created_at: Time = None
    updated_at: Time = None
    started_at: Time = None
    training_method: Kept[dict[str, Any] | None] = None
    training_type: Kept[dict[str, Any] | None] = None
    n_epochs: Kept[int | None] = None
    n_evals: Kept[int | None] = None
    n_checkpoints: Kept[int | None] = None
    batch_size: Kept[int | str | None] = None
    learning_rate: Kept[float | None] = None
    suffix: Kept[str | None] = None
    random_seed: Kept[int | None] = None
    total_price: Kept[int | None] = None  # nano-dollars
    token_count: Kept[int | None] = None
    total_steps: Kept[int | None] = None
    steps_completed: Kept[int | None] = None
    epochs_completed: Kept[int | None] = None
    queue_depth: Kept[int | None] = None
    early_stopped: Kept[bool | None] = None
    early_stopping_best_step: Kept[int | None] = None
    events: Kept[list[Event]] = Field(default_factory=list, repr=False)
    progress: Kept[Progress | None] = None

    @property
    def is_final(self) -> bool:
        """Tell whether the job has ended: completed, error, user_error or cancelled."""
        return str(self.status).lower() in FINAL

    @property
    def has_failed(self) -> bool:
        """Tell whether the job has ended otherwise than completed."""
        return self.is_final and str(self.status).lower() != "completed"


class Checkpoint(Model):
    """Weights that can be downloaded, or trained on from: `<job>:<step>`, the final one by the job's id alone."""

    step: Kept[int | None] = None
    created_at: Time = None
    checkpoint_type: Kept[str] = ""
    checkpoint: Kept[str | None] = None  # "model" or "adapter"
    path: Kept[str | None] = None


class DeletedJob(Model):
    """The answer to a deletion."""

    message: Kept[str] = ""


class LoraLimits(Model):
    """A model's limits for LoRA training."""

    max_batch_size: Kept[int | None] = None
    max_batch_size_dpo: Kept[int | None] = None
    min_batch_size: Kept[int | None] = None
    default_rank: Kept[int | None] = None
    max_rank: Kept[int | None] = None
    target_modules: Kept[list[str] | None] = None


class FullLimits(Model):
    """A model's limits for training all weights."""

    max_batch_size: Kept[int | None] = None
    max_batch_size_dpo: Kept[int | None] = None
    min_batch_size: Kept[int | None] = None


class ModelLimits(Model):
    """What a model can be asked for."""

    model_name: Kept[str] = ""
    max_num_epochs: Kept[int | None] = None
    max_num_evals: Kept[int | None] = None
    max_num_checkpoints: Kept[int | None] = None
    min_learning_rate: Kept[float | None] = None
    max_learning_rate: Kept[float | None] = None
    min_max_seq_length: Kept[int | None] = None
    max_seq_length_sft: Kept[int | None] = None
    max_seq_length_dpo: Kept[int | None] = None
    default_gradient_accumulation_steps: Kept[int | None] = None
    supports_vision: Kept[bool | None] = None
    supports_tools: Kept[bool | None] = None
    supports_reasoning: Kept[bool | None] = None
    supports_full_training: Kept[bool | None] = None
    merge_output_lora: Kept[bool | None] = None
    lora_training: Kept[LoraLimits | None] = None
    full_training: Kept[FullLimits | None] = None


class PriceEstimate(Model):
    """What a job would cost, in dollars, or why that cannot be said yet."""

    estimation_available: Kept[bool | None] = None
    allowed_to_proceed: Kept[bool | None] = None
    estimated_total_price: Kept[float | None] = None
    estimated_train_token_count: Kept[int | None] = None
    estimated_eval_token_count: Kept[int | None] = None
    user_limit: Kept[float | None] = None
    unavailable_reason: Kept[str | None] = None

    @property
    def is_pending(self) -> bool:
        """Tell whether the price is unknown only because a file is still being read."""
        return str(self.unavailable_reason).lower().endswith("_not_validated")


class PreviewRow(Model):
    """One row as the trainer will see it; a label of -100 is a token that is not learned."""

    input_ids: Kept[list[int]] = Field(default_factory=list, repr=False)
    labels: Kept[list[int]] = Field(default_factory=list, repr=False)
    num_tokens: Kept[int | None] = None
    num_trained_tokens: Kept[int | None] = None
    tokens: Kept[list[str]] = Field(default_factory=list)
    trained_spans: Kept[list[tuple[int, int]]] = Field(default_factory=list)  # half open, in tokens
    truncated: Kept[bool | None] = None


class Preview(Model):
    """The first rows of a supervised file as tokens."""

    dataset_format: Kept[str | None] = None
    max_seq_length: Kept[int | None] = None
    model: Kept[str | None] = None
    train_on_inputs: Kept[bool | None] = None
    rows: Kept[list[PreviewRow]] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One row of metrics of one split; what the server did not send is None. `raw` is the server's row, untouched."""

    split: str  # "train" or "eval"
    step: int | None = None
    epoch: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    accuracy: float | None = None
    rewards_chosen: float | None = None
    rewards_rejected: float | None = None
    margin: float | None = None
    kl_chosen: float | None = None
    kl_rejected: float | None = None
    logps_chosen: float | None = None
    logps_rejected: float | None = None
    logged_at: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    @property
    def key(self) -> tuple[int | None, str]:
        """Return what makes the row one of its kind: step and split."""
        return self.step, self.split


def metric_rows(raw: Mapping[str, Any]) -> list[MetricRow]:
    """Return the rows in one object of the server: one a split, training before evaluation."""
    splits = [split for split in ("train", "eval") if has_metrics(raw, split)]
    return [_metric_row(raw, split) for split in splits or ["train"]]


def has_metrics(raw: Mapping[str, Any], split: str) -> bool:
    """Tell whether an object of the server says anything of a split beside the step."""
    return any(key.startswith(f"{split}/") and key not in (STEP, EPOCH) for key in raw)


def _metric_row(raw: Mapping[str, Any], split: str) -> MetricRow:
    step = _number(raw.get(STEP))
    values = {
        name: next((n for key in keys if (n := _number(raw.get(f"{split}/{key}"))) is not None), None)
        for name, keys in KEYS.items()
    }
    if values["margin"] is None and values["rewards_chosen"] is not None and values["rewards_rejected"] is not None:
        values["margin"] = values["rewards_chosen"] - values["rewards_rejected"]
    return MetricRow(
        split=split,
        step=int(step) if step is not None and math.isfinite(step) else None,
        epoch=_number(raw.get(EPOCH)),
        logged_at=_time(_number(raw.get(TIMESTAMP))),
        raw=raw,
        **values,
    )


def _time(nanoseconds: float | None) -> datetime | None:
    try:
        return None if nanoseconds is None else datetime.fromtimestamp(nanoseconds / 1e9, UTC)
    except (ValueError, OverflowError, OSError):  # out of the calendar; the raw row keeps it
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # an integer beyond every float; the raw row keeps it
        return None
