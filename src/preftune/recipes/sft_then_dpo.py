"""Supervised tuning on the chosen answers, then preference tuning from its checkpoint: what the method's authors do.

Every step is noted before the next one begins (`resume`), and each job is asked for with a key of its own, so a call
that was interrupted is gone on with by the same call: nothing is uploaded twice, and nothing trained twice.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, overload

from preftune.api.config import JobConfig
from preftune.api.creation import create
from preftune.api.files import retrieve as retrieve_file
from preftune.api.files import wait as wait_for_file
from preftune.api.fine_tuning import retrieve as retrieve_job
from preftune.api.history import without_secrets
from preftune.api.models import FineTuneJob, MetricRow
from preftune.api.steps import Call, Flow, Token, each
from preftune.api.watching import stream_metrics
from preftune.api.watching import wait as wait_for_job
from preftune.client.clients import AsyncClient, Client
from preftune.client.uploading import upload
from preftune.errors import NotFoundError
from preftune.pairs import Report, check, to_sft
from preftune.recipes.resume import State, content_of, fingerprint
from preftune.recipes.stages import StageFields, dpo_stage, sft_stage

_log = logging.getLogger("preftune")
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
    validation: str | Path | None = None, state: str | Path | None = None, on_row: OnRow | None = None,
) -> SftThenDpo: ...  # fmt: skip
@overload
def sft_then_dpo(
    client: AsyncClient, data: str | Path, *, model: str, sft: StageFields = None, dpo: StageFields = None,
    validation: str | Path | None = None, state: str | Path | None = None, on_row: OnRow | None = None,
) -> Coroutine[Any, Any, SftThenDpo]: ...  # fmt: skip
def sft_then_dpo(
    client: Client | AsyncClient,
    data: str | Path,
    *,
    model: str,
    sft: StageFields = None,
    dpo: StageFields = None,
    validation: str | Path | None = None,
    state: str | Path | None = None,
    on_row: OnRow | None = None,
) -> SftThenDpo | Coroutine[Any, Any, SftThenDpo]:
    """Check a preference file, tune on its chosen answers, tune on its preferences from there; return both jobs.

    `sft` and `dpo` are configurations without files (their model is replaced by `model` and by the checkpoint);
    `validation` is held-out preference data; `on_row("sft" or "dpo", row)` is called for each metric row as it comes,
    from the first again when a job is gone on with.
    `state` is a file that keeps where the call stands; without it, one in the client's `state_dir` that belongs to
    these arguments. The same call goes on there, and returns the jobs at once when both are done; a job that failed or
    is gone is trained anew. Another `state`, or an empty one, begins again.
    Raises DataError before anything is sent, FileProcessingError, and JobFailedError when a job fails.
    """
    held_out = None if validation is None else Path(validation)
    plan = _Plan(
        Path(data),
        held_out,
        sft_stage(sft, model, evaluate=held_out is not None),
        dpo_stage(dpo, model, evaluate=held_out is not None),
    )
    return client.run(_run(plan, partial(_state, state, client.state_dir, client.base_url, plan), on_row))


@dataclass(frozen=True)
class _Plan:
    data: Path
    held_out: Path | None
    sft: JobConfig
    dpo: JobConfig


def _state(given: str | Path | None, state_dir: Path | None, base_url: str, plan: _Plan) -> State:
    """Return where the call stands, still to be read from the file that belongs to it."""
    arguments = {
        "base_url": base_url,
        "data": [content_of(plan.data), content_of(plan.held_out)],
        "jobs": [without_secrets(config.to_wire()) for config in (plan.sft, plan.dpo)],
    }
    if given is None:
        folder = state_dir and _made(state_dir / "sft-then-dpo")
        return State(folder and folder / f"{fingerprint(arguments)[:16]}.json", arguments)
    return State(Path(given) if os.fspath(given) else None, arguments)


def _made(folder: Path) -> Path | None:
    """Return the folder, made; none where it cannot be: nobody named it, so it keeps nobody from training."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("where the call stands is not kept (%s); name a file with state=, or PREFTUNE_STATE_DIR", error)
        return None
    return folder


def _run(plan: _Plan, make_state: Callable[[], State], on_row: OnRow | None) -> Flow[SftThenDpo]:
    report: Report = yield Call(check, (plan.data,))
    report.raise_for_errors()
    if plan.held_out is not None:
        (yield Call(check, (plan.held_out,))).raise_for_errors()
    state: State = yield Call(make_state)
    try:
        yield Call(state.open)
        sft_files, dpo_files = yield from _files(plan, state)  # all are taken before the first job is paid for
        sft_job = yield from _trained(state, "sft", plan.sft.replace(**sft_files), on_row)
        continued = plan.dpo.replace(model=None, from_checkpoint=sft_job.id, **dpo_files)
        dpo_job = yield from _trained(state, "dpo", continued, on_row)
    finally:
        state.close()
    return SftThenDpo(report, sft_job, dpo_job)


def _files(plan: _Plan, state: State) -> Flow[tuple[dict[str, str], dict[str, str]]]:
    """Return the files of both jobs, uploaded and read by the server."""
    scratch = Path((yield Call(tempfile.mkdtemp)))
    try:
        sft = {"training_file": (yield from _uploaded(state, "sft_training_file", plan.data, scratch))}
        dpo = {"training_file": (yield from _uploaded(state, "dpo_training_file", plan.data))}
        if plan.held_out is not None and plan.sft.n_evals:
            sft["validation_file"] = yield from _uploaded(state, "sft_validation_file", plan.held_out, scratch)
        if plan.held_out is not None:
            dpo["validation_file"] = yield from _uploaded(state, "dpo_validation_file", plan.held_out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)  # also when the flow is closed, where nothing may be yielded
    return sft, dpo


def _uploaded(state: State, step: str, path: Path, sft_scratch: Path | None = None) -> Flow[str]:
    """Return the id of a file on the server, uploaded now unless it is there; as a supervised set, given a folder."""
    known = state.get(step)
    if known and (yield from _is_there(known)):
        return known
    if sft_scratch is not None:
        export = sft_scratch / f"{path.stem}.sft.jsonl"
        yield Call(to_sft, (path, export))
        path = export
    file = yield from wait_for_file((yield from upload(path)))
    stage = step.partition("_")[0]
    yield Call(partial(state.set, **{step: file.id, f"{stage}_key": ""}))  # a key stands for one job, with its files
    return file.id


def _is_there(file: str) -> Flow[bool]:
    try:
        return (yield from retrieve_file(file)).is_ready
    except NotFoundError:
        return False


def _trained(state: State, stage: str, config: JobConfig, on_row: OnRow | None) -> Flow[FineTuneJob]:
    """Return the job of a stage, completed: the one that is there, or a new one."""
    job = yield from _earlier(state.get(f"{stage}_job"))
    if job is None:
        if state.get(f"{stage}_job") or not state.get(f"{stage}_key"):
            yield Call(partial(state.set, **_begun(stage, (yield Token()))))
        job = yield from create(config, idempotency_key=state.get(f"{stage}_key"))
        yield Call(partial(state.set, **{f"{stage}_job": job.id}))
    if on_row is not None:
        yield from each(stream_metrics(job), lambda row: on_row(stage, row))
    return (yield from wait_for_job(job))


def _begun(stage: str, key: str) -> dict[str, str]:
    """Return what is noted before a job is asked for: its key, and that nothing stands that came after it."""
    forgotten = {"sft_job": "", "dpo_job": "", "dpo_key": ""} if stage == "sft" else {"dpo_job": ""}
    return {**forgotten, f"{stage}_key": key}


def _earlier(job: str) -> Flow[FineTuneJob | None]:
    """Return a job of an earlier call, unless it failed or is gone."""
    if not job:
        return None
    try:
        found = yield from retrieve_job(job)
    except NotFoundError:
        return None
    return None if found.has_failed else found
