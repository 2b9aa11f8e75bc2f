"""One run: a job with everything that is known of it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import ValidationError

from preftune.api.config import JobConfig
from preftune.api.fine_tuning import JobOrId, list_checkpoints, list_events, list_metrics, retrieve
from preftune.api.models import Checkpoint, Event, FineTuneJob, MetricRow
from preftune.api.steps import Flow
from preftune.errors import ConfigWarning
from preftune.runs.diagnose import Diagnosis, Method, diagnose, method_of

_ASKED = (
    "model", "from_checkpoint", "training_file", "validation_file", "training_method", "training_type", "n_epochs",
    "n_evals", "batch_size", "learning_rate", "lr_scheduler", "warmup_ratio", "weight_decay", "max_grad_norm",
    "max_seq_length", "packing", "random_seed", "early_stopping_enabled",
)  # fmt: skip


@dataclass(frozen=True)
class Best:
    """The evaluation of a run that counts most, and the checkpoint to take for it."""

    step: int
    loss: float
    accuracy: float | None
    checkpoint: str  # what `from_checkpoint` takes; empty where none was kept
    checkpoint_step: int | None


@dataclass(frozen=True)
class Run:
    """A job with its rows and, where they are known, its checkpoints and events."""

    job: FineTuneJob
    rows: Sequence[MetricRow] = field(repr=False)
    checkpoints: Sequence[Checkpoint] = field(default=(), repr=False)
    events: Sequence[Event] = field(default=(), repr=False)

    @property
    def method(self) -> Method | None:
        """Return the method, or None where the server tells none that is known."""
        return method_of(self.job)

    @cached_property
    def asked(self) -> dict[str, str]:
        """Return what the job was asked for, flat, as text."""
        dumped = self.job.model_dump(mode="json")
        return {name: text for name in _ASKED for name, text in _flat(name, dumped.get(name))}

    @property
    def tokens_per_step(self) -> float | None:
        """Return how many tokens a step trains on, from the server's count for the whole job."""
        steps = self.job.total_steps
        return self.job.token_count / steps if self.job.token_count and steps else None

    @property
    def config(self) -> JobConfig | None:
        """Return the configuration that the server echoes, or None where it does not read as one."""
        told = {name: value for name, value in self.job.model_dump().items() if value not in (None, "")}
        fields = {name: value for name, value in told.items() if name in JobConfig.model_fields}
        if "from_checkpoint" in fields:
            fields.pop("model", None)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConfigWarning)  # the explanation says it
                return JobConfig(**fields)
        except ValidationError:  # fields of another server than we know
            return None

    @cached_property
    def diagnosis(self) -> Diagnosis | None:
        """Return what the curves say, or None before there is a row with a loss."""
        if not any(f"{row.split}/loss" in row.raw or row.loss is not None for row in self.rows):
            return None
        total = max(row.step or 0 for row in self.rows) if self.job.is_final else self.job.total_steps
        return diagnose(self.rows, config=self.config or self.method, total_steps=total)

    @property
    def verdict(self) -> str:
        """Return the verdict of the diagnosis; empty where there is none."""
        return self.diagnosis.verdict if self.diagnosis else ""

    def best(self, *, by_accuracy: bool) -> Best | None:
        """Return the best evaluation: the lowest loss, or the highest accuracy and then the lowest loss."""
        found = [row for row in self.rows if row.split == "eval" and row.loss == row.loss]  # no NaN
        told = [(row.step, row.loss, row.accuracy) for row in found if row.step is not None and row.loss is not None]
        if not told:
            return None
        first = min(told, key=lambda one: (-(one[2] or 0.0) if by_accuracy else 0.0, one[1]))
        return Best(*first, *self._checkpoint(first[0]))

    def _checkpoint(self, step: int) -> tuple[str, int | None]:
        """Return the kept checkpoint that is nearest to a step, the earlier one of two; and its step."""
        steps = sorted({one.step for one in self.checkpoints if one.step is not None})
        if not steps:
            return "", None
        nearest = min(steps, key=lambda kept: abs(kept - step))
        return (self.job.id if nearest == steps[-1] and self.job.is_final else f"{self.job.id}:{nearest}"), nearest


def fetch(job: JobOrId) -> Flow[Run]:
    """Return a job with its rows, checkpoints and events. Raises NotFoundError."""
    found = yield from retrieve(job)
    rows = yield from list_metrics(found)
    checkpoints = yield from list_checkpoints(found)
    return Run(found, rows, checkpoints, (yield from list_events(found)))


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    """Yield a field with its value as text, one for each part of a nested one; what is empty is left out."""
    if isinstance(value, Mapping):
        for part, inner in value.items():
            yield from _flat(f"{name}.{part}", inner)
    elif value not in (None, ""):
        yield name, f"{value:g}" if isinstance(value, float) else str(value)
