"""The routes of models and jobs. Source: docs/wire.md, Fine-tuning endpoints."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from preftune.api.fine_tuning import split_checkpoint
from preftune.local import answers, limits
from preftune.local.admission import Refused, admit, parent, wire_config
from preftune.local.reading import between, integer, read_json, thinned
from preftune.local.store import Record, Store


class JobRoutes:
    """The handlers of models and jobs, over one store; `wake` tells the worker that a job waits."""

    def __init__(self, store: Store, wake: Callable[[], None]) -> None:
        self._store, self._wake = store, wake

    async def model_limits(self, request: Request) -> Response:
        """Answer what a model can be asked for; every name is a model."""
        name = request.query_params.get("model_name", "")
        if not name:
            raise Refused("model_name is missing", param="model_name")
        return JSONResponse(limits.limits(name))

    async def supported_models(self, _: Request) -> Response:
        """Answer a few names as examples."""
        return JSONResponse({"models": list(limits.EXAMPLE_MODELS)})

    async def estimate_price(self, request: Request) -> Response:
        """Answer a price of nothing, or why it cannot be said yet."""
        body = await read_json(request)
        files = {"train": self._named_file(body, "training_file")}
        if body.get("validation_file"):
            files["eval"] = self._named_file(body, "validation_file")
        for split, record in files.items():
            if record["status"] != "COMPLETED":
                unfit = record["status"] in ("INVALID_FORMAT", "FAILED")
                reason = "file_invalid" if unfit else "file_not_validated"
                return JSONResponse({"estimation_available": False, "unavailable_reason": f"{split}_{reason}"})
        held_out = files["eval"]["bytes"] if "eval" in files else 0  # a byte is a token here
        answer = {
            "estimation_available": True,
            "allowed_to_proceed": True,
            "estimated_total_price": 0.0,
            "estimated_train_token_count": files["train"]["bytes"] * (integer(body, "n_epochs") or 1),
            "estimated_eval_token_count": held_out * (integer(body, "n_evals") or 0),
            "user_limit": 1e9,
        }
        return JSONResponse(answer)

    async def list_jobs(self, _: Request) -> Response:
        """Answer all jobs, newest first."""
        return JSONResponse({"object": "list", "data": [answers.job(one) for one in self._store.jobs()]})

    async def create_job(self, request: Request) -> Response:
        """Take a job and wake the worker."""
        config = admit(await read_json(request), self._store)
        start = parent(config.from_checkpoint, self._store)[0] if config.from_checkpoint else None
        model = start["facts"]["model"] if start else config.model or ""
        job_id = f"ft-{uuid.uuid4()}"
        tail = "-".join(filter(None, [model.rpartition("/")[2], config.suffix, job_id[3:11]]))
        created = self._store.add_job(
            job_id,
            output_name=f"local/{tail}",
            config=wire_config(config, inherited=start and start["config"]["training_type"]),
            facts={"model": model},
            idempotency_key=request.headers.get("idempotency-key") or None,
        )
        self._wake()
        return JSONResponse(answers.job(self._known_job(created)))

    async def get_job(self, request: Request) -> Response:
        """Answer one job whole."""
        record = self._job(request)
        return JSONResponse(answers.full_job(record, self._store.events(record["id"])))

    async def delete_job(self, request: Request) -> Response:
        """Forget a job and all that it made."""
        record = self._job(request)
        self._store.delete_job(record["id"])
        shutil.rmtree(self._store.checkpoint_path(record["id"], 0).parent, ignore_errors=True)
        return JSONResponse({"message": "Fine-tune job deleted successfully"})

    async def cancel_job(self, request: Request) -> Response:
        """Stop a job: at once when it waits, at its next step when it runs."""
        job_id = self._job(request)["id"]
        asked = {"to": "cancel_requested", "event": "cancel_requested", "message": "Cancelling was asked for."}
        waiting = self._store.end_job(job_id, expected=("pending", "queued"), **asked)
        stopping = waiting or self._store.end_job(job_id, expected=("running", "cancel_requested"), **asked)
        if not stopping:
            raise Refused(f"job {job_id} is {self._store.status(job_id)} and cannot be cancelled")
        answer = answers.job(self._known_job(job_id))
        if waiting:
            end = {"to": "cancelled", "event": "job_stopped", "message": "The job was cancelled before it ran."}
            self._store.end_job(job_id, expected=("cancel_requested",), **end)
        return JSONResponse(answer)

    async def list_events(self, request: Request) -> Response:
        """Answer what has happened to a job."""
        found = self._store.events(self._job(request)["id"])
        return JSONResponse({"object": "list", "data": [answers.event(one) for one in found]})

    async def list_checkpoints(self, request: Request) -> Response:
        """Answer the checkpoints of a job."""
        record = self._job(request)
        return JSONResponse({"data": answers.checkpoints(record, self._store.checkpoints(record["id"]))})

    async def list_metrics(self, request: Request) -> Response:
        """Answer the rows between two steps and two times, all inclusive; training rows thinned to `resolution`."""
        job_id = self._job(request)["id"]
        asked = dict(request.query_params) | await read_json(request)
        bounds = {f"{end}_step": integer(asked, f"global_step_{end}") for end in ("from", "to")}
        rows = between(self._store.metrics(job_id, **bounds), asked)
        return JSONResponse({"metrics": thinned(rows, integer(asked, "resolution"))})

    async def download(self, request: Request) -> Response:
        """Answer an archive, with ranges; `checkpoint_step` names an intermediate one."""
        address, given_step = split_checkpoint(request.query_params.get("ft_id", ""))
        step = integer(request.query_params, "checkpoint_step") or given_step
        if not address:
            raise Refused("ft_id is missing", param="ft_id")
        job, at = parent(address if step is None else f"{address}:{step}", self._store, param="ft_id", status=404)
        full = job["config"]["training_type"]["type"] == "Full"
        kind = request.query_params.get("checkpoint") or ("model_output_path" if full else "merged")
        if kind not in ("merged", "adapter", "model_output_path"):
            raise Refused(
                f"checkpoint is {kind!r}; it must be merged, adapter or model_output_path", param="checkpoint"
            )
        suffix = ".adapter.tar.zst" if kind == "adapter" else ".merged.tar.zst"
        path = self._store.checkpoint_path(job["id"], at, suffix)
        if not path.is_file() and not request.query_params.get("checkpoint"):  # an intermediate one is an adapter alone
            path = self._store.checkpoint_path(job["id"], at, ".adapter.tar.zst")
        if not path.is_file():
            raise Refused(f"job {job['id']} has no {kind} checkpoint at step {at}", param="checkpoint", status=404)
        name = f"{job['output_name'].replace('/', '-')}.tar.zst"
        return FileResponse(path, media_type="application/octet-stream", filename=name)

    async def whoami(self, _: Request) -> Response:
        """Answer that this is the local project."""
        project = {"id": "local", "name": "local", "slug": "local"}
        organization = {"id": "local", "name": "local"}
        return JSONResponse(
            {"type": "api_key", "api_key": {"id": "local"}, "organization": organization, "project": project}
        )

    def _named_file(self, body: Record, name: str) -> Record:
        record = self._store.file(str(body.get(name)))
        if record is None:
            raise Refused(f"{name}: there is no file {body.get(name)}", param=name)
        return record

    def _job(self, request: Request) -> Record:
        return self._known_job(request.path_params["id"])

    def _known_job(self, job_id: str) -> Record:
        record = self._store.job(job_id)
        if record is None:
            raise Refused(f"there is no job {job_id}", param="id", status=404)
        return record
