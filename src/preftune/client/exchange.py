"""One exchange in plain values: what a request becomes on its way out, what an answer becomes on its way in.

The API's key and headers go to the API alone; an absolute URL gets nothing of them. No HTTP library is imported here.
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

import preftune
from preftune.api.steps import Into, Part, Request, Response
from preftune.client.connection import Connection
from preftune.errors import APIError, IntegrityError, status_class, status_message

_SHORTEST_SECRET = 8  # characters
_KEYS_OF_OTHERS = ("wandb_key", "hf_api_token")
_PARTIAL = 206


def destination(request: Request, connection: Connection) -> tuple[str, bool]:
    """Return which of the driver's clients a request goes through, and whether it needs TLS (and so the CA bundle)."""
    if _is_absolute(request.path):
        secure = request.path.startswith("https://")
        return ("storage, TLS" if secure else "storage"), secure
    return "api", connection.base_url.startswith("https://")


def _is_absolute(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def arguments(request: Request, connection: Connection, content: Any) -> dict[str, Any]:
    """Return what httpx builds the request from; an absolute URL gets nothing of the API's."""
    arguments: dict[str, Any] = {
        "method": request.method,
        "headers": dict(request.headers),
    }
    if isinstance(request.body, Part):
        arguments["headers"]["content-length"] = str(request.body.length)
    if content is not None:
        arguments["content"] = content
    if _is_absolute(request.path):
        _refuse_plain_text(request, connection)
        return arguments | {"url": request.path}
    headers = {
        "accept": "application/json",
        "authorization": f"Bearer {connection.api_key.reveal()}",
        "user-agent": f"preftune/{preftune.__version__} python/{sys.version_info.major}.{sys.version_info.minor}",
    }
    extra = {name.lower(): value for name, value in connection.extra_headers.items()}
    arguments["headers"] = headers | arguments["headers"] | extra
    params = {**(request.params or {}), **connection.extra_query}
    if params:
        arguments["params"] = params
    if request.json is not None:
        arguments["json"] = {**request.json, **connection.extra_body} if connection.extra_body else request.json
    if request.form is not None:
        arguments["files"] = {name: (None, value) for name, value in request.form.items()}
    path = "/" + request.path.lstrip("/")
    version = "" if re.match(r"/v\d+/", path) else "/v1"
    return arguments | {"url": f"{connection.base_url}{version}{path}"}


def _refuse_plain_text(request: Request, connection: Connection) -> None:
    """Keep data that is meant for an https API from a storage that is not."""
    if connection.base_url.startswith("https://") and not request.path.startswith("https://"):
        where = f"{request.method} {bare(request.path)}"
        raise APIError(
            f"{where}: expected https, as for the API itself, found http; nothing was sent, tell the provider",
            method=request.method,
            path=bare(request.path),
        )


def bare(path: str) -> str:
    """Return a path or an address without its query, where presigned ones carry a signature."""
    return path.partition("?")[0]


def host(request: Request, connection: Connection) -> str:
    """Return the address that a request goes to, without path and query."""
    return "/".join(request.path.split("/")[:3]) if _is_absolute(request.path) else connection.base_url


def is_success(status: int) -> bool:
    """Tell whether a status is a 2xx."""
    return 200 <= status < 300  # noqa: PLR2004


def place(into: Into, status: int, headers: Mapping[str, str]) -> int:
    """Return the byte at which an answer goes on in its file.

    Raises IntegrityError when it is of something else than what the file holds.
    """
    encoding = headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise IntegrityError(f"download: expected the bytes as they are, found {encoding}; is a proxy in between?")
    if into.tag is not None and headers.get("etag", into.tag) != into.tag:
        raise IntegrityError("download: expected what was there at its beginning, found that it changed; begin again")
    if status != _PARTIAL:
        return 0
    begins = re.match(r"bytes (\d+)-", headers.get("content-range", ""))
    if begins is None or int(begins[1]) != into.at:
        raise IntegrityError(
            f"download: expected the bytes from {into.at:,} on, found {headers.get('content-range')!r}; begin again"
        )
    return into.at


def answer(request: Request, came: Response, connection: Connection) -> Response:
    """Return what came back, or raise the error that its status stands for."""
    if is_success(came.status) or came.status in request.expect:
        return came
    path, headers = bare(request.path), came.headers
    body = _body(_without(came.content, _secrets(request, headers, connection)))
    raise status_class(came.status)(
        status_message(request.method, path, came.status, body),
        method=request.method,
        path=path,
        status=came.status,
        body=body,
        request_id=headers.get("x-request-id"),
        retry_after=_retry_after(headers),
        retry_hint={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
    )


def _secrets(request: Request, headers: Mapping[str, str], connection: Connection) -> list[str]:
    """Return what a server may say and nobody may read: the key, keys of other services, a signed address's query."""
    sent = {**(request.json if isinstance(request.json, dict) else {}), **connection.extra_body}
    addresses = [headers.get("location", ""), *([request.path] if _is_absolute(request.path) else [])]
    signed = [pair.partition("=")[2] for address in addresses for pair in address.partition("?")[2].split("&")]
    return [
        connection.api_key.reveal(),
        *connection.extra_headers.values(),
        *(str(sent[name]) for name in _KEYS_OF_OTHERS if sent.get(name)),
        *signed,
        *map(unquote, signed),  # as it travels, and as it is meant
    ]


def _without(content: bytes, secrets: list[str]) -> bytes:
    """Return a server's words without secrets; one of a few letters is no secret, but a word."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            content = content.replace(secret.encode(), "…".encode())
    return content


def _body(content: bytes) -> Any:
    try:
        return json.loads(content) if content else None
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that the server asks to wait: milliseconds first, then seconds or a date."""
    for name, scale in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            seconds = float(headers.get(name, "")) / scale
        except ValueError:
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    try:
        return max(0.0, parsedate_to_datetime(headers.get("retry-after", "")).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
