"""How the knobs would change what an update listens to, with the log-probabilities of a run held fixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from typing import Any

import numpy as np

from preftune.losses._arrays import number
from preftune.losses.method import DPO
from preftune.losses.preference import gradient_weights, preference_gradients, preference_loss

ALIVE = 0.1  # gradient weight, of a pair's whole weight, below which it teaches little: a fifth of that at z = 0
_TOP = 0.1  # the share of pairs whose share of the pull is told
_SHOWN = 10  # pairs that are named
_PLAIN = DPO()
_BETAS = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)
_BETAS_NORMALIZED = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_NAME = 34  # columns of a method's label
_HEAD = f"{'method':<{_NAME}}{'loss':>8}{'accuracy':>10}{'median':>8}{'learned':>9}{'top 10 %':>10}"

_LEGEND = (
    "median: gradient weight of the median pair: 1 wrong, 1/2 at z = 0, 0 learned",
    f"learned: pairs of a weight below {ALIVE:g}, which the update no longer hears",
    "top 10 %: the share of the pull that a tenth of the pairs has",
)


@dataclass(frozen=True)
class Setting:
    """What one method makes of the pairs."""

    method: DPO
    loss: float  # of the batch
    accuracy: float
    margin: float  # mean of chosen less rejected reward
    median_weight: float  # gradient weight of the median pair: 1 where it is wrong, 1/2 at z = 0, 0 once learned
    learned: float  # share of pairs whose gradient weight is below ALIVE: the update no longer hears them
    top_share: float  # share of the whole pull on the log-probabilities that a tenth of the pairs has
    dominant: tuple[int, ...]  # the pairs with the largest pull, largest first, as positions from 0

    @property
    def alive(self) -> bool:
        """Tell whether the median pair still teaches."""
        return self.median_weight >= ALIVE


@dataclass(frozen=True)
class Sensitivity:
    """The settings of a grid, in its order."""

    settings: tuple[Setting, ...]

    @property
    def largest_alive_beta(self) -> float | None:
        """Return the largest beta of the grid that keeps the median pair alive."""
        return max((each.method.dpo_beta for each in self.settings if each.alive), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values."""
        names = ("loss", "accuracy", "margin", "median_weight", "learned", "top_share", "alive")
        rows = [
            {"method": each.method.model_dump(), **{name: getattr(each, name) for name in names}}
            | {"dominant": list(each.dominant)}
            for each in self.settings
        ]
        return {"settings": rows, "largest_alive_beta": self.largest_alive_beta}

    def __str__(self) -> str:
        return "\n".join([_HEAD, *(_line(each) for each in self.settings), "", *_LEGEND, self._reading()])

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"

    def _reading(self) -> str:
        beta = self.largest_alive_beta
        told = "none here" if beta is None else f"{beta:g}"
        return f"largest beta that keeps the median pair alive (median {ALIVE:g} or more): {told}"


def sensitivity(
    logps: Mapping[str, Any],
    grid: Mapping[str, Sequence[float]] | Iterable[DPO] | None = None,
    *,
    method: DPO = _PLAIN,
) -> Sensitivity:
    """Return how accuracy, loss and gradient weights change over a grid of knobs, log-probabilities held fixed.

    `logps` is the array arguments of `preference_loss` by name. `grid` is methods, or values of knobs to combine, such
    as {"dpo_beta": [0.05, 0.1], "rpo_alpha": [0, 1]}, the others being those of `method`; without it, a range of beta.
    Where policy and reference are still the same model every margin is 0: take log-probabilities after some training.
    Raises ValueError as `preference_loss` does, and for a grid without methods.
    """
    return Sensitivity(tuple(_setting(dict(logps), each) for each in _methods(grid, method)))


def _methods(grid: Mapping[str, Sequence[float]] | Iterable[DPO] | None, method: DPO) -> list[DPO]:
    if grid is None:
        grid = {"dpo_beta": _BETAS_NORMALIZED if method.is_normalized else _BETAS}
    methods = _combined(grid, method) if isinstance(grid, Mapping) else list(grid)
    if not methods:
        hint = "leave it out for a range of beta"
        raise ValueError(f"grid: expected at least one method, or a value for each knob, found none; {hint}")
    return methods


def _combined(grid: Mapping[str, Sequence[float]], method: DPO) -> list[DPO]:
    """Return the methods of all combinations of the knobs' values."""
    for name, values in grid.items():
        if np.ndim(values) != 1:
            raise ValueError(f"grid: expected the values of {name} in a list, such as [0.1], found {values!r}")
    knobs = {name: getattr(method, name) for name in method.model_fields_set}
    combinations = product(*grid.values()) if grid else ()  # the product of nothing is one combination
    return [DPO(**(knobs | dict(zip(grid, values, strict=True)))) for values in combinations]


def _setting(logps: dict[str, Any], method: DPO) -> Setting:
    loss = preference_loss(**logps, method=method)
    plain = {name: array for name, array in logps.items() if name != "weights"}
    listening = _numpy(gradient_weights(**plain, method=method))
    pulls = sum(np.abs(_numpy(side)) for side in preference_gradients(**logps, method=method))
    order = np.argsort(-pulls, kind="stable")
    top = max(1, round(_TOP * pulls.size))
    return Setting(
        method,
        loss=number(loss.mean),
        accuracy=number(loss.accuracy),
        margin=number(loss.margin),
        median_weight=float(np.median(listening)),
        learned=float(np.mean(listening < ALIVE)),
        top_share=float(pulls[order[:top]].sum() / max(pulls.sum(), np.finfo(np.float64).tiny)),
        dominant=tuple(int(pair) for pair in order[:_SHOWN]),
    )


def _numpy(array: Any) -> Any:
    return np.asarray([number(value) for value in array])


def _line(each: Setting) -> str:
    label = each.method.label
    name = f"{label:<{_NAME}}" if len(label) <= _NAME else f"{label}\n{'':{_NAME}}"  # numbers below a long one
    numbers = f"{each.loss:>8.3f}{each.accuracy:>10.1%}{each.median_weight:>8.3f}{each.learned:>9.1%}"
    return f"{name}{numbers}{each.top_share:>10.1%}"
