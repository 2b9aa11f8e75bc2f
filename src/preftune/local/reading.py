"""What a request says: its form, its JSON, its numbers and times; and how a refusal is written."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, overload

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from preftune.local.database import Record
from preftune.local.refusal import Refused, shown

if TYPE_CHECKING:
    from preftune.local import wire

_MAX_FIELDS = 20  # of a form
_MAX_TEXT = 1000  # characters of a name
_EXACT = 2**53 - 1  # the largest whole number that a float holds with its neighbours
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # and halves of a character
_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 409: "conflict_error",
    429: "rate_limit_error",
}  # fmt: skip


class Json(Response):
    """An answer in JSON; a number that JSON cannot hold is null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the content as bytes."""
        return msgspec.json.encode(content)


@asynccontextmanager
async def read_form(request: Request) -> AsyncIterator[dict[str, Any]]:
    """Yield the fields of an upload: multipart, urlencoded or in the query, as sources disagree; files as they came."""
    try:
        form = await request.form(max_fields=_MAX_FIELDS, max_files=1)
    except (UnicodeError, LookupError) as reason:
        raise Refused(f"the form cannot be read in the charset that it names: {reason}") from None
    try:
        yield {**request.query_params, **form}
    finally:
        await form.close()


async def read_json(request: Request) -> Record:
    """Return the JSON object of a body; an empty body is an empty object."""
    body = b"".join([chunk async for chunk in request.stream()])
    try:
        value = json.loads(body or b"{}", parse_constant=_no_number, parse_float=_finite)
        json.dumps(value, ensure_ascii=False).encode()  # half a character can be neither stored nor sent back
    except (ValueError, RecursionError):
        raise Refused("the body is no JSON") from None
    if not isinstance(value, dict):
        raise Refused("the body is no JSON object")
    return value


def _no_number(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def text(given: Mapping[str, Any], name: str, *, needed: bool = False) -> str:
    """Return a parameter that is text; absent is empty, and refused when it is needed."""
    value = given.get(name) or ""
    if not isinstance(value, str):
        raise Refused(f"{name} must be text", param=name)
    if needed and not value:
        raise Refused(f"{name} is missing", param=name)
    if _CONTROL.search(value) or len(value) > _MAX_TEXT:
        raise Refused(f"{name} must be at most {_MAX_TEXT} characters, none of them a control character", param=name)
    return value


@overload
def integer(
    given: Mapping[str, Any], name: str, *, least: int = ..., most: int = ..., needed: Literal[True]
) -> int: ...
@overload
def integer(given: Mapping[str, Any], name: str, *, least: int = ..., most: int = ...) -> int | None: ...
def integer(
    given: Mapping[str, Any], name: str, *, least: int = -_EXACT, most: int = _EXACT, needed: bool = False
) -> int | None:
    """Return a parameter as a whole number within bounds; clients echo floats, so 6.0 is one."""
    value = given.get(name)
    if value is None or value == "":
        if needed:
            raise Refused(f"{name} is missing", param=name)
        return None
    try:
        number = float(value)
        if not isinstance(value, bool) and number == int(number) and least <= int(number) <= most:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    bounds = "" if (least, most) == (-_EXACT, _EXACT) else f" from {least} to {most}"
    raise Refused(f"{name} is {shown(value)}; it must be a whole number{bounds}", param=name)


def origin(request: Request) -> str:
    """Return where this server is found: under the name by which the request found it."""
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise Refused(f"the Host header is {shown(host)}; it must be a name or an address, with a port or without")
    return f"{request.url.scheme}://{host}"


def between(rows: list[Record], asked: Mapping[str, Any]) -> list[Record]:
    """Return the rows logged between two times; a time without a zone is UTC."""
    bounds = []
    for name in ("logged_at_from", "logged_at_to"):
        try:
            time_ = datetime.fromisoformat(str(asked[name])) if asked.get(name) else None
        except ValueError:
            raise Refused(f"{name} is {shown(asked[name])}; it must be an ISO 8601 time", param=name) from None
        bounds.append(time_ if time_ is None or time_.tzinfo else time_.replace(tzinfo=UTC))
    # in whole nanoseconds: a float of this size is off by more than the microsecond that a bound may be exact to
    first, last = (None if at is None else (at - _EPOCH) // timedelta(microseconds=1) * 1000 for at in bounds)
    return [r for r in rows if (first is None or r["timestamp"] >= first) and (last is None or r["timestamp"] <= last)]


def thinned(rows: list[Record], resolution: int | None) -> list[Record]:
    """Return at most `resolution` training rows, evenly chosen, and every evaluation row; all rows below 1."""
    training = [index for index, row in enumerate(rows) if "train/loss" in row]
    if resolution is None or not 0 < resolution < len(training):
        return rows
    kept = {training[k * len(training) // resolution] for k in range(resolution)}
    return [row for index, row in enumerate(rows) if index in kept or "train/loss" not in row]


def envelope(status: int, message: str, *, param: str | None = None, code: str | None = None) -> wire.Error:
    """Return the body of an error."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")  # noqa: PLR2004 - as HTTP
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_answer(status: int, message: str, *, param: str | None = None) -> Json:
    """Return an error as an answer."""
    return Json(envelope(status, message, param=param), status)
