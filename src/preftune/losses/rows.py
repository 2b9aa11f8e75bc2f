"""Rows of metrics as the wire writes them, and the one table of their names.

A row is flat, text to number: `<split>/<key>`, with `train/global_step` and `train/epoch` in rows of both splits. The
names of per-side rewards and per-side log-probabilities are not public (docs/wire.md): each entry lists the names that
are understood, the first of them is the one written. No array library is imported here: reading a row needs none.
"""

from __future__ import annotations

from collections.abc import Mapping

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


def wire_row(split: str, *, step: int, epoch: float, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the row as the wire writes it: `split` is "train" or "eval", `metrics` goes by field name."""
    row: dict[str, float] = {STEP: step, EPOCH: epoch}
    return row | {f"{split}/{KEYS[name][0]}": value for name, value in metrics.items()}
