"""Training as an iterator: what happens at each step comes out, whoever iterates records it and may stop.

Invariant: one seed gives the same items bit for bit, in any process with one BLAS thread. Steps count from 1; at one
step the order is: training row, epoch, evaluation row, checkpoint, early stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preftune.local.engine.adam import Adam, rate_factor
from preftune.local.engine.objectives import Objective, in_turn
from preftune.local.engine.parameters import Gradients, Parameters, Weights, copied
from preftune.losses.rows import wire_row


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
    metrics: dict[str, float]  # the learning rate as a share of its peak

    def wire(self, peak_rate: float) -> dict[str, float]:
        """Return the row as the wire writes it, with the learning rate that the user knows."""
        rate = {name: share * peak_rate for name, share in self.metrics.items() if name == "learning_rate"}
        return wire_row(self.split, step=self.step, epoch=self.epoch, metrics=self.metrics | rate)


@dataclass(frozen=True)
class EpochEnd:
    """An epoch is complete."""

    step: int
    number: int


@dataclass(frozen=True)
class Checkpoint:
    """The model is to be kept; it is the trainer's own, so write it down before going on."""

    step: int
    parameters: Parameters
    final: bool


@dataclass(frozen=True)
class Stopped:
    """Early stopping: where it halted, the best step (the halt step if nothing improved) and its loss."""

    step: int
    best_step: int
    best_loss: float | None


Item = Row | EpochEnd | Checkpoint | Stopped


def spread(total: int, count: int) -> list[int]:
    """Return the steps of `count` events in `total` steps: event k at ceil(k * total / count), each step once.

    Source: docs/wire.md, Evaluation steps; read off the hosted service's charts.
    """
    return sorted({math.ceil(k * total / count) for k in range(1, count + 1)}) if count else []


def train(
    parameters: Parameters, objective: Objective, settings: Settings, held_out: Objective | None = None
) -> Iterator[Item]:
    """Yield what happens while the parameters are trained in place."""
    adam = Adam.of(parameters.trained)
    total = total_steps(len(objective), settings)
    eval_steps = set(spread(total, settings.evals) if held_out else [])
    checkpoint_steps = set(spread(total, settings.checkpoints)) - {total}
    patience = _Patience(settings.early_stopping) if settings.early_stopping else None
    objective.prepare(parameters, _batches(len(objective), settings, epoch=0))
    if held_out:
        held_out.prepare(parameters, in_turn(len(held_out)))
    step = 0
    for epoch in range(settings.epochs):
        batches = _batches(len(objective), settings, epoch)
        for within, examples in enumerate(batches, start=1):
            step += 1
            done = epoch + within / len(batches)
            metrics, gradients = objective.learn(parameters, examples)
            moved = _move(parameters, gradients, adam, settings, total)
            yield Row("train", step, done, metrics | moved)
            if within == len(batches):
                yield EpochEnd(step, epoch + 1)
            halted = False
            if held_out and step in eval_steps:
                metrics = held_out.evaluate(parameters)
                yield Row("eval", step, done, metrics)
                halted = patience is not None and patience.exhausted(step, metrics["loss"], parameters)
            if step in checkpoint_steps:
                yield Checkpoint(step, parameters, final=False)
            if patience and halted:
                patience.bring_back(parameters)
                yield Stopped(step, patience.best_step, patience.best_loss)
                yield Checkpoint(patience.best_step, parameters, final=True)
                return
    yield Checkpoint(step, parameters, final=True)


def total_steps(examples: int, settings: Settings) -> int:
    """Return the number of optimiser steps; the last batch of an epoch may be short."""
    return settings.epochs * math.ceil(examples / settings.batch_size)


class _Patience:
    """Counts evaluations without improvement, and keeps the best model. Source: docs/wire.md, Early stopping."""

    def __init__(self, rule: EarlyStopping) -> None:
        self._rule = rule
        self._evals = self._waited = 0
        self.best_step = 0
        self.best_loss: float | None = None
        self._best: Weights = {}

    def exhausted(self, step: int, loss: float, parameters: Parameters) -> bool:
        """Take one evaluation; tell whether to stop. In the warm-up, only a loss that is not finite stops."""
        self._evals += 1
        if math.isfinite(loss) and (self.best_loss is None or loss < self.best_loss - self._rule.min_delta):
            self._waited = 0
            self.best_step, self.best_loss = step, loss
            self._best = copied(parameters.trained)
            return False
        if self._evals > self._rule.warmup_evals:
            self._waited += 1
        if self.best_loss is None:
            self.best_step = step
        return self._waited >= self._rule.patience or not math.isfinite(loss)

    def bring_back(self, parameters: Parameters) -> None:
        """Set the parameters to those of the best evaluation, if there was one."""
        for name, array in self._best.items():
            parameters.trained[name][...] = array


def _move(parameters: Parameters, gradients: Gradients, adam: Adam, settings: Settings, total: int) -> dict[str, float]:
    """Take one optimiser step and return its metrics; `learning_rate` is a share of the peak rate."""
    norm = gradients.norm()
    clip = min(1.0, settings.max_grad_norm / norm) if settings.max_grad_norm and norm else 1.0
    share = rate_factor(
        adam.steps + 1, total, schedule=settings.schedule, warmup_ratio=settings.warmup_ratio,
        min_ratio=settings.min_rate_ratio, cycles=settings.cycles,
    )  # fmt: skip
    adam.step(parameters.trained, gradients, rate=settings.rate * share, decay=settings.weight_decay, scale=clip)
    return {"grad_norm": norm, "learning_rate": share}


def _batches(examples: int, settings: Settings, epoch: int) -> list[NDArray[np.int64]]:
    """Return the batches of an epoch, shuffled by (seed, epoch) alone."""
    order = np.random.default_rng([settings.seed, epoch]).permutation(examples)
    return [order[start : start + settings.batch_size] for start in range(0, examples, settings.batch_size)]
