"""A job to test with: forty pairs, one seed, a few steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from preftune.api.models import FineTuneJob
from preftune.client.clients import Client

MODEL = "Qwen/Qwen3-8B"  # what a script under test would name
_PAIRS, _HELD_OUT = 40, 8


def train_sample(client: Client, folder: Path) -> FineTuneJob:
    """Return a finished DPO job on forty pairs: two epochs, two evaluations, two checkpoints, one seed.

    Its two files are written to the folder first. On the local server it takes some tenths of a second.
    """
    train, held_out = (client.files.upload(path) for path in write_sample(folder))
    job = client.fine_tuning.create(
        model=MODEL, training_file=train.id, validation_file=held_out.id, training_method="dpo", dpo_beta=0.1,
        training_type="Lora", lora_r=1, n_epochs=2, n_evals=2, n_checkpoints=2, batch_size=16, random_seed=7,
        suffix="sample",
    )  # fmt: skip
    return client.fine_tuning.wait(job, timeout=60, poll_interval=0.02)


def write_sample(folder: Path) -> tuple[Path, Path]:
    """Write the pairs, to train on and held out, and return where."""
    pairs = [_pair(number) for number in range(_PAIRS)]
    return _write(folder / "train.jsonl", pairs[_HELD_OUT:]), _write(folder / "validation.jsonl", pairs[:_HELD_OUT])


def _pair(number: int) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": f"What is {number} and {number + 3}?"}]},
        "preferred_output": [{"role": "assistant", "content": f"It is {2 * number + 3}."}],
        "non_preferred_output": [{"role": "assistant", "content": f"Hard to say, perhaps {2 * number}."}],
    }


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
