"""Training as an iterator: what happens at each step comes out, whoever iterates records it and may stop.

Invariant: one seed gives the same items bit for bit, in any process with one BLAS thread. Steps count from 1; at one
step the order is: training row, epoch, evaluation row, checkpoint, early stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from preftune.local.engine.adam import Adam, rate_factor
from preftune.local.engine.encode import Encoded
from preftune.local.engine.model import Batch, Gradients, Weights, backward, forward, sequence_logps
from preftune.losses import DPO, preference_gradients, preference_loss, preference_metrics

_EVAL_BATCH = 16  # examples scored at once; fixed, so that an evaluation never depends on the batch size


@dataclass(frozen=True)
class Settings:
    """How to train: the hosted knobs, with the rate already in the engine's own scale."""

    epochs: int
    batch_size: int  # examples of one optimiser step, accumulation included
    rate: float
    schedule: str = "cosine"
    min_rate_ratio: float = 0.0
    cycles: float = 0.5
    warmup_ratio: float = 0.0
    max_grad_norm: float = 1.0  # 0 turns clipping off
    weight_decay: float = 0.0
    seed: int = 42
    evals: int = 0
    checkpoints: int = 1
    early_stopping: EarlyStopping | None = None


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop: after `patience` evaluations without an improvement of more than `min_delta`."""

    patience: int = 2
    min_delta: float = 0.0
    warmup_evals: int = 1


@dataclass(frozen=True)
class Row:
    """Metrics of one step, by field name."""

    split: str
    step: int
    epoch: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is complete."""

    step: int
    number: int


@dataclass(frozen=True)
class Checkpoint:
    """The weights are to be kept; they are the trainer's own, so copy or write them before going on."""

    step: int
    weights: Weights
    final: bool


@dataclass(frozen=True)
class Stopped:
    """Early stopping: where it halted, the best step (the halt step if nothing improved) and its loss."""

    step: int
    best_step: int
    best_loss: float | None


Item = Row | EpochEnd | Checkpoint | Stopped


class Objective(Protocol):
    """What is learned: examples, their loss, its gradient."""

    def __len__(self) -> int:
        """Return the number of examples."""

    @property
    def tokens(self) -> int:
        """Return the number of tokens that are scored in one pass."""

    def prepare(self, weights: Weights, batches: Sequence[NDArray[np.int64]]) -> None:
        """Look at the model before the first step, in the batches that come first."""

    def learn(self, weights: Weights, examples: NDArray[np.int64]) -> tuple[dict[str, float], Gradients]:
        """Return the metrics of a batch and the gradient of its loss."""

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Return the metrics over all examples."""


class Supervised:
    """Next-token loss on answers: the mean over the tokens of a batch."""

    def __init__(self, answers: Sequence[Encoded]) -> None:
        self._answers = answers

    def __len__(self) -> int:
        return len(self._answers)

    @property
    def tokens(self) -> int:
        """Return the number of answer tokens."""
        return sum(answer.targets.size for answer in self._answers)

    def prepare(self, weights: Weights, batches: Sequence[NDArray[np.int64]]) -> None:
        """Do nothing: there is no reference."""

    def learn(self, weights: Weights, examples: NDArray[np.int64]) -> tuple[dict[str, float], Gradients]:
        """Return the loss of a batch and its gradient."""
        batch = Batch.of([self._answers[i] for i in examples])
        done = forward(weights, batch)
        tokens = max(1, batch.targets.size)
        pull = np.full(len(examples), -1 / tokens)
        return {"loss": float(-done.logps.sum() / tokens)}, backward(weights, batch, done, pull)

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Return the loss over all answers."""
        total, tokens = 0.0, 0
        for examples in _in_turn(len(self)):
            batch = Batch.of([self._answers[i] for i in examples])
            total += float(sequence_logps(weights, batch).sum())
            tokens += batch.targets.size
        return {"loss": -total / max(1, tokens)}


@dataclass(frozen=True, eq=False)
class Pair:
    """One encoded preference."""

    chosen: Encoded
    rejected: Encoded
    weight: float = 1.0


class Preference:
    """The preference loss against the model as it was when the job began."""

    def __init__(self, pairs: Sequence[Pair], method: DPO) -> None:
        self._pairs, self._method = pairs, method
        self._reference: NDArray[np.float64] = np.zeros((0, 2))  # (pairs, 2): chosen, rejected

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def tokens(self) -> int:
        """Return the number of answer tokens of both sides."""
        return sum(pair.chosen.targets.size + pair.rejected.targets.size for pair in self._pairs)

    def prepare(self, weights: Weights, batches: Sequence[NDArray[np.int64]]) -> None:
        """Score every pair under the reference, grouped as it will be scored first, so that step 1 is at exactly 0."""
        self._reference = np.zeros((len(self), 2))
        for examples in batches:
            self._reference[examples] = _by_side(sequence_logps(weights, self._batch(examples)))

    def learn(self, weights: Weights, examples: NDArray[np.int64]) -> tuple[dict[str, float], Gradients]:
        """Return the metrics of a batch and the gradient of its loss."""
        batch = self._batch(examples)
        done = forward(weights, batch)
        logps = _by_side(done.logps)
        for_chosen, for_rejected = preference_gradients(**self._arguments(examples, logps), method=self._method)
        pull = np.concatenate([for_chosen, for_rejected]) / len(examples)
        return self._metrics(examples, logps), backward(weights, batch, done, pull)

    def evaluate(self, weights: Weights) -> dict[str, float]:
        """Return the metrics over all pairs."""
        logps = np.concatenate([_by_side(sequence_logps(weights, self._batch(some))) for some in _in_turn(len(self))])
        return self._metrics(np.arange(len(self)), logps)

    def _batch(self, examples: NDArray[np.int64]) -> Batch:
        pairs = [self._pairs[i] for i in examples]
        return Batch.of([pair.chosen for pair in pairs] + [pair.rejected for pair in pairs])

    def _arguments(self, examples: NDArray[np.int64], logps: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        pairs = [self._pairs[i] for i in examples]
        return self._logps(examples, logps) | {
            "chosen_lengths": np.array([pair.chosen.targets.size for pair in pairs], np.float64),
            "rejected_lengths": np.array([pair.rejected.targets.size for pair in pairs], np.float64),
            "weights": np.array([pair.weight for pair in pairs]),
        }

    def _logps(self, examples: NDArray[np.int64], logps: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        reference = self._reference[examples]
        return {
            "policy_chosen_logps": logps[:, 0],
            "policy_rejected_logps": logps[:, 1],
            "reference_chosen_logps": reference[:, 0],
            "reference_rejected_logps": reference[:, 1],
        }

    def _metrics(self, examples: NDArray[np.int64], logps: NDArray[np.float64]) -> dict[str, float]:
        loss = preference_loss(**self._arguments(examples, logps), method=self._method)
        return preference_metrics(loss, **self._logps(examples, logps))


def spread(total: int, count: int) -> list[int]:
    """Return the steps of `count` events in `total` steps: event k at ceil(k * total / count), each step once.

    Source: docs/wire.md, Evaluation steps; read off the hosted service's charts.
    """
    return sorted({math.ceil(k * total / count) for k in range(1, count + 1)}) if count else []


def train(
    weights: Weights, objective: Objective, settings: Settings, held_out: Objective | None = None
) -> Iterator[Item]:
    """Yield what happens while the weights are trained in place."""
    adam = Adam.of(weights)
    total = total_steps(len(objective), settings)
    eval_steps = set(spread(total, settings.evals) if held_out else [])
    checkpoint_steps = set(spread(total, settings.checkpoints)) - {total}
    patience = _Patience(settings.early_stopping) if settings.early_stopping else None
    objective.prepare(weights, _batches(len(objective), settings, epoch=0))
    if held_out:
        held_out.prepare(weights, _in_turn(len(held_out)))
    step, halted = 0, False
    for epoch in range(settings.epochs):
        batches = _batches(len(objective), settings, epoch)
        for within, examples in enumerate(batches, start=1):
            step += 1
            done = epoch + within / len(batches)
            yield Row(
                "train", step, done, _learn(weights, objective, examples, adam=adam, settings=settings, total=total)
            )
            if within == len(batches):
                yield EpochEnd(step, epoch + 1)
            if held_out and step in eval_steps:
                metrics = held_out.evaluate(weights)
                yield Row("eval", step, done, metrics)
                halted = patience is not None and patience.exhausted(step, metrics["loss"], weights)
            if step in checkpoint_steps:
                yield Checkpoint(step, weights, final=False)
            if patience and halted:
                yield Stopped(step, patience.best_step, patience.best_loss)
                yield Checkpoint(patience.best_step, patience.best_weights or weights, final=True)
                return
    yield Checkpoint(step, weights, final=True)


def total_steps(examples: int, settings: Settings) -> int:
    """Return the number of optimiser steps; the last batch of an epoch may be short."""
    return settings.epochs * math.ceil(examples / settings.batch_size)


class _Patience:
    """Counts evaluations without improvement, and keeps the best weights. Source: docs/wire.md, Early stopping."""

    def __init__(self, rule: EarlyStopping) -> None:
        self._rule = rule
        self._evals = self._waited = 0
        self.best_step = 0
        self.best_loss: float | None = None
        self.best_weights: Weights | None = None

    def exhausted(self, step: int, loss: float, weights: Weights) -> bool:
        """Take one evaluation; tell whether to stop. In the warm-up, only a loss that is not finite stops."""
        self._evals += 1
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss - self._rule.min_delta):
            self._waited = 0
            self.best_step, self.best_loss = step, loss
            self.best_weights = {name: value.copy() for name, value in weights.items()}
            return False
        if self._evals > self._rule.warmup_evals:
            self._waited += 1
        if self.best_loss is None:
            self.best_step = step
        return self._waited >= self._rule.patience or not math.isfinite(loss)


def _learn(
    weights: Weights, objective: Objective, examples: NDArray[np.int64], *, adam: Adam, settings: Settings, total: int
) -> dict[str, float]:
    """Take one optimiser step and return its metrics; `learning_rate` is a share of the peak rate."""
    metrics, gradients = objective.learn(weights, examples)
    norm = gradients.norm()
    clip = min(1.0, settings.max_grad_norm / norm) if settings.max_grad_norm and norm else 1.0
    share = rate_factor(
        adam.steps + 1, total, schedule=settings.schedule, warmup_ratio=settings.warmup_ratio,
        min_ratio=settings.min_rate_ratio, cycles=settings.cycles,
    )  # fmt: skip
    adam.step(weights, gradients, rate=settings.rate * share, decay=settings.weight_decay, scale=clip)
    return metrics | {"grad_norm": norm, "learning_rate": share}


def _batches(examples: int, settings: Settings, epoch: int) -> list[NDArray[np.int64]]:
    """Return the batches of an epoch, shuffled by (seed, epoch) alone."""
    order = np.random.default_rng([settings.seed, epoch]).permutation(examples)
    return [order[start : start + settings.batch_size] for start in range(0, examples, settings.batch_size)]


def _in_turn(examples: int) -> list[NDArray[np.int64]]:
    return [np.arange(start, min(start + _EVAL_BATCH, examples)) for start in range(0, examples, _EVAL_BATCH)]


def _by_side(logps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (2B,) log-probabilities, chosen first, as (B, 2)."""
    return logps.reshape(2, -1).T
