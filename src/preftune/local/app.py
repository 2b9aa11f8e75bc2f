"""The application: every route in one table, the key that lets in, and the envelope of errors. Source: docs/wire.md.

Every route stands under /v1 (and under /v1/v1, for clients whose base URL already ends in it). Errors have the envelope
`{"error": {message, type, param, code}}`. Handlers run on the server's loop: they only look up and note down; reading a
file's content is a thread's work, training is the worker's.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from preftune.local.admission import Refused
from preftune.local.file_routes import FileRoutes
from preftune.local.job_routes import JobRoutes
from preftune.local.reading import error_answer
from preftune.local.store import Store

_log = logging.getLogger("preftune")


def make_app(store: Store, *, api_key: str, wake: Callable[[], None]) -> Starlette:
    """Return the application; `wake` tells the worker that a job waits."""
    files, jobs = FileRoutes(store), JobRoutes(store, wake)
    v1 = [
        Route("/files", files.list_files, methods=["GET"]),
        Route("/files", files.open_upload, methods=["POST"]),
        Route("/files/{id}", files.get_file, methods=["GET"]),
        Route("/files/{id}", files.delete_file, methods=["DELETE"]),
        Route("/files/{id}/content", files.get_content, methods=["GET"]),
        Route("/files/{id}/preprocess", files.preprocess, methods=["POST"]),
        Route("/fine-tunes/models/limits", jobs.model_limits, methods=["GET"]),
        Route("/fine-tunes/models/supported", jobs.supported_models, methods=["GET"]),
        Route("/fine-tunes/estimate-price", jobs.estimate_price, methods=["POST"]),
        Route("/fine-tunes", jobs.list_jobs, methods=["GET"]),
        Route("/fine-tunes", jobs.create_job, methods=["POST"]),
        Route("/fine-tunes/{id}", jobs.get_job, methods=["GET"]),
        Route("/fine-tunes/{id}", jobs.delete_job, methods=["DELETE"]),
        Route("/fine-tunes/{id}/cancel", jobs.cancel_job, methods=["POST"]),
        Route("/fine-tunes/{id}/events", jobs.list_events, methods=["GET"]),
        Route("/fine-tunes/{id}/checkpoints", jobs.list_checkpoints, methods=["GET"]),
        Route("/fine-tunes/{id}/metrics", jobs.list_metrics, methods=["GET"]),
        Route("/finetune/download", jobs.download, methods=["GET"]),
    ]
    app = Starlette(
        routes=[
            Mount("/v1/v1", routes=v1),
            Mount("/v1", routes=v1),
            Route("/v3/whoami", jobs.whoami, methods=["GET"]),
            Route("/storage/{id}", files.receive, methods=["PUT"]),
        ],
        exception_handlers={Refused: _refused, HTTPException: _http_error, ClientDisconnect: _gone, Exception: _failed},
        lifespan=files.life,
    )
    app.add_middleware(_KeyRequired, api_key=api_key)
    files.resume_validation()
    return app


class _KeyRequired:
    """Lets in whoever carries the key; a presigned storage address carries a token of its own."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app, self._expected = app, f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/storage/"):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                await error_answer(401, "the API key is missing or wrong")(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - Starlette's registry says so
    return error_answer(error.status, error.message, param=error.param)


async def _failed(request: Request, error: Exception) -> Response:
    _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_answer(500, f"the local server failed: {type(error).__name__}; its log says more")


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    return error_answer(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _gone(_: Request, __: Exception) -> Response:
    return Response(status_code=400)  # to nobody: the client broke the connection off, which is no failure of ours
