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
from pathlib import Path
from typing import Any

import preftune
from preftune.api.steps import Request, Response
from preftune.client.connection import Connection
from preftune.errors import status_class, status_message

_SHORTEST_SECRET = 8  # characters


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
    if isinstance(request.body, Path):
        arguments["headers"]["content-length"] = str(request.body.stat().st_size)
    if content is not None:
        arguments["content"] = content
    if _is_absolute(request.path):
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


def host(request: Request, connection: Connection) -> str:
    """Return the address that a request goes to, without path and query."""
    return "/".join(request.path.split("/")[:3]) if _is_absolute(request.path) else connection.base_url


def is_success(status: int) -> bool:
    """Tell whether a status is a 2xx."""
    return 200 <= status < 300  # noqa: PLR2004


def answer(request: Request, came: Response, connection: Connection) -> Response:
    """Return what came back, or raise the error that its status stands for."""
    if is_success(came.status) or came.status in request.expect:
        return came
    body, path, headers = _body(came.content), request.path.partition("?")[0], came.headers
    message = status_message(request.method, path, came.status, body)
    raise status_class(came.status)(
        _without(message, connection.api_key.reveal()),
        method=request.method,
        path=path,
        status=came.status,
        body=body,
        request_id=headers.get("x-request-id"),
        retry_after=_retry_after(headers),
        retry_hint={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
    )


def _without(message: str, key: str) -> str:
    """Return a server's words without the key, should it echo it; a key of a few letters is no secret, but a word."""
    return message.replace(key, "…") if len(key) >= _SHORTEST_SECRET else message


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
