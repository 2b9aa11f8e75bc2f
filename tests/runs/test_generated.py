"""Runs of the engine whose faults are known by how they were made: each gets the verdict that it was made for."""

import json
import random
from importlib.resources import files

import pytest

import preftune as pt

DATA = files("preftune.recipes.demo_data")
ROWS = {
    name: [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
    for name in ("train", "heldout")
}
BASE = {"model": "m", "training_method": "dpo", "n_epochs": 3, "n_evals": 8}


def swapped(rows):
    return [
        row | {"preferred_output": row["non_preferred_output"], "non_preferred_output": row["preferred_output"]}
        for row in rows
    ]


def identical(rows):
    return [row | {"non_preferred_output": row["preferred_output"]} for row in rows]


def coin_flips(rows, seed):
    flips = random.Random(seed)
    return [swapped([row])[0] if flips.random() < 0.5 else row for row in rows]


MADE = {
    "healthy": (ROWS["train"], ROWS["heldout"], {}),
    "swapped-eval": (ROWS["train"], swapped(ROWS["heldout"]), {}),
    "label-noise": (
        coin_flips(ROWS["train"], 1),
        coin_flips(ROWS["heldout"], 2),
        {"learning_rate": 3e-6, "n_epochs": 2},
    ),
    "too-small-steps": (ROWS["train"], ROWS["heldout"], {"learning_rate": 1e-8}),
    "over-optimised": (coin_flips(ROWS["train"][:60], 3), ROWS["heldout"], {"learning_rate": 1e-4, "n_epochs": 12}),
    "no-signal": (identical(ROWS["train"]), ROWS["heldout"], {}),
    "drift": (ROWS["train"], ROWS["heldout"], {"learning_rate": 1e-3, "n_epochs": 6, "dpo_beta": 0.05}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_a_run_gets_the_verdict_that_it_was_made_for(name, preftune_client, tmp_path):
    *sets, fields = MADE[name]
    ids = []
    for part, rows in zip(("train", "heldout"), sets, strict=True):
        path = tmp_path / f"{name}-{part}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        ids.append(preftune_client.files.wait(preftune_client.files.upload(path), poll_interval=0.02).id)
    config = pt.JobConfig(training_file=ids[0], validation_file=ids[1], **BASE | fields)
    job = preftune_client.fine_tuning.create(config)
    rows = list(preftune_client.fine_tuning.stream_metrics(job))
    diagnosis = pt.diagnose(rows, config=config)
    assert diagnosis.verdict == name, str(diagnosis)
