"""The mathematics: pure functions over any array library."""

from preftune.losses.kl import k1, k2, k3
from preftune.losses.logps import sequence_logps, token_logps
from preftune.losses.method import DPO
from preftune.losses.metrics import preference_metrics
from preftune.losses.preference import PreferenceLoss, preference_gradients, preference_loss

__all__ = [
    "DPO",
    "PreferenceLoss",
    "k1",
    "k2",
    "k3",
    "preference_gradients",
    "preference_loss",
    "preference_metrics",
    "sequence_logps",
    "token_logps",
]
