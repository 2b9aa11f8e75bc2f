"""Whether a job may be created: the request read as a JobConfig, and the rules that only the server can know."""

from __future__ import annotations

import re
import warnings
from typing import Any

from pydantic import ValidationError

from preftune.api.config import DPO, CosineSchedule, FullFineTuning, JobConfig, LoRA, first_fault, split_checkpoint
from preftune.api.nesting import FLAT
from preftune.local import limits
from preftune.local.database import Record
from preftune.local.refusal import Refused, shown
from preftune.local.store import Store

_MODULES = re.compile(r"[A-Za-z0-9_.-]+(\s*,\s*[A-Za-z0-9_.-]+)*")
_OTHER_NAMES = ("wandb_api_key", "lora", "scheduler_num_cycles")


def admit(body: dict[str, Any], store: Store) -> JobConfig:
    """Return the configuration that a create request asks for, or raise Refused."""
    config = _read(body)
    for name in ("training_file", "validation_file"):
        _check_file(name, getattr(config, name), store)
    if not config.training_file:
        raise Refused("training_file is missing", param="training_file")
    _check_names(config)
    if config.multimodal_params and config.multimodal_params.train_vision:
        raise Refused("the embedded engine has no vision part to train", param="multimodal_params")
    _check_bounds(config)
    if config.from_checkpoint:
        parent(config.from_checkpoint, store)
    return config


def _check_names(config: JobConfig) -> None:
    """Raise Refused for a name that could not stand in a path or in a list."""
    model = config.model or ""
    if not model.isprintable() or (config.model and re.split(r"[/\\]", model)[-1].strip() in ("", ".", "..")):
        raise Refused(f"model is {shown(model)}; it must be a name such as Qwen/Qwen3-8B", param="model")
    if isinstance(config.training_type, LoRA) and not _MODULES.fullmatch(config.training_type.lora_trainable_modules):
        modules = shown(config.training_type.lora_trainable_modules)
        sentence = f"lora_trainable_modules is {modules}; it must be all-linear, or names separated by commas"
        raise Refused(sentence, param="lora_trainable_modules")


def _check_bounds(config: JobConfig) -> None:
    """Raise Refused for a number that the engine cannot take, though a JobConfig may have it."""
    longest = limits.MAX_LENGTH_DPO if isinstance(config.training_method, DPO) else limits.MAX_LENGTH_SFT
    asked: list[tuple[str, float | None, int, int]] = [
        ("batch_size", None if config.batch_size == "max" else config.batch_size, 1, limits.MAX_BATCH),
        ("n_checkpoints", config.n_checkpoints, 1, limits.MAX_CHECKPOINTS),
        ("max_seq_length", config.max_seq_length, limits.MIN_LENGTH, longest),
    ]
    if isinstance(config.training_type, LoRA):
        asked.append(("lora_alpha", config.training_type.lora_alpha, 1, limits.MAX_ALPHA))
    if isinstance(config.lr_scheduler, CosineSchedule):
        asked.append(("num_cycles", config.lr_scheduler.num_cycles, 0, limits.MAX_CYCLES))
    for name, value, least, most in asked:
        if value is not None and not least <= value <= most:
            bound = f"at least {least}" if value < least else f"at most {most}"
            raise Refused(f"{name} is {shown(value)}; {bound}", param=name)


def check_method(body: dict[str, Any]) -> None:
    """Raise Refused for a method or a training type that no job may have; in a price's body, 0 is the default."""
    given = {name: body[name] for name in ("training_method", "training_type") if body.get(name)}
    method = given.get("training_method")
    if isinstance(method, dict):
        zero = {name for name in ("dpo_beta", "rpo_alpha", "simpo_gamma") if method.get(name) == 0}
        given["training_method"] = {name: value for name, value in method.items() if name not in zero}
    _read(given | {"model": "any"})


def parent(address: str, store: Store, *, param: str = "from_checkpoint", status: int = 400) -> tuple[Record, int]:
    """Return the job and the step that `JOB[:STEP]` or `OUTPUT_NAME[:STEP]` names, or raise Refused."""
    name, step = split_checkpoint(address)
    job = store.job_named(name)
    if job is None:
        raise Refused(f"{param}: there is no job or model {name}", param=param, status=status)
    kept = store.checkpoints(job["id"])
    found = [row for row in kept if (row["final"] if step is None else row["step"] == step)]
    if not found:
        what = "final checkpoint" if step is None else f"checkpoint at step {step}"
        steps = ", ".join(str(row["step"]) for row in kept) or "none yet"
        raise Refused(f"{param}: {name} has no {what}; it has {steps}", param=param, status=status)
    return job, int(found[0]["step"])


def output_name(model: str, suffix: str | None, job_id: str) -> str:
    """Return what the tuned model is called. Source: docs/wire.md, Objects."""
    return "local/" + "-".join(filter(None, [model.rpartition("/")[2], suffix, job_id[3:11]]))


def wire_config(config: JobConfig, *, inherited: Record | None = None) -> Record:
    """Return what a job's object shows of its configuration: defaults filled in, secrets left out.

    `inherited` is the training type of the parent, taken over when none is given.
    """
    body = config.to_wire()
    for secret in ("wandb_key", "hf_api_token"):
        body.pop(secret, None)
    body |= {"batch_size": limits.MAX_BATCH if config.batch_size == "max" else config.batch_size}
    body["random_seed"] = limits.DEFAULT_SEED if config.random_seed is None else config.random_seed
    body["training_type"] = inherited if inherited and config.training_type is None else _training_type(config)
    return body


def _check_file(name: str, file_id: str | None, store: Store) -> None:
    record = store.file(file_id) if file_id else None
    if file_id and record is None:
        raise Refused(f"{name}: there is no file {file_id}", param=name)
    if record and record["status"] == "PENDING":  # nobody would ever read it, and the job would wait for that
        raise Refused(f"{name}: the upload of {file_id} is not finished", param=name)
    if record and record["purpose"] != "fine-tune":
        raise Refused(f"{name}: {file_id} was uploaded for {record['purpose']!r}, not for 'fine-tune'", param=name)


def _training_type(config: JobConfig) -> Record:
    if isinstance(config.training_type, FullFineTuning):
        return {"type": "Full"}
    given = config.training_type.model_dump(exclude_none=True) if config.training_type else {"type": "Lora"}
    rank = given.get("lora_r", limits.DEFAULT_RANK)
    return {"lora_r": rank, "lora_alpha": 2 * rank, "lora_dropout": 0.0, "lora_trainable_modules": "all-linear"} | given


def _read(body: dict[str, Any]) -> JobConfig:
    known = {*JobConfig.model_fields, *FLAT, *_OTHER_NAMES}
    empty_is_absent = ("", None)
    given = {name: value for name, value in body.items() if name in known and value not in empty_is_absent}
    for name in ("gradient_accumulation_steps", "learning_rate"):
        if given.get(name) == 0:  # the wire's way to ask for the default
            del given[name]
    schedule = given.get("lr_scheduler")
    if isinstance(schedule, dict) and not isinstance(schedule.get("lr_scheduler_args"), dict | None):
        raise Refused("lr_scheduler: lr_scheduler_args must be an object", param="lr_scheduler")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # advice is the client's to give
            return JobConfig(**given)
    except ValidationError as error:
        sentence = first_fault(error)
        raise Refused(sentence, param=sentence.partition(":")[0] if ":" in sentence else None) from None
