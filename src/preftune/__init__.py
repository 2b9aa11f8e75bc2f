"""Preference fine-tuning (DPO) over a hosted API, or over the one that runs on your own machine.

The public names are bound on first use, so that importing the package costs nothing.
"""

__version__ = "0.1.0"

from preftune.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from preftune import errors as errors
    from preftune import losses as losses
    from preftune import pairs as pairs
    from preftune import runs as runs
    from preftune.api.config import SFT as SFT
    from preftune.api.config import FullFineTuning as FullFineTuning
    from preftune.api.config import JobConfig as JobConfig
    from preftune.api.config import LoRA as LoRA
    from preftune.client.clients import AsyncClient as AsyncClient
    from preftune.client.clients import Client as Client
    from preftune.local.serve import LocalServer as LocalServer
    from preftune.losses.method import DPO as DPO
    from preftune.pairs.conversion import convert as convert
    from preftune.pairs.inspection import check as check
    from preftune.recipes.rehearse import rehearse as rehearse
    from preftune.recipes.sft_then_dpo import sft_then_dpo as sft_then_dpo
    from preftune.recipes.watch import watch as watch
    from preftune.runs.diagnose import diagnose as diagnose

_HOMES = {
    "AsyncClient": "client.clients",
    "Client": "client.clients",
    "DPO": "losses.method",
    "FullFineTuning": "api.config",
    "JobConfig": "api.config",
    "LoRA": "api.config",
    "LocalServer": "local.serve",
    "SFT": "api.config",
    "check": "pairs.inspection",
    "convert": "pairs.conversion",
    "diagnose": "runs.diagnose",
    "rehearse": "recipes.rehearse",
    "sft_then_dpo": "recipes.sft_then_dpo",
    "watch": "recipes.watch",
}
_ROOMS = ("errors", "losses", "pairs", "runs")

__all__ = [*_HOMES, *_ROOMS]

if not TYPE_CHECKING:  # pragma: no branch - a checker that saw this would let every misspelt name pass
    __getattr__, __dir__ = lazily(__name__, globals(), _HOMES, _ROOMS)
