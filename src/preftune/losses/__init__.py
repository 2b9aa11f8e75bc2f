"""The mathematics: pure functions over any array library.

The names are bound on first use: a configuration or a row of metrics is read without any array library.
"""

from preftune.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from preftune.losses.curves import Curves as Curves
    from preftune.losses.curves import curve as curve
    from preftune.losses.fused import preference_loss_and_gradient as preference_loss_and_gradient
    from preftune.losses.grid import Sensitivity as Sensitivity
    from preftune.losses.grid import Setting as Setting
    from preftune.losses.grid import sensitivity as sensitivity
    from preftune.losses.kl import k1 as k1
    from preftune.losses.kl import k2 as k2
    from preftune.losses.kl import k3 as k3
    from preftune.losses.kl import token_kl as token_kl
    from preftune.losses.logps import sequence_logps as sequence_logps
    from preftune.losses.logps import token_logps as token_logps
    from preftune.losses.method import DPO as DPO
    from preftune.losses.metrics import preference_metrics as preference_metrics
    from preftune.losses.pairwise import batch_token_nll as batch_token_nll
    from preftune.losses.pairwise import chosen_nll as chosen_nll
    from preftune.losses.pairwise import conservative_dpo_loss as conservative_dpo_loss
    from preftune.losses.pairwise import dpo_loss as dpo_loss
    from preftune.losses.pairwise import hinge_loss as hinge_loss
    from preftune.losses.pairwise import ipo_loss as ipo_loss
    from preftune.losses.pairwise import length_normalized_dpo_loss as length_normalized_dpo_loss
    from preftune.losses.pairwise import length_normalized_ipo_loss as length_normalized_ipo_loss
    from preftune.losses.pairwise import reference_free_dpo_loss as reference_free_dpo_loss
    from preftune.losses.pairwise import robust_dpo_loss as robust_dpo_loss
    from preftune.losses.pairwise import simpo_loss as simpo_loss
    from preftune.losses.preference import PreferenceLoss as PreferenceLoss
    from preftune.losses.preference import gradient_weights as gradient_weights
    from preftune.losses.preference import preference_gradients as preference_gradients
    from preftune.losses.preference import preference_loss as preference_loss
    from preftune.losses.rows import wire_row as wire_row

_HOMES = {
    "Curves": "curves",
    "DPO": "method",
    "PreferenceLoss": "preference",
    "Sensitivity": "grid",
    "Setting": "grid",
    "batch_token_nll": "pairwise",
    "chosen_nll": "pairwise",
    "conservative_dpo_loss": "pairwise",
    "curve": "curves",
    "dpo_loss": "pairwise",
    "gradient_weights": "preference",
    "hinge_loss": "pairwise",
    "ipo_loss": "pairwise",
    "k1": "kl",
    "k2": "kl",
    "k3": "kl",
    "length_normalized_dpo_loss": "pairwise",
    "length_normalized_ipo_loss": "pairwise",
    "preference_gradients": "preference",
    "preference_loss": "preference",
    "preference_loss_and_gradient": "fused",
    "preference_metrics": "metrics",
    "reference_free_dpo_loss": "pairwise",
    "robust_dpo_loss": "pairwise",
    "sensitivity": "grid",
    "sequence_logps": "logps",
    "simpo_loss": "pairwise",
    "token_kl": "kl",
    "token_logps": "logps",
    "wire_row": "rows",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # pragma: no branch - a checker that saw this would let every misspelt name pass
    __getattr__, __dir__ = lazily(__name__, globals(), _HOMES)
