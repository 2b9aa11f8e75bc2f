"""The description of the API that this server speaks, in the terms of OpenAPI 3.1, made from the table of endpoints."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import Response

Schema: TypeAlias = dict[str, Any]
Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
BINARY = "application/octet-stream"
_OPEN = ("Job", "FullJob")  # they repeat what was asked for
_REASONS = {
    302: "Where to put the bytes, in Location; the file's id in X-Together-File-Id",
    400: "The request is not fit; `param` names the field",
    401: "The key is missing or wrong",
    403: "The address is not signed, or has expired",
    404: "There is no such thing",
    409: "A file with this content is there already; `file_id` names it",
    413: "The body is too large",
    416: "The range lies outside the file",
    422: "The Idempotency-Key was used for another request",
}
_EVERYWHERE = (400, 401, 413)


@dataclass(frozen=True)
class Endpoint:
    """One route: what is asked, who answers, and what with."""

    method: str
    path: str  # under /v1, unless it says otherwise
    handler: Handler
    answer: str | None  # the name of a type of `wire`, BINARY, or None for an empty one
    query: Mapping[str, type] = field(default_factory=dict)
    json: str | None = None  # as the answer, of what is sent
    form: str | None = None
    status: int = 200
    errors: tuple[int, ...] = ()
    root: str = "/v1"


def describe(endpoints: Iterable[Endpoint], version: str) -> Schema:
    """Return the OpenAPI document of some endpoints."""
    endpoints = list(endpoints)
    schemas, shared = _schemas(endpoints)
    paths: dict[str, Schema] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.root + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "preftune's local server", "version": version},
        "paths": paths,
        "components": {"schemas": shared, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}],
    }


def _schemas(endpoints: list[Endpoint]) -> tuple[dict[str | type, Schema], dict[str, Schema]]:
    """Return the schema of each type that is used, and those that they share, by name."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - only a description needs them, and no start should wait

    from preftune.local import wire  # noqa: PLC0415

    answers = {endpoint.answer for endpoint in endpoints} - {None, BINARY} | {"Error"}
    asked = {type_ for each in endpoints for type_ in (*each.query.values(), each.json, each.form)} - {None}
    types = {name: getattr(wire, name) if isinstance(name, str) else name for name in answers | asked if name}
    adapters = [(str(name), "validation", TypeAdapter(type_)) for name, type_ in types.items()]
    made, definitions = TypeAdapter.json_schemas(adapters, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    shared = dict(sorted(definitions["$defs"].items()))
    schemas = {name: made[str(name), "validation"] for name in types}
    for name in _reached([schemas[name] for name in answers if name], shared):
        if name not in _OPEN and shared[name].get("type") == "object":
            shared[name]["additionalProperties"] = False
    return schemas, shared


def _reached(begin: list[Schema], shared: dict[str, Schema]) -> set[str]:
    """Return the names of the shared schemas that some schemas speak of, directly or not."""
    found: set[str] = set()
    waiting: list[Any] = list(begin)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            name = str(value.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                waiting.append(shared[name])
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return found


def _operation(endpoint: Endpoint, schemas: dict[str | type, Schema]) -> Schema:
    parts = endpoint.path.split("/")
    names = [part[1:-1] for part in parts if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    parameters += [
        {"name": name, "in": "query", "required": False, "schema": schemas[type_]}
        for name, type_ in endpoint.query.items()
    ]
    operation: Schema = {
        "operationId": endpoint.handler.__name__,
        "summary": (endpoint.handler.__doc__ or "").partition("\n")[0],
        "parameters": parameters,
        "responses": _responses(endpoint, schemas),
    }
    content = _content(endpoint, schemas)
    if content:
        operation["requestBody"] = {"required": True, "content": content}
    if endpoint.root != "/v1" and endpoint.path.startswith("/storage"):
        operation["security"] = []
    return operation


def _content(endpoint: Endpoint, schemas: dict[str | type, Schema]) -> Schema:
    if endpoint.json is not None:
        return {"application/json": {"schema": schemas[endpoint.json]}}
    if endpoint.form is not None:
        return {"multipart/form-data": {"schema": schemas[endpoint.form]}}
    if endpoint.method == "PUT":
        return {BINARY: {"schema": {"type": "string", "format": "binary"}}}
    return {}


def _responses(endpoint: Endpoint, schemas: dict[str | type, Schema]) -> Schema:
    answer: Schema = {"description": _REASONS.get(endpoint.status, "As asked")}
    if endpoint.answer == BINARY:
        answer["content"] = {BINARY: {"schema": {"type": "string", "format": "binary"}}}
    elif endpoint.answer is not None:
        answer["content"] = {"application/json": {"schema": schemas[endpoint.answer]}}
    error = {"application/json": {"schema": schemas["Error"]}}
    found: Schema = {str(endpoint.status): answer}
    if endpoint.answer == BINARY:
        found["206"] = answer | {"description": "A part of it, as Range asks"}
    for status in sorted({*_EVERYWHERE, *endpoint.errors}):
        found[str(status)] = {"description": _REASONS[status], "content": error}
    return found
