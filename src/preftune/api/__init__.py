"""The hosted API in words: what can be asked, what comes back. No network, no clock, no loop."""

from preftune.api.config import (
    DPO,
    SFT,
    CosineSchedule,
    FullFineTuning,
    JobConfig,
    LinearSchedule,
    LoRA,
    MultimodalParams,
)
from preftune.api.models import (
    Checkpoint,
    DeletedFile,
    DeletedJob,
    Event,
    File,
    FineTuneJob,
    MetricRow,
    ModelLimits,
    PriceEstimate,
    ValidationReport,
)

__all__ = [
    "DPO",
    "SFT",
    "Checkpoint",
    "CosineSchedule",
    "DeletedFile",
    "DeletedJob",
    "Event",
    "File",
    "FineTuneJob",
    "FullFineTuning",
    "JobConfig",
    "LinearSchedule",
    "LoRA",
    "MetricRow",
    "ModelLimits",
    "MultimodalParams",
    "PriceEstimate",
    "ValidationReport",
]
