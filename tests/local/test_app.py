import asyncio
from pathlib import Path

import httpx
import pytest

from preftune.local import limits
from preftune.local.app import make_app
from preftune.local.options import Options
from preftune.local.signing import Signer

KEY = "local-test"


def fault(answer):
    """Return status and the facts of an error, after a look at its envelope."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    return answer.status_code, error["type"], error["param"]


async def in_pieces(*pieces):
    for piece in pieces:
        yield piece


# key


@pytest.mark.parametrize("key", [None, "", "wrong", "local-test-and-more", "локальный".encode().decode("latin-1")])
@pytest.mark.parametrize("path", ["/v1/files", "/v1/v1/fine-tunes", "/v3/whoami", "/nowhere"])
def test_nobody_enters_without_the_key(local, key, path):
    headers = {} if key is None else {"authorization": f"Bearer {key}".encode("latin-1")}
    assert fault(local.call("GET", path, key=None, headers=headers)) == (401, "authentication_error", None)


# routes


@pytest.mark.parametrize("prefix", ["/v1", "/v1/v1"])
def test_the_routes_stand_under_v1_once_and_twice(local, prefix):
    assert local.get(f"{prefix}/files") == {"object": "list", "data": []}
    assert local.get(f"{prefix}/fine-tunes") == {"object": "list", "data": []}


@pytest.mark.parametrize("path", ["/", "/storage/files/", "/v1/nope", "/v1/v3/whoami", "/whoami"])
def test_an_unknown_path_is_not_found(local, path):
    answer = local.call("GET", path)
    assert fault(answer) == (404, "not_found_error", None)
    assert answer.json()["error"]["message"] == f"GET {path}: Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/storage/files/file-9", {"PUT"}),
        ("DELETE", "/v1/files", {"GET", "HEAD", "POST"}),
        ("GET", "/v1/files/multipart/initiate", {"POST"}),
        ("PATCH", "/v1/files/file-9", {"DELETE", "GET", "HEAD"}),
        ("POST", "/v1/fine-tunes/ft-9/events", {"GET", "HEAD"}),
        ("PUT", "/v1/fine-tunes", {"GET", "HEAD", "POST"}),
    ],
)
def test_another_method_is_answered_with_those_that_the_path_has(local, method, path, allowed):
    answer = local.call(method, path)
    assert fault(answer) == (405, "invalid_request_error", None)
    assert answer.json()["error"]["message"] == f"{method} {path}: Method Not Allowed"
    assert set(answer.headers["allow"].split(", ")) == allowed


def test_a_head_request_is_answered_without_a_body(local):
    answer = local.call("HEAD", "/v3/whoami")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, b"", "application/json")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/files/file-9"),
        ("DELETE", "/v1/fine-tunes/ft-9"),
        ("GET", "/v1/files/file-9"),
        ("GET", "/v1/files/file-9/content"),
        ("GET", "/v1/fine-tunes/ft-9"),
        ("GET", "/v1/fine-tunes/ft-9/checkpoints"),
        ("GET", "/v1/fine-tunes/ft-9/download-tokenized-dataset"),
        ("GET", "/v1/fine-tunes/ft-9/events"),
        ("GET", "/v1/fine-tunes/ft-9/metrics"),
        ("POST", "/v1/files/file-9/preprocess"),
        ("POST", "/v1/fine-tunes/ft-9/cancel"),
    ],
)
def test_what_does_not_exist_is_not_found(local, method, path):
    assert fault(local.call(method, path)) == (404, "not_found_error", "id")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/storage/files/{}", 403), ("/v1/files/{}", 404), ("/v1/files/{}/content", 404), ("/v1/fine-tunes/{}", 404)],
)
@pytest.mark.parametrize("name", ["%00", "%ED%A0%80", "'; DROP TABLE jobs", "..%5clock", "x" * 5000])
def test_no_id_breaks_a_route_or_reaches_the_disk(local, path, name, status):
    assert fault(local.call("PUT" if "storage" in path else "GET", path.format(name)))[0] == status


def test_the_description_needs_no_key_and_knows_every_route(local):
    answer = local.call("GET", "/openapi.json", key=None)
    described = answer.json()
    assert (answer.status_code, described["openapi"], described["info"]["title"]) == (
        200,
        "3.1.0",
        "preftune's local server",
    )
    assert local.call("GET", "/openapi.json", key=None).json() == described
    for path, operations in described["paths"].items():
        for method in operations:
            assert local.call(method.upper(), path, key=None).status_code == (403 if "storage" in path else 401)
            assert local.call(method.upper(), path.replace("{number}", "1")).status_code != 405


# bodies


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b"[]",
        b"5",
        b'"x"',
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"model": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"n_epochs": 1e999}',
        b'{"n_epochs": -Infinity}',
        b'{"n_epochs": NaN}',
        b'{"n_epochs": ' + b"1" * 5000 + b"}",
    ],
    ids=[
        "broken", "not UTF-8", "list", "number", "text", "null", "deep list", "deep object", "half a character",
        "half a character as a key", "over every float", "infinity", "no number", "5000 digits",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "route",
    [
        "GET /v1/fine-tunes/{}/metrics",
        "POST /v1/files/multipart/complete",
        "POST /v1/files/multipart/initiate",
        "POST /v1/fine-tunes",
        "POST /v1/fine-tunes/estimate-price",
        "POST /v1/fine-tunes/preview",
    ],
)
def test_a_body_that_is_no_object_of_json_is_refused(local, route, body):
    method, path = route.split()
    job_id = local.create(training_file=local.upload([{"text": "abc"}]))["id"]
    answer = local.call(method, path.format(job_id), content=body)
    assert fault(answer) == (400, "invalid_request_error", None)
    assert answer.json()["error"]["message"] in ("the body is no JSON", "the body is no JSON object")


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without its length"])
@pytest.mark.parametrize(
    ("route", "kind"),
    [
        ("POST /v1/files", "application/x-www-form-urlencoded"),
        ("POST /v1/files/multipart/initiate", "application/json"),
        ("POST /v1/fine-tunes", "application/json"),
        ("POST /v1/fine-tunes/preview", "application/json"),
    ],
)
def test_a_body_over_the_bound_is_refused(local, route, kind, told):
    method, path = route.split()
    size = 2**20
    content = b"&" * (limits.MAX_BODY + 1) if told else in_pieces(*[b"&" * size] * (limits.MAX_BODY // size), b"&")
    answer = local.call(method, path, content=content, headers={"content-type": kind})
    assert fault(answer) == (413, "invalid_request_error", None)
    assert answer.json()["error"]["message"] == f"the body is larger than {limits.MAX_BODY} bytes"


def test_a_body_of_json_as_large_as_the_bound_is_read(local):
    body = b'{"training_file": "file-9"}'
    answer = local.call("POST", "/v1/fine-tunes/estimate-price", content=body.ljust(limits.MAX_BODY))
    assert fault(answer) == (400, "invalid_request_error", "training_file")


def test_json_under_the_type_of_a_form_has_the_bound_of_json(local):
    content, kind = b" " * (limits.MAX_BODY + 1), "multipart/form-data; boundary=x"
    assert fault(local.call("POST", "/v1/fine-tunes", content=content, headers={"content-type": kind}))[0] == 413


# the whole


def test_a_failure_of_the_server_keeps_the_envelope(local, monkeypatch, caplog):
    monkeypatch.setattr(local.store, "jobs", lambda: 1 / 0)
    answer = local.call("GET", "/v1/fine-tunes")
    message = "the local server failed: ZeroDivisionError; its log says more"
    assert (fault(answer), answer.json()["error"]["message"]) == ((500, "server_error", None), message)
    assert "GET /v1/fine-tunes failed" in caplog.text


def test_a_client_that_goes_away_is_no_failure_of_the_server(local, store, caplog):
    record = {"id": "file-1", "created_at": 1, "filename": "f", "purpose": "eval", "file_type": "jsonl", "checksum": ""}
    store.add_file(record)
    come = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    said = []
    path, _, query = Signer(store).signed("PUT", "/storage/files/file-1").partition("?")
    scope = {
        "type": "http", "method": "PUT", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(b"host", b"local")], "scheme": "http", "server": ("local", 80), "root_path": "",
    }  # fmt: skip

    async def receive():
        return come.pop(0)

    async def send(message):
        said.append(message.get("status"))

    asyncio.run(local.app(scope, receive, send))
    assert (said[:1], "failed" in caplog.text) == ([400], False)
    assert list((store.folder / "files").iterdir()) == []


def test_the_application_is_built_from_a_store_alone(store):
    app = make_app(store, Options(api_key=KEY), wake=lambda: None)
    transport = httpx.ASGITransport(app)

    async def ask():
        async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
            return await client.get("/v1/files", headers={"authorization": f"Bearer {KEY}"})

    assert asyncio.run(ask()).status_code == 200
    assert Path(store.folder / "preftune.db").is_file()
