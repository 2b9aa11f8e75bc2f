"""Training as an iterator: what happens at each step comes out, whoever iterates records it and may stop.

Invariant: one seed gives the same items bit for bit, in any process with one BLAS thread. Steps count from 1; at one
step the order is: training row, epoch, evaluation row, checkpoint, early stop.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preftune.local.engine.adam import Adam, rate_factor
from preftune.local.engine.objectives import Objective, in_turn
from preftune.local.engine.parameters import Floats, Gradients, Parameters, Weights, copied
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
    halt_at: int | None = None  # a step at which to stop as early stopping does, whatever the losses say


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


@dataclass(frozen=True, eq=False)
class State:
    """Where a training stands after a step: what the next one depends on, beside the data and the settings.

    The arrays are the trainer's own, by role and name: `trained.`, `first.` and `second.` (the optimiser's moments),
    `best.` (the best model so far, under early stopping).
    """

    arrays: Weights
    numbers: dict[str, float | None]  # step, and under early stopping evals, waited, best_step, best_loss, halted

    @property
    def step(self) -> int:
        """Return the number of steps taken."""
        return int(self.numbers["step"] or 0)


@dataclass(frozen=True)
class Checkpoint:
    """The model is to be kept; it is the trainer's own, so write it down before going on."""

    step: int
    parameters: Parameters
    state: State | None  # None for the final one, from which no training goes on

    @property
    def final(self) -> bool:
        """Tell whether this is what the training ends with."""
        return self.state is None


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
    parameters: Parameters,
    objective: Objective,
    settings: Settings,
    held_out: Objective | None = None,
    *,
    begin: State | None = None,
) -> Iterator[Item]:
    """Yield what happens while the parameters are trained in place: from their start on, or after the state `begin`."""
    total = total_steps(len(objective), settings)
    eval_steps = set(spread(total, settings.evals) if held_out else [])
    checkpoint_steps = set(spread(total, settings.checkpoints)) - {total}
    objective.prepare(parameters, _batches(len(objective), settings, epoch=0))
    if held_out:
        held_out.prepare(parameters, in_turn(len(held_out)))
    course = _Course(parameters, settings)
    if begin:  # only now: the reference is the model at the start
        course.go_on_from(begin)
    for turn in _turns(len(objective), settings):
        if turn.step <= course.adam.steps:
            continue
        if course.halted:
            break
        metrics, gradients = objective.learn(parameters, turn.examples)
        moved = _move(parameters, gradients, course.adam, settings, total)
        yield Row("train", turn.step, turn.epochs, metrics | moved)
        if turn.ends:
            yield EpochEnd(turn.step, turn.ends)
        course.halted = turn.step == settings.halt_at
        if held_out and turn.step in eval_steps:
            metrics = held_out.evaluate(parameters)
            yield Row("eval", turn.step, turn.epochs, metrics)
            course.look(turn.step, metrics["loss"])
        if turn.step in checkpoint_steps:
            yield Checkpoint(turn.step, parameters, course.state())
    last = course.adam.steps
    if course.halted:
        yield course.stop()
        last = course.best_step
    yield Checkpoint(last, parameters, None)


def total_steps(examples: int, settings: Settings) -> int:
    """Return the number of optimiser steps; the last batch of an epoch may be short."""
    return settings.epochs * math.ceil(examples / settings.batch_size)


class _Course:
    """Where a training stands: the optimiser, and what early stopping watches. Source: docs/wire.md, Early stopping."""

    def __init__(self, parameters: Parameters, settings: Settings) -> None:
        self._parameters, self._rule = parameters, settings.early_stopping
        self.adam = Adam.of(parameters.trained)
        self.halted = False
        self.best_step, self._best_loss = 0, None  # type: tuple[int, float | None]
        self._evals = self._waited = 0
        self._best: Weights = {}

    def look(self, step: int, loss: float) -> None:
        """Take one evaluation; see whether to stop. In the warm-up, only a loss that is not finite stops."""
        if self._rule is None:
            return
        self._evals += 1
        if math.isfinite(loss) and (self._best_loss is None or loss < self._best_loss - self._rule.min_delta):
            self._waited = 0
            self.best_step, self._best_loss = step, loss
            self._best = copied(self._parameters.trained)
            return
        if self._evals > self._rule.warmup_evals:
            self._waited += 1
        self.halted = self.halted or self._waited >= self._rule.patience or not math.isfinite(loss)

    def stop(self) -> Stopped:
        """Bring back the best model, if there was one, and return where it stood."""
        for name, array in self._best.items():
            self._parameters.trained[name][...] = array
        self.best_step = self.best_step or self.adam.steps
        return Stopped(self.adam.steps, self.best_step, self._best_loss)

    def state(self) -> State:
        """Return all of it, the arrays as they are."""
        numbers: dict[str, float | None] = {
            "step": self.adam.steps, "evals": self._evals, "waited": self._waited,
            "best_step": self.best_step, "best_loss": self._best_loss, "halted": self.halted,
        }  # fmt: skip
        return State(dict(_by_role(self._arrays() | {"best": self._best})), numbers)

    def go_on_from(self, state: State) -> None:
        """Take over a state."""
        numbers = state.numbers
        self.adam.steps, self.halted = state.step, bool(numbers["halted"])
        self._evals, self._waited = int(numbers["evals"] or 0), int(numbers["waited"] or 0)
        self.best_step, self._best_loss = int(numbers["best_step"] or 0), numbers["best_loss"]
        for name, array in _by_role(self._arrays()):
            array[...] = state.arrays[name]
        kept = {name: state.arrays.get(f"best.{name}") for name in self._parameters.trained}
        self._best = {name: array for name, array in kept.items() if array is not None}

    def _arrays(self) -> dict[str, Weights]:
        return {"trained": self._parameters.trained, "first": self.adam.first, "second": self.adam.second}


def _by_role(roles: Mapping[str, Weights]) -> Iterator[tuple[str, Floats]]:
    return ((f"{role}.{name}", array) for role, arrays in roles.items() for name, array in arrays.items())


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


@dataclass(frozen=True, eq=False)
class _Turn:
    """A step to take: its number, the epochs that it completes, its examples, and the epoch that ends with it, or 0."""

    step: int
    epochs: float
    examples: NDArray[np.int64]
    ends: int


def _turns(examples: int, settings: Settings) -> Iterator[_Turn]:
    step = 0
    for epoch in range(settings.epochs):
        batches = _batches(examples, settings, epoch)
        for within, batch in enumerate(batches, start=1):
            step += 1
            yield _Turn(step, epoch + within / len(batches), batch, epoch + 1 if within == len(batches) else 0)


def _batches(examples: int, settings: Settings, epoch: int) -> list[NDArray[np.int64]]:
    """Return the batches of an epoch, shuffled by (seed, epoch) alone."""
    order = np.random.default_rng([settings.seed, epoch]).permutation(examples)
    return [order[start : start + settings.batch_size] for start in range(0, examples, settings.batch_size)]
