"""Creating a job exactly once, although networks fail in the middle.

The job list is read before the request. After a failure that may have taken effect, it is read again: the one new job
whose fields equal those that this call sent is adopted; two are an error; with none the request is made again. A server
that honours `Idempotency-Key` needs none of this. Limit: a request that arrives after the second reading is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Unpack

from pydantic import ValidationError

from preftune.api.config import JobConfig, LoRA, first_fault
from preftune.api.fields import JobFields
from preftune.api.fine_tuning import list as list_jobs
from preftune.api.fine_tuning import model_limits, split_checkpoint
from preftune.api.models import FineTuneJob
from preftune.api.reading import read
from preftune.api.steps import Flow, Request, Response, Sleep, Token
from preftune.api.transient import is_transient, pause
from preftune.errors import APIError, APIResponseValidationError, ConfigError, ConflictError

_ATTEMPTS = 3
_DEFAULT_RANK = 8  # the documentation's, where the model's limits name none
_NEVER_ECHOED = frozenset({"wandb_key", "hf_api_token"})


def create(config: JobConfig | JobFields | None = None, /, **fields: Unpack[JobFields]) -> Flow[FineTuneJob]:
    """Create a job from a JobConfig, or from its fields as a dict or keywords, and return it; it is paid once.

    Raises ConfigError when a file is missing or the keywords do not make a configuration.
    """
    config = job_config(config, **fields)
    body = config.to_wire() | (yield from _lora_block(config))
    before = {job.id for job in (yield from list_jobs())}
    request = Request("POST", "/fine-tunes", json=body, headers={"idempotency-key": (yield Token())}, retry=False)
    attempt = 0
    while True:
        try:
            return _created((yield request))
        except APIError as error:
            if not (is_transient(error) or error.ambiguous):
                raise
            failure = error
        yield Sleep(pause(failure if is_transient(failure) else None, attempt, 0.0))
        try:
            adopted = (yield from _adopt(body, before)) if failure.ambiguous else None
        except ConflictError:
            raise  # two jobs look like this one
        except APIError as unknown:
            raise failure from unknown  # whether there is a job is not known: the request's own failure says so
        if adopted is not None:
            return adopted
        attempt += 1
        if attempt == _ATTEMPTS or not is_transient(failure):
            raise failure


def job_config(config: JobConfig | JobFields | None = None, /, **fields: Unpack[JobFields]) -> JobConfig:
    """Return the configuration that the arguments of `create` make, with its files."""
    if config is not None and fields:
        raise ConfigError(
            f"create: expected a JobConfig or keywords, found both ({', '.join(fields)}); use config.replace()"
        )
    try:
        config = config if isinstance(config, JobConfig) else JobConfig(**(config or fields))
    except ValidationError as error:
        raise ConfigError(f"create: {first_fault(error)}") from error
    if not config.training_file:
        raise ConfigError("create: training_file is missing; upload one: client.files.upload(path).id")
    return config


def _created(response: Response) -> FineTuneJob:
    """Return the job that was created; an answer that names none may hide one, so it is an ambiguous failure."""
    try:
        job = read(response, FineTuneJob)
    except APIResponseValidationError as error:
        error.ambiguous = True
        raise
    if not job.id:
        nameless = APIResponseValidationError(
            "POST /fine-tunes: expected a job with an id, found none; it may have been created: look at list()",
            method="POST",
            path="/fine-tunes",
        )
        nameless.ambiguous = True
        raise nameless
    return job


def _lora_block(config: JobConfig) -> Flow[dict[str, Any]]:
    """Return the LoRA block with what the server requires: the model's default rank, and alpha twice the rank."""
    kind = config.training_type
    if not isinstance(kind, LoRA):
        return {}
    rank = kind.lora_r
    if rank is None:
        address = config.model or split_checkpoint(config.from_checkpoint or "")[0]
        found = (yield from model_limits(address)).lora_training
        rank = (found.default_rank or found.max_rank if found else None) or _DEFAULT_RANK
    alpha = kind.lora_alpha or 2 * rank
    return {"training_type": {**kind.model_dump(), "lora_r": rank, "lora_alpha": alpha}}


def _adopt(body: Mapping[str, Any], before: set[str]) -> Flow[FineTuneJob | None]:
    """Return the one job that this call must have made, if there is one."""
    candidates = [job for job in (yield from list_jobs()) if job.id not in before and _is_ours(job, body)]
    if len(candidates) > 1:
        names = " and ".join(job.id for job in candidates)
        raise ConflictError(
            f"POST /fine-tunes: the answer was lost, and {names} both look like this job; cancel the unwanted one",
            method="POST",
            path="/fine-tunes",
            status=409,
        )
    return candidates[0] if candidates else None


def _is_ours(job: FineTuneJob, body: Mapping[str, Any]) -> bool:
    echoed = job.model_dump(mode="python")
    return all(_same(sent, echoed.get(name)) for name, sent in body.items() if name not in _NEVER_ECHOED)


def _same(sent: Any, echoed: Any) -> bool:
    """Tell whether a field that was sent can be the one that came back: empty equals absent, "max" any number."""
    if echoed in (None, "") or sent in (None, ""):
        return True
    if isinstance(sent, Mapping) and isinstance(echoed, Mapping):
        return all(_same(value, echoed.get(name)) for name, value in sent.items())
    if sent == "max":
        return True
    if isinstance(sent, float) and isinstance(echoed, int | float):
        return math.isclose(sent, echoed, rel_tol=1e-6)
    return bool(sent == echoed)
