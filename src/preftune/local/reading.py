"""What a request says: its form, its JSON, its numbers and times; and how a refusal is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from preftune.local.admission import Refused
from preftune.local.store import Record

_MAX_BODY = 4 * 2**20  # bytes of a JSON body
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 409: "conflict_error"}


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of an upload's first step: multipart, urlencoded or in the query; sources differ."""
    fields = {name: str(value) for name, value in request.query_params.items()}
    async with request.form(max_fields=20) as form:
        texts: dict[str, str] = {name: value for name, value in form.items() if isinstance(value, str)}
        return fields | texts


async def read_json(request: Request) -> Record:
    """Return the JSON object of a body; an empty body is an empty object."""
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


def integer(given: Mapping[str, Any], name: str) -> int | None:
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


def between(rows: list[Record], asked: Mapping[str, Any]) -> list[Record]:
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


def thinned(rows: list[Record], resolution: int | None) -> list[Record]:
    """Return at most `resolution` training rows, evenly chosen, and every evaluation row."""
    training = [index for index, row in enumerate(rows) if "train/loss" in row]
    if resolution is None or resolution >= len(training):
        return rows
    if resolution < 1:
        raise Refused(f"resolution is {resolution}; it must be at least 1", param="resolution")
    kept = {training[k * len(training) // resolution] for k in range(resolution)}
    return [row for index, row in enumerate(rows) if index in kept or "train/loss" not in row]


def envelope(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Record:
    """Return the body of an error."""
    kind = _TYPES.get(status, "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_answer(status: int, message: str, *, param: str | None = None) -> JSONResponse:
    """Return an error as an answer."""
    return JSONResponse(envelope(status, message, param=param), status)
