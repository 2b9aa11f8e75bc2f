"""The mathematics: pure functions over any array library."""

from preftune.losses.curves import Curves, curve
from preftune.losses.fused import preference_loss_and_gradient
from preftune.losses.grid import Sensitivity, Setting, sensitivity
from preftune.losses.kl import k1, k2, k3, token_kl
from preftune.losses.logps import sequence_logps, token_logps
from preftune.losses.method import DPO
from preftune.losses.metrics import preference_metrics, wire_row
from preftune.losses.pairwise import (
    batch_token_nll,
    chosen_nll,
    conservative_dpo_loss,
    dpo_loss,
    hinge_loss,
    ipo_loss,
    length_normalized_dpo_loss,
    length_normalized_ipo_loss,
    reference_free_dpo_loss,
    robust_dpo_loss,
    simpo_loss,
)
from preftune.losses.preference import PreferenceLoss, gradient_weights, preference_gradients, preference_loss

__all__ = [
    "DPO",
    "Curves",
    "PreferenceLoss",
    "Sensitivity",
    "Setting",
    "batch_token_nll",
    "chosen_nll",
    "conservative_dpo_loss",
    "curve",
    "dpo_loss",
    "gradient_weights",
    "hinge_loss",
    "ipo_loss",
    "k1",
    "k2",
    "k3",
    "length_normalized_dpo_loss",
    "length_normalized_ipo_loss",
    "preference_gradients",
    "preference_loss",
    "preference_loss_and_gradient",
    "preference_metrics",
    "reference_free_dpo_loss",
    "robust_dpo_loss",
    "sensitivity",
    "sequence_logps",
    "simpo_loss",
    "token_kl",
    "token_logps",
    "wire_row",
]
