"""What a request passes before a route sees it: the record, the key, the faults, the bound on its body.

Each gate is an ASGI application around the next one. Invariant: no key and no content of a file is recorded.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
import time
from collections import deque
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from preftune.local import limits
from preftune.local.faults import Fault, Faults
from preftune.local.options import RecordedRequest
from preftune.local.reading import error_answer
from preftune.local.refusal import Refused

OPEN = ("/storage/", "/openapi.json")  # signed addresses, and the description: no key
_KEPT_BODY = 64 * 2**10  # bytes of a body that the record keeps
_CLOSE = "preftune.close"  # of a scope: closes the connection
_HIDDEN = "***"
_SECRET_NAME = re.compile("auth|cookie|api-key|token|secret")  # of a header
_SECRETS = frozenset({"wandb_key", "wandb_api_key", "hf_api_token"})  # of a body
_log = logging.getLogger("preftune.local")


class Breakable:
    """Lets the gates behind it break a connection off, which ASGI has no word for: the server's own object can."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope[_CLOSE] = receive.__self__.transport.close  # type: ignore[attr-defined]  # of uvicorn's request
        await self._app(scope, receive, send)


class Record:
    """Writes down every request; the oldest of more than 2,000 are forgotten."""

    def __init__(self, app: ASGIApp, requests: deque[RecordedRequest]) -> None:
        self._app, self._requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, status, begin, noted = bytearray(), None, time.monotonic(), False
        keeps = not (scope["path"].startswith("/storage/") or _is_form(scope))

        def note() -> None:
            nonlocal noted
            if not noted:
                noted = True
                self._note(scope, bytes(body), status, time.monotonic() - begin)

        async def listen() -> Message:
            message = await receive()
            if keeps and len(body) < _KEPT_BODY:
                body.extend(message.get("body", b"")[: _KEPT_BODY - len(body)])
            return message

        async def speak(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                note()  # before whoever asked can look
            await send(message)

        try:
            await self._app(scope, listen, speak)
        except Exception:
            status = status or 500  # which is what the application says of it
            raise
        finally:
            note()

    def _note(self, scope: Scope, body: bytes, status: int | None, seconds: float) -> None:
        came = [(name, value) for name, value in Headers(scope=scope).items() if name != "authorization"]
        headers = {name: _HIDDEN if _SECRET_NAME.search(name) else value for name, value in came}
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if "signature" in query:
            query["signature"] = _HIDDEN
        method, said = scope["method"], _without_secrets(body)
        self._requests.append(RecordedRequest(method, scope["path"], query, headers, said, status, seconds))
        quiet = method in ("GET", "HEAD") and status is not None and status < 400  # noqa: PLR2004 - success
        _log.log(logging.DEBUG if quiet else logging.INFO, "%s %s %s", method, path_of(scope), status or "broken off")


def _without_secrets(body: bytes) -> bytes:
    """Hide the keys in a body; one that is no whole JSON ends before the first of their names."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return body[: min((at for name in _SECRETS if (at := body.find(name.encode())) >= 0), default=len(body))]
    if not isinstance(said, dict) or _SECRETS.isdisjoint(said):
        return body
    return json.dumps(said | dict.fromkeys(_SECRETS & said.keys(), _HIDDEN)).encode()


def path_of(scope: Scope) -> str:
    """Return a request's path as it came, percent-encoded, so that it cannot break a line of a log."""
    return str(scope["raw_path"].decode("ascii", "backslashreplace"))


class Faulty:
    """Does what the rules say to a request, and else nothing."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app, self._faults = app, faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._faults.of_request(scope["method"], scope["path"]) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
        elif fault.status:
            await _answer(fault)(scope, receive, send)
        elif fault.action == "slow":
            await asyncio.sleep(fault.amount or 0)
            await self._app(scope, receive, send)
        elif fault.action == "drop":
            await _break_off(scope, receive)
        elif fault.action == "lose":
            await self._app(scope, receive, _nowhere)
            await _break_off(scope, receive)
        else:
            await self._truncate(fault, scope, receive, send)

    async def _truncate(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        left = 0

        async def send_some(message: Message) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                length = int(dict(message["headers"]).get(b"content-length", b"0"))
                left = length // 2 if fault.amount is None else int(fault.amount)
                await send(message)
                return
            some = message.get("body", b"")[:left]
            left -= len(some)
            if some:
                await send({"type": "http.response.body", "body": some, "more_body": True})

        await self._app(scope, receive, send_some)
        await _break_off(scope, receive)


def _answer(fault: Fault) -> ASGIApp:
    status = fault.status or 500
    answer = error_answer(status, f"a fault on command: {fault.text}")
    if fault.retry_after is not None:
        answer.headers["retry-after"] = f"{fault.retry_after:g}"
    return answer


async def _nowhere(_: Message) -> None:
    """Send nothing."""


async def _break_off(scope: Scope, receive: Receive) -> None:
    """Close the connection under the request; what was sent may arrive."""
    scope[_CLOSE]()
    while (await receive())["type"] != "http.disconnect":
        pass


class KeyRequired:
    """Lets in whoever carries the key; a storage address carries a signature of its own."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app, self._expected = app, f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(OPEN):
            given = dict(scope["headers"]).get(b"authorization", b"")
            if not hmac.compare_digest(given, self._expected):
                await error_answer(401, "the API key is missing or wrong")(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Bounded:
    """Stops reading a body that is too large: files have their own bound, everything else that of JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most, came = _most(scope), 0
        said = Headers(scope=scope).get("content-length", "")

        async def listen() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            if came > most or (said.isdigit() and int(said) > most):
                raise Refused(f"the body is larger than {most} bytes", status=413)
            return message

        await self._app(scope, listen, send)


def _most(scope: Scope) -> int:
    form = scope["path"].endswith(("/files", "/files/upload")) and _is_form(scope)
    return limits.MAX_FILE if form or scope["path"].startswith("/storage/") else limits.MAX_BODY


def _is_form(scope: Scope) -> bool:
    return Headers(scope=scope).get("content-type", "").startswith("multipart/")
