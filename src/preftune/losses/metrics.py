"""The metrics of a preference batch, by field name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preftune.losses._arrays import Array, namespace, needed_arrays, number
from preftune.losses.kl import k2

if TYPE_CHECKING:
    from preftune.losses.preference import PreferenceLoss


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


def _mean(array: Array) -> float:
    return number(namespace(array).mean(array))
