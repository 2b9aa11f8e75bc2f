"""Adam with decoupled weight decay, lazy on tables: a row that no token touched does not move.

Source: arXiv 1412.6980 and 1711.05101. The schedule multiplies the peak rate; see `rate_factor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from preftune.local.engine.parameters import Floats, Gradients, Weights

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8


@dataclass(eq=False)
class Adam:
    """The optimiser's state: two moments of every weight, and the number of steps taken."""

    first: Weights
    second: Weights
    steps: int = 0

    @classmethod
    def of(cls, weights: Weights) -> Adam:
        """Return a fresh state for the weights."""
        return cls(_zeros(weights), _zeros(weights))

    def step(self, weights: Weights, gradients: Gradients, *, rate: float, decay: float, scale: float) -> None:
        """Change the weights in place; `scale` multiplies the gradients (clipping)."""
        self.steps += 1
        pace = np.float32(rate / (1 - _BETA1**self.steps))
        correction = np.float32(1 / math.sqrt(1 - _BETA2**self.steps))
        keep = np.float32(1 - rate * decay)
        for name, gradient in gradients.dense.items():
            move = _direction(self.first[name], self.second[name], gradient * np.float32(scale), correction)
            weights[name] *= keep
            weights[name] -= pace * move
        for name, (at, gradient) in gradients.rows.items():
            first, second = np.take(self.first[name], at, axis=0), np.take(self.second[name], at, axis=0)
            move = _direction(first, second, gradient * np.float32(scale), correction)
            self.first[name][at], self.second[name][at] = first, second
            weights[name][at] = np.take(weights[name], at, axis=0) * keep - pace * move


def _direction(first: Floats, second: Floats, gradient: Floats, correction: np.float32) -> Floats:
    """Bring the moments up to date, in place, and return the direction of the step; uses up `gradient`."""
    first *= np.float32(_BETA1)
    first += np.float32(1 - _BETA1) * gradient
    gradient *= gradient
    gradient *= np.float32(1 - _BETA2)
    second *= np.float32(_BETA2)
    second += gradient
    np.sqrt(second, out=gradient)
    gradient *= correction
    gradient += np.float32(_EPSILON)
    return np.divide(first, gradient, out=gradient)


def _zeros(weights: Weights) -> Weights:
    # not zeros_like, which writes every page: a table's rows take memory when they are first touched
    return {name: np.zeros(value.shape, value.dtype) for name, value in weights.items()}


def rate_factor(step: int, total: int, *, schedule: str, warmup_ratio: float, min_ratio: float, cycles: float) -> float:
    """Return the share of the peak rate at a step, counted from 1: linear warm-up, then linear or cosine decay."""
    warmup = math.ceil(round(warmup_ratio * total, 6))  # 0.07 * 100 is 7.000000000000001
    if step <= warmup:
        return step / warmup
    progress = (step - 1 - warmup) / max(1, total - warmup)
    shape = 1 - progress if schedule == "linear" else 0.5 * (1 + math.cos(2 * math.pi * cycles * progress))
    return min_ratio + (1 - min_ratio) * shape
