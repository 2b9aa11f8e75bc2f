"""What the embedded engine can be asked for, and how hosted rates translate to it.

It accepts any model's name, since a script under test names a real model. A byte is its token.
"""

from __future__ import annotations

from typing import Any, Literal

from preftune.pairs.rules.line import MAX_FILE_BYTES

Purpose = Literal[
    "fine-tune", "calibration", "eval", "eval-sample", "eval-output", "eval-summary", "batch-generated", "batch-api"
]
FileType = Literal["jsonl", "csv", "parquet"]
MAX_BATCH = 16
MAX_EPOCHS, MAX_EVALS, MAX_CHECKPOINTS = 20, 100, 100
MIN_RATE, MAX_RATE = 1e-8, 0.01
MAX_RANK = 64
MAX_ALPHA, MAX_CYCLES = 1_000_000, 10_000  # far beyond any use; what is larger is a slip, and does not fit a float
MIN_LENGTH = 16  # bytes
MAX_LENGTH_SFT, MAX_LENGTH_DPO = 65_536, 32_768  # bytes; the second is the budget of one side
MAX_FILE = MAX_FILE_BYTES
MAX_BODY = 4 * 2**20  # bytes of any other request
MAX_KEY = 255  # characters of an Idempotency-Key
MAX_PARTS = 250  # of one upload
SIGNED_FOR = 3600  # seconds that an address of the storage is good for
DEFAULT_SEED = 42
DEFAULT_RANK = 16  # half the engine's width: an untrained base is little to lean on

# A rate that moves a large model gently leaves this one where it is: at the hosted default of 1e-5 the engine takes
# 1e-2 for SFT and 1e-3 for DPO. The caps keep it stable; over 3e-3, DPO drifts (k2 over 500).
SFT_RATE_FACTOR, SFT_RATE_CAP = 1000.0, 2e-2
DPO_RATE_FACTOR, DPO_RATE_CAP = 100.0, 3e-3
ADAPTER_SHARE = 0.5  # a step of an adapter is scaled by lora_alpha / lora_r, which is 2 unless told otherwise

# The environment of a process that trains: one thread of whichever library multiplies matrices. Sums are then the same
# everywhere, and products as small as these are faster without threads that wait for each other.
ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

EXAMPLE_MODELS = ("Qwen/Qwen3-8B", "meta-llama/Meta-Llama-3.1-8B-Instruct-Reference", "google/gemma-3-4b-it")


def engine_rate(rate: float, method: str, *, adapter: bool) -> float:
    """Return the engine's peak rate for the rate that a user gave; `adapter` says that it is low-rank training."""
    factor, cap = (SFT_RATE_FACTOR, SFT_RATE_CAP) if method == "sft" else (DPO_RATE_FACTOR, DPO_RATE_CAP)
    return min(rate * factor, cap) * (ADAPTER_SHARE if adapter else 1.0)


def limits(model: str) -> dict[str, Any]:
    """Return the answer of the limits route for a model, whatever its name."""
    batch = {"max_batch_size": MAX_BATCH, "max_batch_size_dpo": MAX_BATCH, "min_batch_size": 1}
    lora = {"max_rank": MAX_RANK, "default_rank": DEFAULT_RANK, "target_modules": ["all-linear"]}
    return {
        "model_name": model,
        "max_num_epochs": MAX_EPOCHS,
        "max_num_evals": MAX_EVALS,
        "max_num_checkpoints": MAX_CHECKPOINTS,
        "min_learning_rate": MIN_RATE,
        "max_learning_rate": MAX_RATE,
        "min_max_seq_length": MIN_LENGTH,
        "max_seq_length_sft": MAX_LENGTH_SFT,
        "max_seq_length_dpo": MAX_LENGTH_DPO,
        "default_gradient_accumulation_steps": 1,
        "supports_vision": False,
        "supports_tools": True,
        "supports_reasoning": True,
        "supports_full_training": True,
        "merge_output_lora": True,
        "lora_training": batch | lora,
        "full_training": batch,
    }
