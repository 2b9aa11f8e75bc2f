"""The metrics of a preference batch, and the one table of their names on the wire.

A row on the wire is flat, text to number: `<split>/<key>`, with `train/global_step` and `train/epoch` in rows of both
splits. The names of per-side rewards and per-side log-probabilities are not public (docs/wire.md): each entry lists
the names that are understood, the first of them is the one written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from preftune.losses._arrays import Array, namespace, needed_arrays, number
from preftune.losses.kl import k2

if TYPE_CHECKING:
    from preftune.losses.preference import PreferenceLoss

KEYS: Mapping[str, tuple[str, ...]] = {
    "loss": ("loss",),
    "learning_rate": ("learning_rate",),
    "grad_norm": ("grad_norm",),
    "accuracy": ("reward/accuracy", "rewards/accuracies"),
    "rewards_chosen": ("reward/chosen", "rewards/chosen"),
    "rewards_rejected": ("reward/rejected", "rewards/rejected"),
    "margin": ("reward/margin", "rewards/margins"),
    "kl_chosen": ("approx. KL/chosen", "kl/chosen"),
    "kl_rejected": ("approx. KL/rejected", "kl/rejected"),
    "logps_chosen": ("logps/chosen",),
    "logps_rejected": ("logps/rejected",),
}
STEP, EPOCH, TIMESTAMP = "train/global_step", "train/epoch", "timestamp"


def preference_metrics(
    loss: PreferenceLoss,
    *,
    policy_chosen_logps: Array,
    policy_rejected_logps: Array,
    reference_chosen_logps: Array,
    reference_rejected_logps: Array,
) -> dict[str, float]:
    """Return the metrics of a batch by field name: means over pairs; KL is the sequence-level k2, an approximation."""
    logps = needed_arrays(
        policy_chosen_logps=policy_chosen_logps,
        policy_rejected_logps=policy_rejected_logps,
        reference_chosen_logps=reference_chosen_logps,
        reference_rejected_logps=reference_rejected_logps,
    )
    chosen, rejected = logps["policy_chosen_logps"], logps["policy_rejected_logps"]
    return {
        "loss": number(loss.mean),
        "accuracy": number(loss.accuracy),
        "rewards_chosen": _mean(loss.rewards_chosen),
        "rewards_rejected": _mean(loss.rewards_rejected),
        "margin": number(loss.margin),
        "kl_chosen": _mean(k2(chosen, logps["reference_chosen_logps"])),
        "kl_rejected": _mean(k2(rejected, logps["reference_rejected_logps"])),
        "logps_chosen": _mean(chosen),
        "logps_rejected": _mean(rejected),
    }


def wire_row(split: str, *, step: int, epoch: float, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the row as the wire writes it: `split` is "train" or "eval", `metrics` goes by field name."""
    row: dict[str, float] = {STEP: step, EPOCH: epoch}
    return row | {f"{split}/{KEYS[name][0]}": value for name, value in metrics.items()}


def _mean(array: Array) -> float:
    return number(namespace(array).mean(array))
