"""What a method asks of a pair: its loss and the loss's slope over the difference of the two answers' log-ratios."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preftune.charts import Panel, Series, draw_svg, draw_text
from preftune.charts.svg import COLOURS
from preftune.losses.method import DPO
from preftune.losses.preference import preference_gradients, preference_loss

_POINTS = 241
_REACH = 6.0  # of the margin z to either side: the slope is within a quarter per cent of its end there


@dataclass(frozen=True, eq=False)
class Curves:
    """Loss and slope of M methods at N differences; no NLL term, which does not depend on the difference."""

    methods: tuple[DPO, ...]
    differences: NDArray[np.float64]  # (N,) chosen less rejected log-ratio in force; nats, per token if normalised
    losses: NDArray[np.float64]  # (M, N)
    slopes: NDArray[np.float64]  # (M, N) d loss / d difference: what pulls the answers apart

    def panels(self) -> list[Panel]:
        """Return the two pictures: the loss, and its slope."""
        unit = "log-ratio difference, nats" + (" per token" if self.methods[0].is_normalized else "")
        one = len(self.methods) == 1
        baseline = ("nothing learned", self.methods[0].baseline) if one else None
        return [
            Panel("loss", self._series(self.losses), baseline, x_label=unit),
            Panel("slope of the loss", self._series(self.slopes), ("no pull", 0.0), x_label=unit),
        ]

    def svg(self) -> str:
        """Return both pictures as SVG elements, one after the other."""
        return "".join(draw_svg(panel) for panel in self.panels())

    def to_dict(self) -> dict[str, Any]:
        """Return the curves as plain values."""
        names = ("differences", "losses", "slopes")
        arrays = {name: getattr(self, name).tolist() for name in names}
        return {"methods": [method.model_dump() for method in self.methods]} | arrays

    def _series(self, rows: NDArray[np.float64]) -> list[Series]:
        points = [list(zip(self.differences.tolist(), row.tolist(), strict=True)) for row in rows]
        return [Series(method.label, each) for method, each in zip(self.methods, points, strict=True)]

    def _repr_html_(self) -> str:
        return self.svg()

    def __str__(self) -> str:
        return "\n\n".join(draw_text(panel) for panel in self.panels())


def curve(method: DPO, *others: DPO, differences: Sequence[float] | None = None) -> Curves:
    """Return the loss of one pair, and its slope, over the difference of log-ratios; several methods to compare.

    Without `differences` they reach so far that every method is seen from "wrong" to "learned".
    Raises ValueError for methods whose differences are of different units, for more than can be told apart, and for
    differences that are no list of numbers.
    """
    methods = (method, *others)
    if len({each.is_normalized for each in methods}) > 1:
        raise ValueError("curve: expected methods that all normalise by length, or none; their axes differ in unit")
    if len(methods) > len(COLOURS):
        raise ValueError(f"curve: expected at most {len(COLOURS)} methods in one picture, found {len(methods)}")
    if differences is None:
        ends = [(each.simpo_gamma + side * _REACH) / each.dpo_beta for each in methods for side in (-1, 1)]
        differences = np.linspace(min(ends), max(ends), _POINTS).tolist()
    at = np.asarray(differences, np.float64)
    if at.ndim != 1 or at.size == 0:
        raise ValueError(f"differences: expected at least one number, in one list, found shape {at.shape}")
    zero, one = np.zeros_like(at), np.ones_like(at)
    arguments: dict[str, Any] = {
        "policy_chosen_logps": at,
        "policy_rejected_logps": zero,
        "reference_chosen_logps": zero,
        "reference_rejected_logps": zero,
        "chosen_lengths": one,
        "rejected_lengths": one,
    }
    bare = [each.model_copy(update={"rpo_alpha": 0.0}) for each in methods]
    losses = [preference_loss(**arguments, method=each).losses for each in bare]
    slopes = [preference_gradients(**arguments, method=each)[0] for each in bare]
    return Curves(methods, at, np.stack(losses), np.stack(slopes))
