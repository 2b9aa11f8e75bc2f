"""The worker: a process of its own that takes jobs from the store and trains them, one at a time.

Started by `serve`, its standard input a pipe from the server: a byte wakes it, the end of the pipe ends it. A fork of
the server may keep the pipe open, so the server's process id is watched as well.

Invariant: what a job writes has natural keys and one seed gives the same rows. So a job whose worker died goes on from
its last checkpoint, or from its start, and writes what it would have written: nothing is lost, repeated or changed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import shutil
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from preftune.api.config import JobConfig, LoRA
from preftune.local import tokenized
from preftune.local.admission import output_name, parent
from preftune.local.clock import UPLOADING, Clock
from preftune.local.database import Record
from preftune.local.engine.checkpoint import (
    adapter_archive,
    load_state,
    load_weights,
    merged_archive,
    save_state,
    save_weights,
    write_whole,
)
from preftune.local.engine.model import base_weights
from preftune.local.engine.objectives import Objective
from preftune.local.engine.parameters import LowRank, Weights
from preftune.local.engine.plan import parameters_of, settings_of
from preftune.local.engine.train import Checkpoint, EpochEnd, Item, Row, State, Stopped, total_steps, train
from preftune.local.examples import UserError, read_examples
from preftune.local.refusal import Refused
from preftune.local.store import Store

_ATTEMPTS = 3  # a job whose worker died this often is not begun again
_WATCH = 0.5  # seconds between two looks at the server's process id
_LOOK = 0.02  # seconds between two looks at what another process does
_LONGEST_WAIT = 3600.0  # seconds; a wait has a bound, a clock that crawls has none
_log = logging.getLogger("preftune")


class _Cancelled(Exception):  # noqa: N818 - control flow of one job
    """The job is to stop: cancelled, or deleted."""


class _Restarted(Exception):  # noqa: N818 - control flow of one job
    """The job goes on under another id, as the hosted service does it after a failure of its own."""


def main(folder: str) -> None:
    """Run jobs until the server goes away."""
    np.seterr(all="ignore")  # a run that diverges is told by its rows, not by warnings on a terminal
    store = Store(Path(folder))
    clock = Clock(store)
    wake = threading.Event()
    threading.Thread(target=_watch, args=(wake, os.getppid()), daemon=True).start()
    with (store.folder / "worker").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the worker of a server that was killed may have a moment left
        store.set_note("worker", os.getpid())  # it has started, see `serve`
        store.sweep_checkpoints()
        while True:
            if not run_next(store):
                moment = store.next_moment(clock.now())
                left = None if moment is None else clock.until(moment)
                wake.wait(None if left is None else min(left, _LONGEST_WAIT))
                wake.clear()


def run_next(store: Store) -> bool:
    """Run the oldest waiting job to its end, whatever it is; return False when none waits."""
    record = store.next_job(Clock(store).now())
    if record is None:
        return False
    if record["status"] == "cancel_requested":
        _end_cancelled(store, record["id"])
    elif record["attempts"] > _ATTEMPTS:
        message = f"The worker died {_ATTEMPTS} times while it ran this job."
        store.end_job(record["id"], expected=("running",), to="error", event="job_error", message=message)
    else:
        _run(store, record)
    _tidy(store, record["id"])
    return True


def _run(store: Store, record: Record) -> None:
    """Run a job, and end it by what happened."""
    job_id = record["id"]
    try:
        _Run(store, record).run()
    except _Cancelled:
        _end_cancelled(store, job_id)
    except _Restarted as restarted:
        store.end_job(job_id, expected=("running",), to="error", event="job_restarted", message=str(restarted))
    except UserError as error:
        store.end_job(job_id, expected=("running",), to="user_error", event="job_error", message=str(error))
    except Exception as error:  # noqa: BLE001 - a job's failure is that job's end, not the worker's
        if store.status(job_id) is not None:  # a job that is deleted takes its folder from under the worker
            _log.exception("job %s failed", job_id)
        message = f"The embedded engine failed: {type(error).__name__}: {error}"
        store.end_job(job_id, expected=("running", "uploading"), to="error", event="job_error", message=message)


def _tidy(store: Store, job_id: str) -> None:
    """Remove what nobody needs of a job that has ended; all of one that was deleted."""
    folder = store.checkpoint_path(job_id, 0).parent
    if store.status(job_id) is None:
        shutil.rmtree(folder, ignore_errors=True)
    for state in folder.glob("*.state.safetensors"):
        state.unlink(missing_ok=True)


def _end_cancelled(store: Store, job_id: str) -> None:
    message = "The job was cancelled."
    store.end_job(job_id, expected=("cancel_requested",), to="cancelled", event="job_stopped", message=message)


class _Run:
    """One job from its configuration to its end."""

    def __init__(self, store: Store, record: Record) -> None:
        self._store, self._id, self._record = store, record["id"], record
        self._config = _config(record["config"])
        self._faults: dict[str, int] = record["facts"].get("faults", {})

    def run(self) -> None:
        if not self._record["facts"].get("trained"):
            self._train()
        self._event("training_complete", "Training is complete.")
        self._finish()

    def _train(self) -> None:
        model = self._record["facts"]["model"]
        self._event("job_start", "The job runs.")
        self._event("model_downloading", f"Loading {model}.")
        weights = self._start_weights()
        self._event("model_download_complete", f"Loaded {model}.")
        stand_in = (
            f"The embedded engine, a small byte-level model, stands in for {model}: the curves show the method on your "
            "data, not what that model would reach. Rates are scaled to it; the metrics report yours."
        )
        self._event("warning", stand_in, level="warning")
        self._tell_unused()
        objective = self._objective("training", self._config.training_file)
        held_out = self._objective("validation", self._config.validation_file) if self._config.n_evals else None
        self._keep_tokens()
        parameters, settings = parameters_of(self._config, weights), settings_of(self._config)
        settings = replace(settings, halt_at=self._faults.get("early-stop"))
        total = total_steps(len(objective), settings)
        self._faults = {kind: min(step, total) for kind, step in self._faults.items()}
        self._facts(
            total_steps=total,
            examples=len(objective),
            param_count=sum(value.size for value in weights.values()),
            token_count=self._config.n_epochs * objective.tokens,
        )
        self._event("training_start", f"Training begins: {len(objective)} examples, {total} steps.")
        for item in train(parameters, objective, settings, held_out, begin=self._state()):
            if self._store.status(self._id) != "running":
                raise _Cancelled
            self._record_item(item)

    def _state(self) -> State | None:
        """Return where a worker that died left the training, at its last checkpoint."""
        step = self._record["facts"].get("resume_step")
        if step is None:
            return None
        try:
            return load_state(self._store.checkpoint_path(self._id, step, ".state.safetensors"))
        except (OSError, ValueError, KeyError, SafetensorError) as reason:
            _log.warning("job %s begins again, the state of step %s cannot be read: %s", self._id, step, reason)
            return None

    def _keep_tokens(self) -> None:
        """Put the tokens of both files beside the checkpoints."""
        path = self._store.tokenized_path(self._id)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            files = {"training": self._config.training_file}
            if self._config.n_evals:
                files["validation"] = self._config.validation_file
            tokenized.write_archive(path, {split: self._tokens(str(file_id)) for split, file_id in files.items()})
        self._facts(tokenized=True)
        self._event("tokenized_dataset_upload_complete", "The tokens of the data are stored.")

    def _tokens(self, file_id: str) -> Iterator[Record]:
        record = self._store.file(file_id)
        if record is None:
            raise UserError(f"The file {file_id} was deleted.")
        return tokenized.rows(self._store.file_path(file_id), record["report"]["dataset_format"], self._config)

    def _tell_unused(self) -> None:
        """Say which knobs of the adapter the embedded engine does not have."""
        kind = self._config.training_type
        if isinstance(kind, LoRA) and (kind.lora_dropout or kind.lora_trainable_modules != "all-linear"):
            message = "The embedded engine adapts every matrix, without dropout: lora_dropout and "
            self._event("warning", f"{message}lora_trainable_modules change nothing here.", level="warning")

    def _start_weights(self) -> Weights:
        """Return the model at the job's start, which is the reference of DPO; it is kept with the job."""
        if not self._config.from_checkpoint:
            return base_weights()
        kept = self._store.checkpoint_path(self._id, 0, ".reference.safetensors")
        if not kept.is_file():
            try:
                job, step = parent(self._config.from_checkpoint, self._store)
            except Refused as reason:
                raise UserError(reason.message) from None
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_whole(kept, self._store.checkpoint_path(job["id"], step).read_bytes())
        return load_weights(kept)

    def _objective(self, split: str, file_id: str | None) -> Objective:
        self._event(f"{split}_data_downloading", f"Reading the {split} file {file_id}.")
        record = self._validated(split, file_id or "")
        if split == "training":
            self._facts(training_bytes=record["bytes"])
        path, kind = self._store.file_path(record["id"]), record["report"]["dataset_format"]
        objective, shortened = read_examples(path, kind, self._config, split=split)
        if shortened:
            self._event("warning", shortened, level="warning")
        self._event(f"{split}_data_download_complete", f"Read the {split} file {file_id}: {len(objective)} examples.")
        return objective

    def _validated(self, split: str, file_id: str) -> Record:
        """Return a file once it has been validated; the lane that does it is not this one."""
        while True:
            record = self._store.file(file_id)
            if record is None:
                raise UserError(f"The {split} file {file_id} was deleted.")
            if record["status"] == "COMPLETED":
                return record
            if record["status"] in ("INVALID_FORMAT", "FAILED"):
                raise UserError(f"The {split} file {file_id} was refused: {(record['report'] or {}).get('error')}")
            if self._store.status(self._id) != "running":
                raise _Cancelled
            time.sleep(_LOOK)

    def _record_item(self, item: Item) -> None:
        if isinstance(item, Row):
            wire = item.wire(self._config.learning_rate)
            self._store.add_row(self._id, step=item.step, split=item.split, row=wire)
            if item.split == "train":
                self._go_wrong(item.step)
        elif isinstance(item, EpochEnd):
            self._event("epoch_complete", f"Epoch {item.number} is complete at step {item.step}.", step=item.step)
        elif isinstance(item, Checkpoint):
            self._keep(item)
        else:
            self._record_stop(item)

    def _go_wrong(self, step: int) -> None:
        """Fail in the way that a fault on command says, at its step."""
        if self._faults.get("job-error") == step:
            raise RuntimeError(f"a fault on command, at step {step}")
        if self._faults.get("user_error") == step:
            raise UserError(f"A fault on command, at step {step}.")
        if self._faults.get("refund") == step:
            raise _Restarted(self._begin_anew(step))

    def _begin_anew(self, step: int) -> str:
        """Give the work to a new job, as the hosted service does after a failure of its own; return the sentence."""
        job_id, model = f"ft-{uuid.uuid4()}", self._record["facts"]["model"]
        job_id = self._store.add_job(
            job_id,
            output_name=output_name(model, self._config.suffix, job_id),
            config=self._record["config"],
            facts={"model": model},
            idempotency_key=f"restart of {self._id}",  # also when this worker dies here
        )
        self._event("refund", f"The {step} steps that were run are not charged.", step=step)
        return f"A fault on command, at step {step}: the job goes on as {job_id}."

    def _record_stop(self, item: Stopped) -> None:
        message = f"Stopped early at step {item.step}; the best step is {item.best_step}."
        self._event("early_stopped", message, step=item.step)
        self._event("refund", "The steps that were not run are not charged.", step=item.step)
        self._facts(
            early_stopped=True, early_stopping_best_step=item.best_step, early_stopping_best_metric=item.best_loss
        )

    def _keep(self, item: Checkpoint) -> None:
        """Put the weights and their archives on disk, then remember them."""
        path = self._store.checkpoint_path(self._id, item.step)
        merged, parameters = item.parameters.merged(), item.parameters
        save_weights(merged, path)
        if item.state:
            save_state(item.state, path.with_suffix(".state.safetensors"))
        # nothing of this one run is written in: the same data, configuration and seed give the same archive
        about = {"engine": "preftune embedded byte model", "base_model_name_or_path": self._record["facts"]["model"]}
        about |= {"step": item.step}
        if isinstance(parameters, LowRank):
            adapter = about | {"peft_type": "LORA", "r": parameters.rank, "lora_alpha": parameters.alpha}
            write_whole(path.with_suffix(".adapter.tar.zst"), adapter_archive(parameters.trained, adapter))
        if item.final or not isinstance(parameters, LowRank):
            write_whole(path.with_suffix(".merged.tar.zst"), merged_archive(merged, about))
        message = f"Saved the {'final ' if item.final else ''}checkpoint of step {item.step}."
        self._store.add_checkpoint(self._id, step=item.step, final=item.final, message=message)
        for state in path.parent.glob("*.state.safetensors"):
            if state != path.with_suffix(".state.safetensors"):  # nobody goes on from an earlier one
                state.unlink(missing_ok=True)

    def _finish(self) -> None:
        clock = Clock(self._store)
        stored_at = {"stored_at": clock.after(UPLOADING)}
        self._store.move_job(self._id, expected=("running",), to="uploading", facts=stored_at)
        if self._store.status(self._id) == "uploading":  # also when a worker died right here
            self._event("model_uploading", "Storing the model.")
        while (job := self._store.job(self._id)) and job["status"] == "uploading":
            if clock.now() >= job["facts"]["stored_at"]:
                self._event("model_upload_complete", f"The model is stored as {job['output_name']}.")
                end = {"to": "completed", "event": "job_complete", "message": "The job is complete."}
                self._store.end_job(self._id, expected=("uploading",), **end)
            else:
                time.sleep(_LOOK)
        if job is None or job["status"] != "completed":
            raise _Cancelled

    def _facts(self, **facts: Any) -> None:
        self._store.move_job(self._id, expected=("running",), to="running", facts=facts)

    def _event(self, type_: str, message: str, *, step: int = 0, level: str = "info") -> None:
        self._store.add_event(self._id, type_, message, step=step, level=level)


def _config(wire: Record) -> JobConfig:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return JobConfig(**wire)


def _watch(wake: threading.Event, server: int) -> None:
    """Wake the worker at each byte; end the process when the pipe ends or the server is gone."""
    while True:
        ready, _, _ = select.select([sys.stdin.buffer], [], [], _WATCH)
        if ready and not os.read(sys.stdin.fileno(), 4096):
            os._exit(0)
        if os.getppid() != server:
            os._exit(0)
        if ready:
            wake.set()
