"""The routes: HTTP in, HTTP out, the store in between. Source: docs/wire.md.

Every route stands under /v1 (and under /v1/v1, for clients whose base URL already ends in it). Errors have the envelope
`{"error": {message, type, param, code}}`. Handlers run on the server's loop: they only look up and note down; reading a
file's content is a thread's work, training is the worker's.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from preftune.api.fine_tuning import split_checkpoint
from preftune.local import answers, limits, validate
from preftune.local.admission import Refused, admit, parent, wire_config
from preftune.local.store import Record, Store

_MAX_BODY = 4 * 2**20  # bytes of a JSON body
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_log = logging.getLogger("preftune")
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 409: "conflict_error"}


def make_app(store: Store, *, api_key: str, wake: Callable[[], None]) -> Starlette:
    """Return the application; `wake` tells the worker that a job waits."""
    routes = _Routes(store, wake)
    v1 = [
        Route("/files", routes.list_files, methods=["GET"]),
        Route("/files", routes.open_upload, methods=["POST"]),
        Route("/files/{id}", routes.get_file, methods=["GET"]),
        Route("/files/{id}", routes.delete_file, methods=["DELETE"]),
        Route("/files/{id}/content", routes.get_content, methods=["GET"]),
        Route("/files/{id}/preprocess", routes.preprocess, methods=["POST"]),
        Route("/fine-tunes/models/limits", routes.model_limits, methods=["GET"]),
        Route("/fine-tunes/models/supported", routes.supported_models, methods=["GET"]),
        Route("/fine-tunes/estimate-price", routes.estimate_price, methods=["POST"]),
        Route("/fine-tunes", routes.list_jobs, methods=["GET"]),
        Route("/fine-tunes", routes.create_job, methods=["POST"]),
        Route("/fine-tunes/{id}", routes.get_job, methods=["GET"]),
        Route("/fine-tunes/{id}", routes.delete_job, methods=["DELETE"]),
        Route("/fine-tunes/{id}/cancel", routes.cancel_job, methods=["POST"]),
        Route("/fine-tunes/{id}/events", routes.list_events, methods=["GET"]),
        Route("/fine-tunes/{id}/checkpoints", routes.list_checkpoints, methods=["GET"]),
        Route("/fine-tunes/{id}/metrics", routes.list_metrics, methods=["GET"]),
        Route("/finetune/download", routes.download, methods=["GET"]),
    ]
    app = Starlette(
        routes=[
            Mount("/v1/v1", routes=v1),
            Mount("/v1", routes=v1),
            Route("/v3/whoami", routes.whoami, methods=["GET"]),
            Route("/storage/{id}", routes.receive, methods=["PUT"]),
        ],
        exception_handlers={Refused: _refused, HTTPException: _http_error, ClientDisconnect: _gone, Exception: _failed},
        lifespan=routes.life,
    )
    app.add_middleware(_KeyRequired, api_key=api_key)
    routes.resume_validation()
    return app


class _KeyRequired:
    """Lets in whoever carries the key; a presigned storage address carries a token of its own."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app, self._expected = app, f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/storage/"):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                await _error(401, "the API key is missing or wrong")(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Routes:
    """The handlers, over one store."""

    def __init__(self, store: Store, wake: Callable[[], None]) -> None:
        self._store, self._wake = store, wake
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="preftune-validate")  # a lane of its own

    @asynccontextmanager
    async def life(self, _: Starlette) -> AsyncIterator[None]:
        """Leave no thread behind that reads files; those not begun wait for the next server."""
        yield
        self._reading.shutdown(cancel_futures=True)

    # files

    async def list_files(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [answers.file(one) for one in self._store.files()]})

    async def get_file(self, request: Request) -> Response:
        return JSONResponse(answers.file(self._file(request)))

    async def delete_file(self, request: Request) -> Response:
        record = self._file(request)
        self._store.delete_file(record["id"])
        return JSONResponse({"id": record["id"], "object": "file", "deleted": True})

    async def get_content(self, request: Request) -> Response:
        record = self._file(request)
        path = self._store.file_path(record["id"])
        if not path.is_file():
            raise Refused(f"file {record['id']} has no content yet", status=404)
        return FileResponse(path, media_type="application/octet-stream")

    async def open_upload(self, request: Request) -> Response:
        """Answer the first of three steps: where to put the bytes."""
        given = await _form(request)
        name = PurePosixPath((given.get("file_name") or "").replace("\\", "/")).name
        checksum = (given.get("checksum") or "").lower()
        file_type = given.get("file_type") or PurePosixPath(name).suffix[1:] or "jsonl"
        if name in ("", ".."):
            raise Refused("file_name is missing", param="file_name")
        if file_type not in ("jsonl", "csv", "parquet"):
            raise Refused(f"file_type is {file_type!r}; it must be jsonl, csv or parquet", param="file_type")
        known = self._store.finished_upload(checksum)
        if known:
            envelope = _envelope(409, "a file with this content already exists", code="file_exists")
            return JSONResponse(envelope | {"file_id": known["id"]}, 409, {"x-should-retry": "false"})
        record: Record = {
            "id": f"file-{uuid.uuid4()}",
            "created_at": int(time.time()),
            "filename": name,
            "purpose": given.get("purpose") or "fine-tune",
            "file_type": file_type,
            "checksum": checksum,
            "token": secrets.token_urlsafe(24),
        }
        self._store.add_file(record)
        location = f"{request.url.scheme}://{request.url.netloc}/storage/{record['id']}?token={record['token']}"
        return Response(status_code=302, headers={"location": location, "x-together-file-id": record["id"]})

    async def receive(self, request: Request) -> Response:
        """Take the bytes of an upload: to disk as they come, under their name only when they are whole."""
        record = self._store.file(request.path_params["id"])
        token = request.query_params.get("token", "").encode()
        if record is None or not hmac.compare_digest(token, record["token"].encode()):
            raise Refused("the storage address is not valid", status=403)
        if record["status"] != "PENDING":
            raise Refused(f"file {record['id']} is complete; upload other content as another file", status=403)
        path = self._store.file_path(record["id"])
        part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
        digest, size = hashlib.sha256(), 0
        try:
            with part.open("wb") as file:
                async for chunk in request.stream():
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if record["checksum"] and digest.hexdigest() != record["checksum"]:
                raise Refused(f"the {size} bytes that arrived do not have the announced SHA-256")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        self._store.set_file(record["id"], bytes=size)
        return Response(status_code=200, headers={"etag": f'"{digest.hexdigest()[:32]}"'})

    async def preprocess(self, request: Request) -> Response:
        """Answer the last step: the file is complete, and is read in a lane of its own."""
        record = self._file(request)
        if not self._store.file_path(record["id"]).is_file():
            raise Refused(f"file {record['id']} has no content yet; upload it first")
        if record["status"] == "PENDING" and record["purpose"] != "fine-tune":
            self._store.set_file(record["id"], status="COMPLETED")  # only training files are looked at
        elif record["status"] == "PENDING":
            self._store.set_file(record["id"], status="QUEUED")
            self._reading.submit(self._validate, record["id"])
        return JSONResponse(answers.file(self._file(request)))

    def resume_validation(self) -> None:
        """Read the files that the last server took and did not finish reading."""
        for record in self._store.files():
            if record["status"] in ("QUEUED", "RUNNING"):
                self._reading.submit(self._validate, record["id"])

    def _validate(self, file_id: str) -> None:
        record = self._store.file(file_id)
        if record is None:
            return
        self._store.set_file(file_id, status="RUNNING")
        try:
            report = validate.report(self._store.file_path(file_id), record["filename"])
            status = "COMPLETED" if report["valid"] else "INVALID_FORMAT"
        except Exception as error:  # noqa: BLE001 - whatever it was, the file is marked and its owner told
            _log.exception("file %s could not be read", file_id)
            report, status = {"valid": False, "error": str(error), "error_type": "FAILED"}, "FAILED"
        self._store.set_file(file_id, status=status, report=report)

    # models

    async def model_limits(self, request: Request) -> Response:
        name = request.query_params.get("model_name", "")
        if not name:
            raise Refused("model_name is missing", param="model_name")
        return JSONResponse(limits.limits(name))

    async def supported_models(self, _: Request) -> Response:
        return JSONResponse({"models": list(limits.EXAMPLE_MODELS)})

    async def estimate_price(self, request: Request) -> Response:
        body = await _json(request)
        files = {"train": self._named_file(body, "training_file")}
        if body.get("validation_file"):
            files["eval"] = self._named_file(body, "validation_file")
        for split, record in files.items():
            if record["status"] != "COMPLETED":
                reason = "file_invalid" if record["status"] == "INVALID_FORMAT" else "file_not_validated"
                return JSONResponse({"estimation_available": False, "unavailable_reason": f"{split}_{reason}"})
        held_out = files["eval"]["bytes"] if "eval" in files else 0  # a byte is a token here
        answer = {
            "estimation_available": True,
            "allowed_to_proceed": True,
            "estimated_total_price": 0.0,
            "estimated_train_token_count": files["train"]["bytes"] * (_integer(body, "n_epochs") or 1),
            "estimated_eval_token_count": held_out * (_integer(body, "n_evals") or 0),
            "user_limit": 1e9,
        }
        return JSONResponse(answer)

    # jobs

    async def list_jobs(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [answers.job(one) for one in self._store.jobs()]})

    async def create_job(self, request: Request) -> Response:
        config = admit(await _json(request), self._store)
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
        record = self._job(request)
        return JSONResponse(answers.full_job(record, self._store.events(record["id"])))

    async def delete_job(self, request: Request) -> Response:
        record = self._job(request)
        self._store.delete_job(record["id"])
        shutil.rmtree(self._store.checkpoint_path(record["id"], 0).parent, ignore_errors=True)
        return JSONResponse({"message": "Fine-tune job deleted successfully"})

    async def cancel_job(self, request: Request) -> Response:
        """Stop a job: at once when it waits, at its next step when it runs."""
        record = self._job(request)
        job_id = record["id"]
        waiting = self._store.move_job(job_id, expected=("pending", "queued"), to="cancel_requested")
        if not waiting and not self._store.move_job(job_id, expected=("running",), to="cancel_requested"):
            raise Refused(f"job {job_id} is {self._store.status(job_id)} and cannot be cancelled")
        self._store.add_event(job_id, "cancel_requested", "Cancelling was asked for.")
        answer = answers.job(self._known_job(job_id))
        if waiting:
            message = "The job was cancelled before it ran."
            self._store.end_job(
                job_id, expected=("cancel_requested",), to="cancelled", event="job_stopped", message=message
            )
        return JSONResponse(answer)

    async def list_events(self, request: Request) -> Response:
        found = self._store.events(self._job(request)["id"])
        return JSONResponse({"object": "list", "data": [answers.event(one) for one in found]})

    async def list_checkpoints(self, request: Request) -> Response:
        record = self._job(request)
        return JSONResponse({"data": answers.checkpoints(record, self._store.checkpoints(record["id"]))})

    async def list_metrics(self, request: Request) -> Response:
        """Answer the rows between two steps and two times, all inclusive; training rows thinned to `resolution`."""
        job_id = self._job(request)["id"]
        asked = dict(request.query_params) | await _json(request)
        bounds = {f"{end}_step": _integer(asked, f"global_step_{end}") for end in ("from", "to")}
        rows = _between(self._store.metrics(job_id, **bounds), asked)
        return JSONResponse({"metrics": _thinned(rows, _integer(asked, "resolution"))})

    async def download(self, request: Request) -> Response:
        """Answer an archive, with ranges; `checkpoint_step` names an intermediate one."""
        address, given_step = split_checkpoint(request.query_params.get("ft_id", ""))
        step = _integer(request.query_params, "checkpoint_step") or given_step
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
        if not path.is_file() and step is not None:  # an intermediate LoRA checkpoint is an adapter alone
            path = self._store.checkpoint_path(job["id"], at, ".adapter.tar.zst")
        if not path.is_file():
            raise Refused(f"job {job['id']} has no {kind} checkpoint at step {at}", param="checkpoint", status=404)
        name = f"{job['output_name'].replace('/', '-')}.tar.zst"
        return FileResponse(path, media_type="application/octet-stream", filename=name)

    async def whoami(self, _: Request) -> Response:
        project = {"id": "local", "name": "local", "slug": "local"}
        organization = {"id": "local", "name": "local"}
        return JSONResponse(
            {"type": "api_key", "api_key": {"id": "local"}, "organization": organization, "project": project}
        )

    def _file(self, request: Request) -> Record:
        file_id = request.path_params["id"]
        record = self._store.file(file_id)
        if record is None:
            raise Refused(f"there is no file {file_id}", param="id", status=404)
        return record

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


async def _form(request: Request) -> dict[str, str]:
    """Return the fields of an upload's first step: multipart, urlencoded or in the query; sources differ."""
    fields = {name: str(value) for name, value in request.query_params.items()}
    async with request.form(max_fields=20) as form:
        texts: dict[str, str] = {name: value for name, value in form.items() if isinstance(value, str)}
        return fields | texts


async def _json(request: Request) -> Record:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise Refused(f"the body is larger than {_MAX_BODY} bytes")
    try:
        value = json.loads(body or b"{}")
        json.dumps(value, ensure_ascii=False).encode()  # half a character can be neither stored nor sent back
    except (ValueError, RecursionError):
        raise Refused("the body is no JSON") from None
    if not isinstance(value, dict):
        raise Refused("the body is no JSON object")
    return value


def _integer(given: Mapping[str, Any], name: str) -> int | None:
    """Return a parameter as a whole number; clients echo floats, so 6.0 is one."""
    value = given.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
        if number == int(number) and abs(number) < 2**53:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise Refused(f"{name} is {value!r}; it must be a whole number", param=name)


def _between(rows: list[Record], asked: Mapping[str, Any]) -> list[Record]:
    """Return the rows logged between two times; a time without a zone is UTC."""
    bounds = []
    for name in ("logged_at_from", "logged_at_to"):
        try:
            time_ = datetime.fromisoformat(str(asked[name])) if asked.get(name) else None
        except ValueError:
            raise Refused(f"{name} is {asked[name]!r}; it must be an ISO 8601 time", param=name) from None
        bounds.append(time_ if time_ is None or time_.tzinfo else time_.replace(tzinfo=UTC))
    # in whole nanoseconds: a float of this size is off by more than the microsecond that a bound may be exact to
    first, last = (None if at is None else (at - _EPOCH) // timedelta(microseconds=1) * 1000 for at in bounds)
    return [r for r in rows if (first is None or r["timestamp"] >= first) and (last is None or r["timestamp"] <= last)]


def _thinned(rows: list[Record], resolution: int | None) -> list[Record]:
    """Return at most `resolution` training rows, evenly chosen, and every evaluation row."""
    training = [index for index, row in enumerate(rows) if "train/loss" in row]
    if resolution is None or resolution >= len(training):
        return rows
    if resolution < 1:
        raise Refused(f"resolution is {resolution}; it must be at least 1", param="resolution")
    kept = {training[k * len(training) // resolution] for k in range(resolution)}
    return [row for index, row in enumerate(rows) if index in kept or "train/loss" not in row]


def _envelope(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Record:
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _error(status: int, message: str, *, param: str | None = None) -> JSONResponse:
    return JSONResponse(_envelope(status, message, param=param), status)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - Starlette's registry says so
    return _error(error.status, error.message, param=error.param)


async def _failed(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _error(500, f"the local server failed: {type(error).__name__}; its log says more")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return _error(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # to nobody: the client broke the connection off, which is no failure of ours
