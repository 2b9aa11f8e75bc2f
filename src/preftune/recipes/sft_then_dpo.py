"""Supervised tuning on the chosen answers, then preference tuning from its checkpoint: what the method's authors do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, overload

from pydantic import ValidationError

from preftune.api.config import DPO, SFT, JobConfig, first_fault
from preftune.api.creation import create
from preftune.api.fields import JobFields
from preftune.api.files import wait as wait_for_file
from preftune.api.models import FineTuneJob, MetricRow
from preftune.api.steps import Call, Flow, each
from preftune.api.watching import stream_metrics
from preftune.api.watching import wait as wait_for_job
from preftune.client.clients import AsyncClient, Client
from preftune.client.transfer import upload
from preftune.errors import ConfigError
from preftune.pairs import Report, check, to_sft

StageFields: TypeAlias = JobConfig | JobFields | None
OnRow: TypeAlias = Callable[[str, MetricRow], None]
_FILLED = ("model", "from_checkpoint", "training_file", "validation_file")  # what the recipe itself fills in
_EVALS = 10  # evaluations of the DPO job when there is validation data and the configuration does not say


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
    sft_config = _sft_config(sft, model, evaluate=held_out is not None)
    dpo_config = _dpo_config(dpo, model, evaluate=held_out is not None)
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


def _sft_config(given: StageFields, model: str, *, evaluate: bool) -> JobConfig:
    config = _config(given, model)
    if not isinstance(config.training_method, SFT):
        raise ConfigError("sft: expected a supervised configuration, found training_method 'dpo'; put it into dpo=")
    _refuse_blind_evals("sft", config, evaluate=evaluate)
    return config


def _dpo_config(given: StageFields, model: str, *, evaluate: bool) -> JobConfig:
    config = _config(given, model, default_method=True)
    if not isinstance(config.training_method, DPO):
        raise ConfigError("dpo: expected a preference configuration, found training_method 'sft'; put it into sft=")
    if evaluate and "n_evals" not in config.model_fields_set:
        return config.replace(n_evals=_EVALS)
    _refuse_blind_evals("dpo", config, evaluate=evaluate)
    return config


def _refuse_blind_evals(stage: str, config: JobConfig, *, evaluate: bool) -> None:
    if config.n_evals and not evaluate:
        raise ConfigError(f"{stage}: n_evals is {config.n_evals}, but there is no validation data; give validation=")


def _config(given: StageFields, model: str, *, default_method: bool = False) -> JobConfig:
    """Return a stage's configuration with the recipe's model; a stage that names no method gets its own."""
    if isinstance(given, JobConfig):
        bare = given.replace(model=model, from_checkpoint=None, training_file=None, validation_file=None)
        named = "training_method" in given.model_fields_set
        return bare.replace(training_method=DPO()) if default_method and not named else bare
    fields: Mapping[str, Any] = {name: value for name, value in (given or {}).items() if name not in _FILLED}
    method = {"training_method": "dpo"} if default_method and "training_method" not in fields else {}
    try:
        return JobConfig(**{**method, **fields, "model": model})
    except ValidationError as error:
        raise ConfigError(f"{'dpo' if default_method else 'sft'}: {first_fault(error)}") from error
