"""Creating a job exactly once, although networks fail in the middle and programs end there.

The job list is read before the request, and the ledger notes what is about to be asked. After a failure that may have
taken effect the list is read again: the one new job whose fields equal those that this call sent, and that no other
call of this machine has, is adopted; two are an error; with none the request is made again. A server that honours
`Idempotency-Key` needs none of this. Limit: a request that arrives after the second reading is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from preftune.api import history, pricing
from preftune.api.config import JobConfig, LoRA, split_checkpoint
from preftune.api.fields import JobFields, job_config
from preftune.api.fine_tuning import list as list_jobs
from preftune.api.fine_tuning import model_limits
from preftune.api.models import FineTuneJob
from preftune.api.reading import read
from preftune.api.steps import Claim, Flow, Hold, Record, Request, Response, Retries, Sleep, Token
from preftune.api.transient import is_transient, pause
from preftune.errors import APIError, APIResponseValidationError, ConfigError

_LONGEST_KEY = 255  # characters
_HELD_PAUSE = 0.1  # seconds between two looks at a key that another call holds
_DEFAULT_RANK = 8  # the documentation's, where the model's limits name none


def create(
    config: JobConfig | JobFields | None = None,
    /,
    *,
    max_price: float | None = None,
    idempotency_key: str | None = None,
    **fields: Unpack[JobFields],
) -> Flow[FineTuneJob]:
    """Create a job from a JobConfig, or from its fields as a dict or keywords, and return it; it is paid once.

    Above `max_price`, in dollars, nothing is created; the estimate is waited for while a file is still being read.
    A call with the `idempotency_key` of an earlier one returns that one's job, also from another process on this
    machine. Raises ConfigError when a file is missing, when the keywords do not make a configuration, and for a price
    above `max_price`; ConflictError when it cannot be told which of two jobs is the one.
    """
    config = job_config(config, **fields)
    if idempotency_key is not None and not _is_header(idempotency_key):
        raise ConfigError(
            f"idempotency_key: expected printable ASCII of 1 to 255 characters, found {idempotency_key!r}; shorten it"
        )
    body = yield from body_of(config)
    let_go = (yield from _held(idempotency_key)) if idempotency_key else None
    try:
        earlier = (yield from history.asked_with(idempotency_key, body)) if idempotency_key else None
        if earlier is not None:
            return earlier
        if max_price is not None:
            yield from pricing.affordable(config, max_price)
        asked = history.without_secrets(body)
        known = history.look_alikes(asked, (yield from list_jobs()))
        call = history.Asked(idempotency_key or (yield Token()), asked, known)
        yield Record(call.entry("asked"))
        return (yield from _posted(call, body))
    finally:
        if let_go is not None:
            let_go()


def body_of(config: JobConfig) -> Flow[dict[str, Any]]:
    """Return the body of the request that creates a job."""
    return config.to_wire() | (yield from _lora_block(config))


def _is_header(text: str) -> bool:
    """Tell whether a header can hold a text."""
    return text.isascii() and text.isprintable() and 0 < len(text.strip()) == len(text) <= _LONGEST_KEY


def _held(key: str) -> Flow[Callable[[], None]]:
    """Return what lets a key go, once no other call is at it."""
    while True:
        let_go: Callable[[], None] | None = yield Hold(key)
        if let_go is not None:
            return let_go
        yield Sleep(_HELD_PAUSE)


def _posted(call: history.Asked, body: dict[str, Any]) -> Flow[FineTuneJob]:
    """Make the request, as often as it may be made without making two jobs."""
    request = Request("POST", "/fine-tunes", json=body, headers={"idempotency-key": call.key}, retry=False)
    retries = yield Retries()
    attempt, is_lost = 0, False  # lost: an attempt may have made a job that nobody has seen
    while True:
        try:
            job = _created((yield request))
        except APIError as error:
            failure = error
        else:
            yield Claim(job.id, call.entry("created", job=job.id))
            return job
        is_lost = is_lost or failure.ambiguous
        if not failure.ambiguous and (attempt >= retries or not is_transient(failure)):
            if is_lost:
                raise _with_advice(failure)
            yield Record(call.entry("refused"))
            raise failure
        adopted = yield from _after(failure, call, attempt, is_lost=is_lost)
        if adopted is not None:
            return adopted
        if attempt >= retries or not is_transient(failure):
            raise _with_advice(failure)
        attempt += 1


def _after(failure: APIError, call: history.Asked, attempt: int, *, is_lost: bool) -> Flow[FineTuneJob | None]:
    """Wait a little, then return the job that a failed request may have made, if there is one."""
    try:
        yield Sleep(pause(failure if is_transient(failure) else None, attempt, 0.0))
        if not failure.ambiguous:
            return None
        jobs = yield from list_jobs()
    except APIError as unknown:
        raise (_with_advice(failure) if is_lost else failure) from unknown
    return (yield from history.adopt(call, jobs))


def _with_advice(failure: APIError) -> APIError:
    """Return a failure that may have made a job, saying so: what it advises by itself might make a second one."""
    failure.args = (f"{failure}; a job may exist: look with client.fine_tuning.last() before you create it again",)
    return failure


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
