"""Which jobs this machine asked for: what the ledger's entries mean, and how a job is found again from them.

A call is one `asked` entry, written before the request, and at most one that says how it ended: `created` or `adopted`,
with the job, or `refused`. A call without an end may have made a job: it is looked for as `creation` does.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from preftune.api.fine_tuning import list as list_jobs
from preftune.api.fine_tuning import retrieve
from preftune.api.models import FineTuneJob
from preftune.api.steps import Claim, Flow, Recorded
from preftune.errors import ConfigError, ConflictError, NotFoundError

_ENDS = ("created", "adopted", "refused")
_SECRETS = frozenset({"wandb_key", "hf_api_token"})  # never echoed by the server, never written down by us

_NAMES = frozenset({"suffix", "wandb_name", "wandb_project_name", "wandb_entity", "wandb_base_url"})


@dataclass(frozen=True)
class Asked:
    """A call that wants one job: its idempotency key, what it sent, and the jobs like it that there were before."""

    key: str
    body: Mapping[str, Any]
    known: tuple[str, ...] = ()
    at: str = ""  # when it was asked for: ISO 8601, UTC
    ended: str = ""  # "created", "adopted", "refused", or nothing: nobody knows
    job: str = ""

    def entry(self, event: str, *, job: str = "") -> dict[str, Any]:
        """Return the ledger's entry for what happened to the call."""
        if event == "asked":
            return {"event": event, "key": self.key, "body": dict(self.body), "known": [*self.known]}
        return {"event": event, "key": self.key} | ({"job": job} if job else {})


def without_secrets(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request's body without the keys of other services."""
    return {name: value for name, value in body.items() if name not in _SECRETS}


def look_alikes(body: Mapping[str, Any], jobs: builtins.list[FineTuneJob]) -> tuple[str, ...]:
    """Return the ids of the jobs that a request with this body could have made."""
    return tuple(job.id for job in jobs if _could_be_from(body, job))


def list(*, mine: bool = False) -> Flow[builtins.list[FineTuneJob]]:  # noqa: A001 - the name that SDKs of this API share
    """Return all jobs, in the server's order (newest first); with `mine`, those that this machine asked for."""
    jobs = yield from list_jobs()
    if not mine:
        return jobs
    ids: set[str] = set()
    for call in (yield from _calls()):
        ids.update([call.job] if call.ended else (yield from _candidates(call, jobs)))
    return [job for job in jobs if job.id in ids]


def last() -> Flow[FineTuneJob]:
    """Return the newest job that this machine asked for, also when the program that asked ended before the answer.

    Raises ConfigError when the ledger knows none that still exists.
    """
    for call in reversed((yield from _calls())):
        job = yield from _job_of(call)
        if job is not None:
            return job
    raise ConfigError(
        "last: expected a job that this machine asked this API for, found none in the ledger; "
        "look at client.fine_tuning.list()"
    )


def asked_with(key: str, body: Mapping[str, Any]) -> Flow[FineTuneJob | None]:
    """Return the job of an earlier call with this key, if there is one. Raises ConfigError when its fields differ."""
    call = next((call for call in (yield from _calls()) if call.key == key), None)
    if call is None or call.ended == "refused":
        return None
    asked = without_secrets(body)
    if call.body != asked:
        differing = sorted(name for name in {*asked, *call.body} if asked.get(name) != call.body.get(name))
        raise ConfigError(
            f"idempotency_key: {key!r} was used for a job with another {', '.join(differing)}; take another key"
        )
    return (yield from _job_of(call))


def asked_since(moment: datetime, body: Mapping[str, Any]) -> Flow[builtins.list[Asked]]:
    """Return the calls since a moment that asked for just this and were not refused, oldest first."""
    asked, since = without_secrets(body), moment.astimezone(UTC).isoformat(timespec="milliseconds")
    calls = yield from _calls()
    return [call for call in calls if call.at >= since and call.ended != "refused" and _is_like(call.body, asked)]


def adopt(call: Asked, jobs: builtins.list[FineTuneJob]) -> Flow[FineTuneJob | None]:
    """Return the one of these jobs that a call must have made, if there is one that no other call has."""
    candidates = yield from _candidates(call, jobs)
    if len(candidates) > 1:  # of which the unwanted ones may have been cancelled since
        stopped = {job.id for job in jobs if str(job.status).lower().startswith("cancel")}
        candidates = tuple(job for job in candidates if job not in stopped)
    if len(candidates) > 1:
        raise ConflictError(
            f"POST /fine-tunes: the answer was lost, and {' and '.join(candidates)} both look like this job; "
            "cancel the unwanted one",
            method="POST",
            path="/fine-tunes",
            status=409,
        )
    if not candidates or not (yield Claim(candidates[0], call.entry("adopted", job=candidates[0]))):
        return None
    return next(job for job in jobs if job.id == candidates[0])


def _calls() -> Flow[builtins.list[Asked]]:
    """Return the calls in the ledger, oldest first, each with its end; what was asked again is as new as that."""
    calls: dict[str, Asked] = {}
    for entry in (yield Recorded()):
        key, event, body = str(entry.get("key") or ""), entry.get("event"), entry.get("body")
        if event == "asked" and key and body:  # without a body, every job would look like the one that was asked for
            calls.pop(key, None)
            calls[key] = Asked(key, body, tuple(entry.get("known") or ()), str(entry.get("at") or ""))
        elif event in _ENDS and key in calls:
            calls[key] = replace(calls[key], ended=event, job=str(entry.get("job") or ""))
    return [*calls.values()]


def _job_of(call: Asked) -> Flow[FineTuneJob | None]:
    """Return the job of a call, unless it was refused, never arrived, or is deleted."""
    if not call.ended:
        return (yield from adopt(call, (yield from list_jobs())))
    try:
        return (yield from retrieve(call.job)) if call.job else None
    except NotFoundError:
        return None


def _candidates(call: Asked, jobs: builtins.list[FineTuneJob]) -> Flow[tuple[str, ...]]:
    """Return the jobs that a call without an end may have made: new, like it, and nobody else's."""
    taken = {entry.get("job") for entry in (yield Recorded())} | {*call.known}
    return tuple(job for job in look_alikes(call.body, jobs) if job not in taken)


def _is_like(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two requests ask for the same training; what it is called makes no difference."""
    return all((one.get(name) or None) == (other.get(name) or None) for name in {*one, *other} - _NAMES)


def _could_be_from(body: Mapping[str, Any], job: FineTuneJob) -> bool:
    echoed = job.model_dump(mode="python")
    return all(_same(sent, echoed.get(name)) for name, sent in body.items())


def _same(sent: Any, echoed: Any) -> bool:
    """Tell whether a field that was sent can be the one that came back: empty equals absent, "max", "auto" anything."""
    if echoed in (None, "") or sent in (None, ""):
        return True
    if isinstance(sent, Mapping) and isinstance(echoed, Mapping):
        return all(_same(value, echoed.get(name)) for name, value in sent.items())
    if sent in ("max", "auto"):
        return True
    if isinstance(sent, float) and isinstance(echoed, int | float):
        return math.isclose(sent, echoed, rel_tol=1e-6)
    return bool(sent == echoed)
