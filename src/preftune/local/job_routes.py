"""The routes of jobs. Source: docs/wire.md, Fine-tuning endpoints."""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from preftune.local import answers, limits
from preftune.local.clock import PENDING, QUEUED, Clock
from preftune.local.database import Record
from preftune.local.faults import Faults
from preftune.local.reading import Json, between, integer, origin, read_json, text, thinned
from preftune.local.refusal import Refused
from preftune.local.sending import send_file
from preftune.local.signing import Signer
from preftune.local.store import Store

if TYPE_CHECKING:
    from preftune.local import wire


class JobRoutes:
    """The handlers of jobs, over one store; `wake` tells the worker that a job waits."""

    def __init__(
        self, store: Store, signer: Signer, faults: Faults, *, clock: Clock, wake: Callable[[], None], event_case: str
    ) -> None:
        self._store, self._signer, self._faults, self._clock = store, signer, faults, clock
        self._wake, self._case = wake, event_case

    async def list_jobs(self, _: Request) -> Response:
        """List all jobs, newest first."""
        found: wire.JobList = {"object": "list", "data": [answers.job(one) for one in self._store.jobs()]}
        return Json(found)

    async def create_job(self, request: Request) -> Response:
        """Create a job."""
        from preftune.local import admission  # noqa: PLC0415 - it brings pydantic, which no start should wait for

        body, key = await read_json(request), request.headers.get("idempotency-key", "")
        known = self._made_before(key, body)
        if known:
            return Json(answers.job(known))
        config = admission.admit(body, self._store)
        start = admission.parent(config.from_checkpoint, self._store)[0] if config.from_checkpoint else None
        model = start["facts"]["model"] if start else config.model or ""
        job_id = f"ft-{uuid.uuid4()}"
        asked = admission.wire_config(config, inherited=start and start["config"]["training_type"])
        faults = self._faults.of_job()
        stuck = "stuck-queued" in faults
        self._store.add_job(
            job_id,
            output_name=admission.output_name(model, config.suffix, job_id),
            config=asked,
            facts={"model": model, "faults": faults, "request": _fingerprint(body)},
            idempotency_key=key or None,
            queued_at=self._clock.after(PENDING),
            ready_at=None if stuck else self._clock.after(PENDING + QUEUED),
        )
        self._wake()
        return Json(answers.job(self._known_job(job_id)))

    def _made_before(self, key: str, body: Record) -> Record | None:
        """Return the job that a request with this key has made. Raises Refused when that request was another."""
        if len(key) > limits.MAX_KEY:
            raise Refused(f"Idempotency-Key: at most {limits.MAX_KEY} characters", param="Idempotency-Key")
        known = self._store.job_of_key(key) if key else None
        if known and known["facts"].get("request") != _fingerprint(body):
            sentence = f"this Idempotency-Key made {known['id']} with another request; take a new key"
            raise Refused(sentence, param="Idempotency-Key", status=422)
        return known

    async def get_job(self, request: Request) -> Response:
        """Retrieve a job."""
        record = self._job(request)
        events = answers.events(self._store.events(record["id"]), self._case)
        come = self._store.progress(record["id"])
        return Json(
            answers.full_job(
                record, events, come=come, ahead=self._store.ahead(record), seconds=self._seconds(record, come)
            )
        )

    async def delete_job(self, request: Request) -> Response:
        """Delete a job and all that it made."""
        record = self._job(request)
        self._store.delete_job(record["id"])
        folder = self._store.checkpoint_path(record["id"], 0).parent
        await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
        deleted: wire.DeletedJob = {"message": "Fine-tune job deleted successfully"}
        return Json(deleted)

    async def cancel_job(self, request: Request) -> Response:
        """Stop a job: at once when it waits, at its next step when it runs."""
        job_id = self._job(request)["id"]
        asked = {"to": "cancel_requested", "event": "cancel_requested", "message": "Cancelling was asked for."}
        waiting = self._store.end_job(job_id, expected=("pending", "queued"), **asked)
        running = ("running", "uploading", "cancel_requested")
        stopping = waiting or self._store.end_job(job_id, expected=running, **asked)
        if not stopping:
            raise Refused(f"job {job_id} is {self._store.status(job_id)} and cannot be cancelled", param="id")
        answer = answers.job(self._known_job(job_id))
        if waiting:
            end = {"to": "cancelled", "event": "job_stopped", "message": "The job was cancelled before it ran."}
            self._store.end_job(job_id, expected=("cancel_requested",), **end)
        return Json(answer)

    async def list_events(self, request: Request) -> Response:
        """List what has happened to a job."""
        events = answers.events(self._store.events(self._job(request)["id"]), self._case)
        found: wire.EventList = {"object": "list", "data": events}
        return Json(found)

    async def list_checkpoints(self, request: Request) -> Response:
        """List the checkpoints of a job."""
        record = self._job(request)
        kept: wire.CheckpointList = {"data": answers.checkpoints(record, self._store.checkpoints(record["id"]))}
        return Json(kept)

    async def list_metrics(self, request: Request) -> Response:
        """List the rows between two steps and two times, all inclusive; training rows thinned to `resolution`."""
        job_id = self._job(request)["id"]
        asked = dict(request.query_params) | await read_json(request)
        bounds = {f"{end}_step": integer(asked, f"global_step_{end}") for end in ("from", "to")}
        rows = between(self._store.metrics(job_id, **bounds), asked)
        metrics: wire.Metrics = {"metrics": thinned(rows, integer(asked, "resolution"))}
        return Json(metrics)

    async def tokenized_dataset(self, request: Request) -> Response:
        """Say where the tokens lie that a job was trained on."""
        record = self._job(request)
        path = self._store.tokenized_path(record["id"])
        if not path.is_file():
            raise Refused(f"job {record['id']} has no tokenized data set yet", param="id", status=404)
        signed = self._signer.signed("GET", f"/storage/tokens/{record['id']}")
        expires = datetime.now(UTC) + timedelta(seconds=limits.SIGNED_FOR)
        found: wire.Download = {
            "url": origin(request) + signed,
            "filename": f"{record['id']}_tokenized_datasets.tar.zst",
            "content_type": "application/zstd",
            "size": path.stat().st_size,
            "expires_at": expires.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        return Json(found)

    async def download(self, request: Request) -> Response:
        """Download an archive of weights, with ranges; `checkpoint_step` names an intermediate one."""
        from preftune.api.config import split_checkpoint  # noqa: PLC0415 - as in `create_job`
        from preftune.local.admission import parent  # noqa: PLC0415

        query = request.query_params
        name, given_step = split_checkpoint(text(query, "ft_id", needed=True))
        step = integer(query, "checkpoint_step") or given_step
        job, at = parent(name if step is None else f"{name}:{step}", self._store, param="ft_id", status=404)
        full = job["config"]["training_type"]["type"] == "Full"
        kind = text(query, "checkpoint") or ("model_output_path" if full else "merged")
        if kind not in ("merged", "adapter", "model_output_path"):
            sentence = f"checkpoint is {kind!r}; it must be merged, adapter or model_output_path"
            raise Refused(sentence, param="checkpoint")
        suffix = ".adapter.tar.zst" if kind == "adapter" else ".merged.tar.zst"
        path = self._store.checkpoint_path(job["id"], at, suffix)
        if not path.is_file() and (
            step or not query.get("checkpoint")
        ):  # a step is an adapter alone, whatever is asked
            path = self._store.checkpoint_path(job["id"], at, ".adapter.tar.zst")
        filename = f"{job['output_name'].replace('/', '-')}.tar.zst"
        what = f"the {kind} checkpoint of job {job['id']} at step {at}"
        return await send_file(request, path, what, filename=filename)

    def _seconds(self, record: Record, come: Record) -> float | None:
        """Return the seconds to a job's next state, where they can be said."""
        if record["status"] == "running":
            return answers.seconds_of_training(record, come)
        moment = {
            "pending": record["queued_at"], "queued": record["ready_at"],
            "uploading": record["facts"].get("stored_at"),
        }.get(record["status"])  # fmt: skip
        return self._clock.until(moment) if moment else None

    def _job(self, request: Request) -> Record:
        return self._known_job(request.path_params["id"])

    def _known_job(self, job_id: str) -> Record:
        record = self._store.job(job_id)
        if record is None:
            raise Refused(f"there is no job {job_id}", param="id", status=404)
        return record


def _fingerprint(body: Record) -> str:
    """Return what tells one request from another, and nothing of the secrets in it."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
