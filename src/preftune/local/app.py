"""The application: every route in one table, the gates before them, and the envelope of errors. Source: docs/wire.md.

Every route stands under /v1 (and under /v1/v1, for clients whose base URL already ends in it). Errors have the envelope
`{"error": {message, type, param, code}}`. Handlers run on the server's loop: they only look up and note down; reading a
file's content is a thread's work, training is the worker's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import cache

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router

from preftune.local.clock import Clock
from preftune.local.description import BINARY, Endpoint, Handler, Schema, describe
from preftune.local.file_routes import FileRoutes
from preftune.local.gates import Bounded, Faulty, KeyRequired, Record, path_of
from preftune.local.job_routes import JobRoutes
from preftune.local.model_routes import ModelRoutes
from preftune.local.options import Options
from preftune.local.reading import Json, error_answer
from preftune.local.refusal import Refused
from preftune.local.signing import Signer
from preftune.local.storage_routes import StorageRoutes
from preftune.local.store import Store

_log = logging.getLogger("preftune")


def make_app(store: Store, options: Options, *, wake: Callable[[], None]) -> Starlette:
    """Return the application; `wake` tells the worker that a job waits."""
    signer = Signer(store)
    files = FileRoutes(store, signer, options.faults)
    endpoints = _endpoints(
        files,
        StorageRoutes(store, signer),
        JobRoutes(store, signer, options.faults, clock=Clock(store), wake=wake, event_case=options.event_case),
        ModelRoutes(store),
    )
    v1 = _routes(endpoint for endpoint in endpoints if endpoint.root == "/v1")
    app = Starlette(
        routes=[
            Mount("/v1/v1", Router(v1, redirect_slashes=False)),
            Mount("/v1", Router(v1, redirect_slashes=False)),
            *_routes(endpoint for endpoint in endpoints if endpoint.root != "/v1"),
            Route("/openapi.json", _description(endpoints)),
        ],
        exception_handlers={Refused: _refused, HTTPException: _http_error, ClientDisconnect: _gone, Exception: _failed},
        lifespan=files.life,
    )
    app.router.redirect_slashes = False
    app.add_middleware(Bounded)
    app.add_middleware(Faulty, faults=options.faults)
    app.add_middleware(KeyRequired, api_key=options.api_key)
    app.add_middleware(Record, requests=options.requests)
    files.resume_validation()
    return app


def _endpoints(files: FileRoutes, storage: StorageRoutes, jobs: JobRoutes, models: ModelRoutes) -> list[Endpoint]:
    signed: dict[str, type] = {"expires": int, "signature": str}
    filters: dict[str, type] = {"global_step_from": int, "global_step_to": int, "resolution": int}
    filters |= {"logged_at_from": str, "logged_at_to": str}
    part: dict[str, type] = {"ft_id": str, "checkpoint": str, "checkpoint_step": int}
    twice, none, ranged = (409,), (404,), (404, 416)
    parts, price = "/files/multipart", "/fine-tunes/estimate-price"
    tokens = "/fine-tunes/{id}/download-tokenized-dataset"
    return [
        Endpoint("GET", "/files", files.list_files, "FileList"),
        Endpoint("POST", "/files", files.open_upload, None, form="UploadFields", status=302, errors=twice),
        Endpoint("POST", "/files/upload", files.upload, "File", form="UploadFile", errors=twice),
        Endpoint("POST", f"{parts}/initiate", files.initiate, "Parts", json="PartsRequest", errors=twice),
        Endpoint("POST", f"{parts}/complete", files.complete, "Completed", json="CompleteRequest", errors=none),
        Endpoint("POST", f"{parts}/abort", files.abort, "Aborted", json="UploadIds", errors=none),
        Endpoint("GET", "/files/{id}", files.get_file, "File", errors=none),
        Endpoint("DELETE", "/files/{id}", files.delete_file, "DeletedFile", errors=none),
        Endpoint("GET", "/files/{id}/content", files.get_content, BINARY, errors=ranged),
        Endpoint("POST", "/files/{id}/preprocess", files.preprocess, "File", errors=none),
        Endpoint("GET", "/fine-tunes/models/limits", models.limits, "Limits", query={"model_name": str}),
        Endpoint("GET", "/fine-tunes/models/supported", models.supported, "Models"),
        Endpoint("POST", price, models.estimate_price, "AnyPrice", json="PriceRequest"),
        Endpoint("POST", "/fine-tunes/preview", models.preview, "Preview", json="PreviewRequest"),
        Endpoint("GET", "/fine-tunes", jobs.list_jobs, "JobList"),
        Endpoint("POST", "/fine-tunes", jobs.create_job, "Job", json="CreateRequest", errors=(422,)),
        Endpoint("GET", "/fine-tunes/{id}", jobs.get_job, "FullJob", errors=none),
        Endpoint("DELETE", "/fine-tunes/{id}", jobs.delete_job, "DeletedJob", errors=none),
        Endpoint("POST", "/fine-tunes/{id}/cancel", jobs.cancel_job, "Job", errors=none),
        Endpoint("GET", "/fine-tunes/{id}/events", jobs.list_events, "EventList", errors=none),
        Endpoint("GET", "/fine-tunes/{id}/checkpoints", jobs.list_checkpoints, "CheckpointList", errors=none),
        Endpoint("GET", "/fine-tunes/{id}/metrics", jobs.list_metrics, "Metrics", query=filters, errors=none),
        Endpoint("GET", tokens, jobs.tokenized_dataset, "Download", errors=none),
        Endpoint("GET", "/finetune/download", jobs.download, BINARY, query=part, errors=ranged),
        Endpoint("GET", "/v3/whoami", models.whoami, "WhoAmI", root=""),
        Endpoint("PUT", "/storage/files/{id}", storage.put_file, None, query=signed, errors=(403,), root=""),
        Endpoint("PUT", "/storage/parts/{id}/{number}", storage.put_part, None, query=signed, errors=(403,), root=""),
        Endpoint(
            "GET", "/storage/tokens/{id}", storage.get_tokens, BINARY, query=signed, errors=(403, *ranged), root=""
        ),
    ]


def _routes(endpoints: Iterable[Endpoint]) -> list[Route]:
    """Return a route for each path, so that a 405 can name all methods that it has."""
    paths: dict[str, dict[str, Handler]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method] = endpoint.handler
    return [Route(path, _by_method(handlers), methods=[*handlers]) for path, handlers in paths.items()]


def _by_method(handlers: dict[str, Handler]) -> Handler:
    async def answer(request: Request) -> Response:
        return await handlers["GET" if request.method == "HEAD" else request.method](request)

    return answer


def _description(endpoints: list[Endpoint]) -> Callable[[Request], Response]:
    @cache
    def described() -> Schema:
        from preftune import __version__  # noqa: PLC0415

        return describe(endpoints, __version__)

    return lambda _: Json(described())


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - Starlette's registry says so
    return error_answer(error.status, error.message, param=error.param)


async def _failed(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, path_of(request.scope), exc_info=error)
    return error_answer(500, f"the local server failed: {type(error).__name__}; its log says more")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    answer = error_answer(error.status_code, f"{request.method} {path_of(request.scope)}: {error.detail}")
    answer.headers.update(error.headers or {})
    return answer


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # to nobody: the client broke the connection off, which is no failure of ours
