"""How fast the embedded engine trains, and how well: answer bytes a second, and bits a byte on pairs held out.

Usage: python benchmarks/engine.py [--data FILE] [--held-out 60] [--epochs 3] [--batch 8] [--rounds 5]

FILE is in any layout that `preftune convert` tells by its keys; without it, the pairs of the demo. Every round is a
fresh process with one thread. Counted are the bytes of the answers that are trained on, end marks included, once an
epoch: the chosen ones for SFT, both sides for DPO, whose reference is scored once before. Figures are medians over the
rounds, and the best. Sums and products of matrices take most of the time, so the machine's speed at them is told too.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from statistics import median

KINDS = ("full", "adapter")
SFT_RATE, DPO_RATE = 1e-5, 1e-5  # the hosted default; the engine scales it
DEMO = Path(str(files("preftune.recipes.demo_data") / "train.jsonl"))


def main() -> None:
    """Measure and print, or measure one round."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, default=DEMO)
    options.add_argument("--held-out", type=int, default=60, help="the last pairs of the file")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--batch", type=int, default=8)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--round", choices=KINDS, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.round:
        print(json.dumps(one_round(chosen)))
        return
    print(f"{chosen.data.name}, {chosen.epochs} epochs, batch {chosen.batch}; Python {sys.version.split()[0]}\n")
    print(
        f"{'':<10}{'SFT kB/s':>10}{'best':>7}{'DPO kB/s':>10}{'best':>7}{'bits/byte':>11}{'accuracy':>10}{'Gflop/s':>9}"
    )
    for kind in KINDS:
        rounds = [fresh(kind) for _ in range(chosen.rounds)]
        column = {name: [each[name] for each in rounds] for name in rounds[0]}
        speeds = "".join(f"{median(column[name]):>10.0f}{max(column[name]):>7.0f}" for name in ("sft", "dpo"))
        rest = f"{column['bits'][0]:>11.2f}{column['accuracy'][0]:>10.0%}{median(column['gflops']):>9.0f}"
        print(f"{kind:<10}{speeds}{rest}")


def fresh(kind: str) -> dict[str, float]:
    """Return what a fresh process measures."""
    one = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, *sys.argv, "--round", kind]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, env=os.environ | one).stdout))


def one_round(chosen: argparse.Namespace) -> dict[str, float]:
    """Return thousands of bytes a second, and what was learned."""
    from preftune.api.config import DPO, FullFineTuning, JobConfig, LoRA
    from preftune.local.engine.encode import cut_pair, encode_pair
    from preftune.local.engine.model import base_weights
    from preftune.local.engine.objectives import Objective, Preference, Supervised
    from preftune.local.engine.parameters import Parameters
    from preftune.local.engine.plan import parameters_of, settings_of
    from preftune.local.engine.train import train
    from preftune.pairs import read

    pairs = [pair for each in read(chosen.data) if (pair := encode_pair(cut_pair(each, 1 << 20))) is not None]
    learned, held_out = pairs[: -chosen.held_out], pairs[-chosen.held_out :]
    kind = FullFineTuning() if chosen.round == "full" else LoRA()
    common = {"model": "engine", "training_type": kind, "n_epochs": chosen.epochs, "batch_size": chosen.batch}
    sft = JobConfig(**common, learning_rate=SFT_RATE)
    dpo = JobConfig(**common, learning_rate=DPO_RATE, training_method=DPO())

    def timed(parameters: Parameters, config: JobConfig, objective: Objective) -> float:
        start = time.perf_counter()
        for _ in train(parameters, objective, settings_of(config)):
            pass
        return chosen.epochs * objective.tokens / (time.perf_counter() - start) / 1000

    parameters = parameters_of(sft, base_weights())
    fast = timed(parameters, sft, Supervised([pair.chosen for pair in learned]))
    bits = Supervised([pair.chosen for pair in held_out]).evaluate(parameters)["loss"] / math.log(2)
    parameters = parameters_of(dpo, parameters.merged())
    judged = Preference(held_out, DPO())
    start = judged.score(parameters)
    preferring = timed(parameters, dpo, Preference(learned, DPO()))
    gained = judged.score(parameters) - start
    accuracy = float((gained[:, 0] > gained[:, 1]).mean())
    return {"sft": fast, "dpo": preferring, "bits": bits, "accuracy": accuracy, "gflops": gflops()}


def gflops() -> float:
    """Return what this machine does of the engine's largest product, in thousand million operations a second."""
    import numpy as np

    a, b = np.ones((1024, 32), np.float32), np.ones((32, 257), np.float32)
    best = math.inf
    for _ in range(50):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * a.shape[0] * b.size / best / 1e9


if __name__ == "__main__":
    main()
