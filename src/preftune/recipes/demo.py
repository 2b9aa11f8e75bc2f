"""The whole product on one machine: check, SFT, DPO, live metrics, adapter; the same calls as on the hosted service."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

from preftune.api.fields import JobFields
from preftune.api.models import MetricRow
from preftune.client.clients import Client
from preftune.errors import ConfigError, DataError
from preftune.local.serve import LocalServer
from preftune.pairs import Report, check, convert, scan, split
from preftune.pairs.finding import SEVERITIES
from preftune.recipes.sft_then_dpo import sft_then_dpo

MODEL = "Qwen/Qwen3-8B"  # what a user would name; the local server says that its own engine stands in
SFT_FIELDS: JobFields = {"n_epochs": 4, "training_type": "Full"}
DPO_FIELDS: JobFields = {"n_epochs": 3, "n_evals": 12, "training_type": "Lora", "dpo_beta": 0.1}
_SHARE = 0.2  # of the pairs of a user's file that is kept for evaluation
_FEWEST = 10  # prompts; with fewer there is nothing to hold out


@dataclass(frozen=True)
class Demo:
    """What the demo did, with every row that was streamed."""

    report: Report
    sft_job: str
    dpo_job: str
    rows: list[tuple[str, MetricRow]] = field(repr=False)  # stage ("sft" or "dpo") and row
    adapter: Path
    seconds: float

    @property
    def dpo_rows(self) -> list[MetricRow]:
        """Return the rows of the DPO job."""
        return [row for stage, row in self.rows if stage == "dpo"]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values; pairs of numbers are [first, last] of the DPO job's evaluation rows."""
        evals = [row for row in self.dpo_rows if row.split == "eval"]
        first, last = evals[0], evals[-1]
        return {
            "pairs": self.report.pairs,
            "findings": {severity: self.report.count(severity) for severity in SEVERITIES},
            "sft_job": self.sft_job,
            "dpo_job": self.dpo_job,
            "train_rows": sum(row.split == "train" for _, row in self.rows),
            "eval_rows": sum(row.split == "eval" for _, row in self.rows),
            "eval_accuracy": [first.accuracy, last.accuracy],
            "eval_loss": [first.loss, last.loss],
            "kl_chosen": last.kl_chosen,
            "kl_rejected": last.kl_rejected,
            "logps_chosen": [first.logps_chosen, last.logps_chosen],
            "logps_rejected": [first.logps_rejected, last.logps_rejected],
            "adapter": str(self.adapter),
            "seconds": round(self.seconds, 2),
        }


def run_demo(data: Path | None = None, *, out: Path, on_row: Callable[[str, MetricRow], None] | None = None) -> Demo:
    """Run the demo on its own data, or on a user's file of which a fifth, by prompts, is held out.

    The adapter is unpacked into `out`. Raises DataError when the file is unfit or too small.
    """
    start = time.monotonic()
    _writable(out)
    rows: list[tuple[str, MetricRow]] = []

    def take(stage: str, row: MetricRow) -> None:
        rows.append((stage, row))
        if on_row is not None:
            on_row(stage, row)

    with TemporaryDirectory(prefix="preftune-demo-") as folder:
        scratch = Path(folder)
        if data is None:
            train, held_out = _own_data(scratch)
            report = check(train)
        else:
            pairs_file, report = _checked(data, scratch)
            train, held_out = _held_out(pairs_file, scratch)
        with LocalServer() as server, Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:
            done = sft_then_dpo(
                client, train, model=MODEL, sft=SFT_FIELDS, dpo=DPO_FIELDS, validation=held_out, on_row=take
            )
            adapter = client.fine_tuning.download(done.dpo_job, to=out)
    return Demo(report, done.sft_job.id, done.dpo_job.id, rows, adapter, time.monotonic() - start)


def _writable(out: Path) -> None:
    """Make the folder now: nobody should train first and learn then that the adapter has no place."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ConfigError(
            f"{out}: expected a folder that can be written, found {error.strerror}; choose another"
        ) from None


def _own_data(scratch: Path) -> tuple[Path, Path]:
    """Return copies of the project's own pairs, wherever the package is installed."""
    names = ("train.jsonl", "heldout.jsonl")
    for name in names:
        with as_file(files("preftune.recipes.demo_data") / name) as path:
            (scratch / name).write_bytes(path.read_bytes())
    return scratch / names[0], scratch / names[1]


def _checked(data: Path, scratch: Path) -> tuple[Path, Report]:
    """Return a user's pairs in the hosted layout, and the report on them; an error in them ends the demo."""
    report = check(data) if data.suffix.lower() == ".jsonl" else None
    if report is None or any(finding.rule == "mixed" for finding in report.findings):
        converted = scratch / f"{data.stem}.jsonl"
        convert(data, converted)
        data, report = converted, check(converted)
    report.raise_for_errors()
    return data, report


def _held_out(data: Path, scratch: Path) -> tuple[Path, Path]:
    """Return a user's pairs in two files, no prompt on both sides; the same prompts every time."""
    prompts = len(set(scan(data, sample=0).prompts))
    if prompts < _FEWEST:
        raise DataError(f"{data.name}: expected at least {_FEWEST} different prompts, found {prompts}; add pairs")
    done = split(data, scratch / f"{data.stem}.train.jsonl", scratch / f"{data.stem}.heldout.jsonl", fraction=_SHARE)
    return done.train, done.validation
