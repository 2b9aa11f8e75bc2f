"""The worker: a process of its own that takes jobs from the store and trains them, one at a time.

Started with `python -m preftune.local.runner FOLDER`, its standard input a pipe from the server: a byte wakes it, the
end of the pipe ends it. A fork of the server may keep the pipe open, so the server's process id is watched as well.

Invariant: what a job writes has natural keys and one seed gives the same rows, so a job begun again writes the same.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import shutil
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from preftune.api.config import DPO, SFT, JobConfig, LoRA
from preftune.local import limits, validate
from preftune.local.admission import Refused, parent
from preftune.local.engine.checkpoint import adapter_archive, load_weights, merged_archive, save_weights, write_whole
from preftune.local.engine.encode import Cut, answer_bytes, cut, cut_pair, encode, encode_pair, join, render
from preftune.local.engine.model import base_weights
from preftune.local.engine.objectives import Objective, Preference, Supervised
from preftune.local.engine.parameters import LowRank, Weights
from preftune.local.engine.plan import parameters_of, settings_of
from preftune.local.engine.train import Checkpoint, EpochEnd, Item, Row, Stopped, total_steps, train
from preftune.local.store import Record, Store
from preftune.pairs.formats import together

_ATTEMPTS = 3  # a job whose worker died this often is not begun again
_ROOM = "raise max_seq_length, or shorten the prompts"
_WATCH = 0.5  # seconds between two looks at the server's process id
_log = logging.getLogger("preftune")


class _Cancelled(Exception):  # noqa: N818 - control flow of one job
    """The job is to stop: cancelled, or deleted."""


class UserError(Exception):
    """The job cannot run as asked; the message goes to its user."""


def main(folder: str) -> None:
    """Run jobs until the server goes away."""
    np.seterr(all="ignore")  # a run that diverges is told by its rows, not by warnings on a terminal
    store = Store(Path(folder))
    wake = threading.Event()
    threading.Thread(target=_watch, args=(wake, os.getppid()), daemon=True).start()
    with (store.folder / "worker").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the worker of a server that was killed may have a moment left
        while True:
            if not run_next(store):
                wake.wait()
                wake.clear()


def run_next(store: Store) -> bool:
    """Run the oldest waiting job to its end, whatever it is; return False when none waits."""
    record = store.next_job()
    if record is None:
        return False
    job_id = record["id"]
    if record["status"] == "cancel_requested":
        _end_cancelled(store, job_id)
        return True
    if record["attempts"] > _ATTEMPTS:
        message = f"The worker died {_ATTEMPTS} times while it ran this job."
        store.end_job(job_id, expected=("running",), to="error", event="job_error", message=message)
        return True
    try:
        _Run(store, record).run()
    except _Cancelled:
        _end_cancelled(store, job_id)
    except UserError as error:
        store.end_job(job_id, expected=("running",), to="user_error", event="job_error", message=str(error))
    except Exception as error:  # noqa: BLE001 - a job's failure is that job's end, not the worker's
        if store.status(job_id) is not None:  # a job that is deleted takes its folder from under the worker
            _log.exception("job %s failed", job_id)
        message = f"The embedded engine failed: {type(error).__name__}: {error}"
        store.end_job(job_id, expected=("running", "uploading"), to="error", event="job_error", message=message)
    if store.status(job_id) is None:
        shutil.rmtree(store.checkpoint_path(job_id, 0).parent, ignore_errors=True)
    return True


def _end_cancelled(store: Store, job_id: str) -> None:
    message = "The job was cancelled."
    store.end_job(job_id, expected=("cancel_requested",), to="cancelled", event="job_stopped", message=message)


class _Run:
    """One job from its configuration to its end."""

    def __init__(self, store: Store, record: Record) -> None:
        self._store, self._id, self._record = store, record["id"], record
        self._config = _config(record["config"])
        self._method = self._config.training_method
        self._evals = 0

    def run(self) -> None:
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
        parameters, settings = parameters_of(self._config, weights), settings_of(self._config)
        total = total_steps(len(objective), settings)
        facts = {
            "total_steps": total,
            "examples": len(objective),
            "param_count": sum(value.size for value in weights.values()),
            "token_count": self._config.n_epochs * objective.tokens,
        }
        self._store.move_job(self._id, expected=("running",), to="running", facts=facts)
        self._event("training_start", f"Training begins: {len(objective)} examples, {total} steps.")
        for item in train(parameters, objective, settings, held_out):
            if self._store.status(self._id) != "running":
                raise _Cancelled
            self._record_item(item)
        self._finish()

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
        path = self._store.file_path(record["id"])
        kind = record["report"]["dataset_format"]
        if isinstance(self._method, DPO):
            objective: Objective = self._preference(split, path, kind)
        else:
            objective = self._supervised(split, path, kind)
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
            threading.Event().wait(0.02)

    def _preference(self, split: str, path: Path, kind: str) -> Preference:
        if kind != validate.PREFERENCE:
            raise UserError(f"The {split} file holds {kind} rows; preference tuning needs preference rows.")
        assert isinstance(self._method, DPO)  # noqa: S101 - narrows for the type checker
        budget = self._config.max_seq_length or limits.MAX_LENGTH_DPO
        pairs, shortened, empty = [], 0, 0
        for _, row, _ in validate.rows(path):
            pair = together.read(row)
            sides = cut_pair(pair, budget)
            shortened += any(not side.whole for side in sides)
            encoded = encode_pair(sides, pair.weight)
            if encoded is None:
                empty += 1
            else:
                pairs.append(encoded)
        self._tell_cut(f"pairs of the {split} file", budget, shortened, empty)
        if not pairs:
            raise UserError(f"The budget of {budget} bytes a side leaves no answer in the {split} file; {_ROOM}.")
        return Preference(pairs, self._method)

    def _supervised(self, split: str, path: Path, kind: str) -> Supervised:
        if kind == validate.PREFERENCE:
            raise UserError(f"The {split} file holds preference rows; supervised tuning needs conversations.")
        budget = self._config.max_seq_length or limits.MAX_LENGTH_SFT
        on_inputs = isinstance(self._method, SFT) and self._method.train_on_inputs is True
        examples, shortened, empty = [], 0, 0
        for _, row, _ in validate.rows(path):
            turns = _turns(validate.supervised_messages(row, kind), budget, on_inputs=on_inputs)
            shortened += any(not turn.whole for turn in turns)
            learned = [turn for turn in turns if turn.answer or turn.whole]
            empty += not learned
            if learned:
                examples.append(join([encode(turn) for turn in learned]))
        self._tell_cut(f"examples of the {split} file", budget, shortened, empty)
        if not examples:
            reason = "leave nothing to learn; give an answer the weight 1"
            if shortened:
                reason = f"keep no answer within the budget of {budget} bytes; {_ROOM}"
            raise UserError(f"The rows of the {split} file {reason}.")
        return Supervised(examples)

    def _tell_cut(self, what: str, budget: int, shortened: int, empty: int) -> None:
        if shortened:
            dropped = f"; {empty} had no answer left and were dropped" if empty else ""
            message = f"{shortened} {what} were cut to {budget} bytes{dropped}."
            self._event("warning", message, level="warning")

    def _record_item(self, item: Item) -> None:
        if isinstance(item, Row):
            self._record_row(item)
        elif isinstance(item, EpochEnd):
            self._event("epoch_complete", f"Epoch {item.number} is complete at step {item.step}.", step=item.step)
            self._facts(epochs_completed=item.number)
        elif isinstance(item, Checkpoint):
            self._keep(item)
        else:
            self._record_stop(item)

    def _record_row(self, row: Row) -> None:
        facts: Record = {"steps_completed": row.step}
        if row.split == "eval":
            self._evals += 1
            facts["evals_completed"] = self._evals
        wire = row.wire(self._config.learning_rate)
        self._store.add_row(self._id, step=row.step, split=row.split, row=wire, facts=facts)

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
        about = {"engine": "preftune embedded byte model", "base_model_name_or_path": self._record["facts"]["model"]}
        about |= {"job": self._id, "step": item.step, "continues": self._config.from_checkpoint}
        if isinstance(parameters, LowRank):
            adapter = about | {"peft_type": "LORA", "r": parameters.rank, "lora_alpha": parameters.alpha}
            write_whole(path.with_suffix(".adapter.tar.zst"), adapter_archive(parameters.trained, adapter))
        if item.final or not isinstance(parameters, LowRank):
            write_whole(path.with_suffix(".merged.tar.zst"), merged_archive(merged, about))
        message = f"Saved the {'final ' if item.final else ''}checkpoint of step {item.step}."
        self._store.add_checkpoint(self._id, step=item.step, final=item.final, message=message)

    def _finish(self) -> None:
        self._event("training_complete", "Training is complete.")
        if not self._store.move_job(self._id, expected=("running",), to="uploading"):
            raise _Cancelled
        self._event("model_uploading", "Storing the model.")
        self._event("model_upload_complete", f"The model is stored as {self._record['output_name']}.")
        message = "The job is complete."
        self._store.end_job(self._id, expected=("uploading",), to="completed", event="job_complete", message=message)

    def _facts(self, **facts: Any) -> None:
        self._store.move_job(self._id, expected=("running",), to="running", facts=facts)

    def _event(self, type_: str, message: str, *, step: int = 0, level: str = "info") -> None:
        self._store.add_event(self._id, type_, message, step=step, level=level)


def _config(wire: Record) -> JobConfig:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return JobConfig(**wire)


def _turns(messages: list[Record], budget: int, *, on_inputs: bool) -> list[Cut]:
    """Return each message that is learned, after its context."""
    learned = []
    for index, message in enumerate(messages):
        if (message["role"] == "assistant" or on_inputs) and message.get("weight", 1) != 0:
            role = str(message["role"])[:1].encode()
            learned.append(cut(render(messages[:index]), answer_bytes(message), budget, role))
    return learned


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


if __name__ == "__main__":
    main(sys.argv[1])
