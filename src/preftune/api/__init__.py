"""The hosted API in words: what can be asked, what comes back. No network, no clock, no loop.

The names are bound on first use: the local server reads configurations and needs no model of an answer.
"""

from preftune.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from preftune.api.config import DPO as DPO
    from preftune.api.config import SFT as SFT
    from preftune.api.config import CosineSchedule as CosineSchedule
    from preftune.api.config import FullFineTuning as FullFineTuning
    from preftune.api.config import JobConfig as JobConfig
    from preftune.api.config import LinearSchedule as LinearSchedule
    from preftune.api.config import LoRA as LoRA
    from preftune.api.config import MultimodalParams as MultimodalParams
    from preftune.api.models import Checkpoint as Checkpoint
    from preftune.api.models import DeletedFile as DeletedFile
    from preftune.api.models import DeletedJob as DeletedJob
    from preftune.api.models import Event as Event
    from preftune.api.models import File as File
    from preftune.api.models import FineTuneJob as FineTuneJob
    from preftune.api.models import MetricRow as MetricRow
    from preftune.api.models import ModelLimits as ModelLimits
    from preftune.api.models import Preview as Preview
    from preftune.api.models import PriceEstimate as PriceEstimate
    from preftune.api.models import ValidationReport as ValidationReport

_HOMES = {
    "Checkpoint": "models",
    "CosineSchedule": "config",
    "DPO": "config",
    "DeletedFile": "models",
    "DeletedJob": "models",
    "Event": "models",
    "File": "models",
    "FineTuneJob": "models",
    "FullFineTuning": "config",
    "JobConfig": "config",
    "LinearSchedule": "config",
    "LoRA": "config",
    "MetricRow": "models",
    "ModelLimits": "models",
    "MultimodalParams": "config",
    "Preview": "models",
    "PriceEstimate": "models",
    "SFT": "config",
    "ValidationReport": "models",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # pragma: no branch - a checker that saw this would let every misspelt name pass
    __getattr__, __dir__ = lazily(__name__, globals(), _HOMES)
