"""Reading answers as models, and writing ids into paths: what every endpoint does."""

from __future__ import annotations

import json
from typing import Any, TypeVar
from urllib.parse import quote

from preftune.api.models import Model
from preftune.api.steps import Response
from preftune.errors import APIResponseValidationError, ConfigError

M = TypeVar("M", bound=Model)


def read(response: Response, model: type[M]) -> M:
    """Return the answer as a model. Raises APIResponseValidationError when it is no JSON object."""
    return model.model_validate(read_object(response))


def read_list(response: Response, key: str, model: type[M]) -> list[M]:
    """Return the list that stands under `key`; a missing one is empty."""
    return [model.model_validate(item) for item in read_items(response, key)]


def read_items(response: Response, key: str) -> list[dict[str, Any]]:
    """Return the objects in the list under `key`, untouched."""
    items = read_object(response, bare_list_as=key).get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _unreadable(response, f"{key!r} is no list of objects")
    return items


def read_object(response: Response, *, bare_list_as: str = "") -> dict[str, Any]:
    """Return the answer's JSON object; an empty body reads as an empty object."""
    try:
        value = json.loads(response.content or b"{}")
    except (ValueError, RecursionError):
        raise _unreadable(response, "the body is no JSON") from None
    if isinstance(value, list) and bare_list_as:
        return {bare_list_as: value}
    if not isinstance(value, dict):
        raise _unreadable(response, "the body is no JSON object")
    return value


def path_id(given: object, kind: str) -> str:
    """Return an id, or that of an object, quoted for a path."""
    return quote(id_of(given, kind), safe="")


def id_of(given: object, kind: str) -> str:
    """Return an id, or that of an object. Raises ConfigError for what is none, or would change a path."""
    text = given if isinstance(given, str) else getattr(given, "id", None)
    if not isinstance(text, str) or text in ("", ".", ".."):
        raise ConfigError(
            f"{kind}: expected an id or an object that has one, found {given!r}; take it from list() or create()"
        )
    return text


def _unreadable(response: Response, reason: str) -> APIResponseValidationError:
    """Return the error for an answer that does not read; it quotes nothing, for a server may echo what is secret."""
    request = response.request
    kind = response.headers.get("content-type", "of no stated type").partition(";")[0]
    found = f"{response.status}, {reason} ({kind}, {len(response.content):,} bytes)"
    return APIResponseValidationError(
        f"{request.method} {request.path}: {found}; is base_url an API of this kind?",
        method=request.method,
        path=request.path,
    )
