"""Supervised tuning on the chosen answers, then preference tuning from its checkpoint: what the method's authors do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, overload

from preftune.api.config import JobConfig
from preftune.api.creation import create
from preftune.api.files import wait as wait_for_file
from preftune.api.models import FineTuneJob, MetricRow
from preftune.api.steps import Call, Flow, each
from preftune.api.watching import stream_metrics
from preftune.api.watching import wait as wait_for_job
from preftune.client.clients import AsyncClient, Client
from preftune.client.transfer import upload
from preftune.pairs import Report, check, to_sft
from preftune.recipes.stages import StageFields, dpo_stage, sft_stage

OnRow: TypeAlias = Callable[[str, MetricRow], None]


@dataclass(frozen=True)
class SftThenDpo:
    """What was done: the data's report, and both jobs as they ended."""

    report: Report
    sft_job: FineTuneJob
    dpo_job: FineTuneJob


@overload
def sft_then_dpo(
    client: Client, data: str | Path, *, model: str, sft: StageFields = None, dpo: StageFields = None,
    validation: str | Path | None = None, on_row: OnRow | None = None,
) -> SftThenDpo: ...  # fmt: skip
@overload
def sft_then_dpo(
    client: AsyncClient, data: str | Path, *, model: str, sft: StageFields = None, dpo: StageFields = None,
    validation: str | Path | None = None, on_row: OnRow | None = None,
) -> Coroutine[Any, Any, SftThenDpo]: ...  # fmt: skip
def sft_then_dpo(
    client: Client | AsyncClient,
    data: str | Path,
    *,
    model: str,
    sft: StageFields = None,
    dpo: StageFields = None,
    validation: str | Path | None = None,
    on_row: OnRow | None = None,
) -> SftThenDpo | Coroutine[Any, Any, SftThenDpo]:
    """Check a preference file, tune on its chosen answers, tune on its preferences from there; return both jobs.

    `sft` and `dpo` are configurations without files (their model is replaced by `model` and by the checkpoint);
    `validation` is held-out preference data; `on_row("sft" or "dpo", row)` is called for each metric row as it comes.
    Raises DataError before anything is sent, FileProcessingError, and JobFailedError when a job fails.
    """
    return client.run(_run(Path(data), model, sft=sft, dpo=dpo, validation=validation, on_row=on_row))


def _run(
    data: Path,
    model: str,
    *,
    sft: StageFields,
    dpo: StageFields,
    validation: str | Path | None,
    on_row: OnRow | None,
) -> Flow[SftThenDpo]:
    held_out = None if validation is None else Path(validation)
    sft_config = sft_stage(sft, model, evaluate=held_out is not None)
    dpo_config = dpo_stage(dpo, model, evaluate=held_out is not None)
    report: Report = yield Call(check, (data,))
    report.raise_for_errors()
    if held_out is not None:
        (yield Call(check, (held_out,))).raise_for_errors()
    scratch = Path((yield Call(tempfile.mkdtemp)))
    try:
        sft_files = {"training_file": (yield from _upload_sft(data, scratch))}
        dpo_files = {"training_file": (yield from _upload(data))}  # all are taken before the first job is paid for
        if held_out is not None and sft_config.n_evals:
            sft_files["validation_file"] = yield from _upload_sft(held_out, scratch)
        if held_out is not None:
            dpo_files["validation_file"] = yield from _upload(held_out)
        sft_job = yield from _train("sft", sft_config.replace(**sft_files), on_row)
        continued = dpo_config.replace(model=None, from_checkpoint=sft_job.id, **dpo_files)
        dpo_job = yield from _train("dpo", continued, on_row)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # also when the flow is closed, where nothing may be yielded
    return SftThenDpo(report, sft_job, dpo_job)


def _train(stage: str, config: JobConfig, on_row: OnRow | None) -> Flow[FineTuneJob]:
    job = yield from create(config)
    if on_row is not None:
        yield from each(stream_metrics(job), lambda row: on_row(stage, row))
    return (yield from wait_for_job(job))


def _upload(path: Path) -> Flow[str]:
    file = yield from upload(path)
    return (yield from wait_for_file(file)).id


def _upload_sft(data: Path, scratch: Path) -> Flow[str]:
    export = scratch / f"{data.stem}.sft.jsonl"
    yield Call(to_sft, (data, export))
    return (yield from _upload(export))
