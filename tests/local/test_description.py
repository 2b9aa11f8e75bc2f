import json
import re

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from starlette.routing import Mount, Route

from preftune import __version__
from preftune.local import runner


@pytest.fixture
def document(local):
    return local.call("GET", "/openapi.json", key=None).json()


def operations(document):
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"].rpartition("/")[2]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from references(one)


def reached(document, begin):
    """Return the names of the shared schemas that some schemas speak of, and those that these speak of."""
    found, waiting = set(), list(references(begin))
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += references(document["components"]["schemas"][name])
    return found


def validator(document, schema):
    return Draft202012Validator(schema | {"components": document["components"]})


def answers(operation):
    """Return the schemas of JSON of an operation's answers."""
    found = [answer.get("content", {}) for answer in operation["responses"].values()]
    return [content["application/json"]["schema"] for content in found if "application/json" in content]


class Described:
    """Calls the application and holds every question and answer against the description."""

    def __init__(self, local, document):
        self._call, self._document, self.called = local.call, document, set()

    def call(self, method, path, **sent):
        answer = self._call(method, path, **sent)
        operation = self._operation(method, re.sub(r"^http://local|\?.*$", "", path))
        self.called.add(operation["operationId"])
        if "json" in sent and answer.status_code < 400:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            validator(self._document, schema).validate(sent["json"])
        for name in sent.get("params") or {}:
            assert name in [one["name"] for one in operation["parameters"]], (method, path, name)
        described = operation["responses"][str(answer.status_code)]
        content = described.get("content", {})
        if "application/json" in content:
            validator(self._document, content["application/json"]["schema"]).validate(answer.json())
        else:
            assert bool(content) == bool(answer.content)
        return answer

    def _operation(self, method, path):
        for (known, template), operation in operations(self._document).items():
            if known == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
                return operation
        raise AssertionError(f"{method} {path} is not described")


def test_every_route_is_described_and_every_description_is_a_route(local, document):
    routes = set()
    for route in local.app.routes:
        if isinstance(route, Mount):
            inner = {(method, route.path + one.path) for one in route.routes for method in one.methods}
            routes |= inner if route.path == "/v1" else set()
        else:
            assert isinstance(route, Route)
            routes |= {(method, route.path) for method in route.methods}
    described = {(method, path) for method, path in routes if method != "HEAD"} - {("GET", "/openapi.json")}
    assert set(operations(document)) == described


def test_the_routes_under_v1_are_the_same_under_v1_twice(local):
    once, twice = (
        next(route for route in local.app.routes if isinstance(route, Mount) and route.path == path)
        for path in ("/v1", "/v1/v1")
    )
    assert [(one.path, one.methods) for one in once.routes] == [(one.path, one.methods) for one in twice.routes]


def test_the_description_says_what_it_is_and_needs_no_key(document):
    assert (document["openapi"], document["info"]) == (
        "3.1.0", {"title": "preftune's local server", "version": __version__},
    )  # fmt: skip
    assert document["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    assert document["security"] == [{"key": []}]


def test_the_description_is_the_same_each_time(local, document):
    assert local.call("GET", "/openapi.json", key="wrong").json() == document


def test_every_operation_has_a_name_of_its_own_and_a_summary(document):
    described = operations(document).values()
    names = [operation["operationId"] for operation in described]
    assert sorted(names) == sorted(set(names))
    assert [one["operationId"] for one in described if not re.fullmatch(r"[A-Z].*\.", one["summary"])] == []


def test_every_part_of_a_path_is_a_parameter(document):
    wrong = [
        path
        for (_, path), operation in operations(document).items()
        if re.findall(r"\{(\w+)\}", path) != [one["name"] for one in operation["parameters"] if one["in"] == "path"]
    ]
    assert wrong == []


def test_addresses_of_the_storage_alone_need_no_key(document):
    open_ = [path for (_, path), operation in operations(document).items() if operation.get("security") == []]
    assert open_ == ["/storage/files/{id}", "/storage/parts/{id}/{number}", "/storage/tokens/{id}"]


def test_every_operation_may_answer_with_the_envelope_of_errors(document):
    envelope = {"$ref": "#/components/schemas/Error"}
    for operation in operations(document).values():
        errors = {status: one for status, one in operation["responses"].items() if int(status) >= 400}
        assert {"400", "401", "413"} <= set(errors)
        for answer in errors.values():
            assert answer["description"]
            assert answer["content"] == {"application/json": {"schema": envelope}}


def test_every_schema_is_one_and_every_reference_leads_somewhere(document):
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    assert set(references(document)) == set(document["components"]["schemas"])


def test_answers_say_nothing_else_but_for_jobs_and_requests_may(document):
    described = operations(document).values()
    shared = document["components"]["schemas"]
    said = reached(document, [answers(operation) for operation in described])
    asked = reached(document, [operation.get("requestBody", {}) for operation in described])
    open_ = {name for name in said if shared[name].get("additionalProperties") is not False}
    assert open_ == {"FullJob", "Job"}
    assert {name for name in asked if shared[name].get("additionalProperties") is False} == set()
    assert said | asked == set(shared)


@pytest.mark.parametrize("name", ["DeletedFile", "Error", "ErrorDetail", "Named"])
def test_an_answer_with_one_more_word_is_not_the_described_one(document, name):
    values = {
        "DeletedFile": {"id": "file-1", "object": "file", "deleted": True},
        "Error": {"error": {"message": "m", "type": "t", "param": None, "code": None}},
        "ErrorDetail": {"message": "m", "type": "t", "param": None, "code": None},
        "Named": {"id": "local"},
    }
    check = validator(document, {"$ref": f"#/components/schemas/{name}"})
    check.validate(values[name])
    with pytest.raises(ValidationError):
        check.validate(values[name] | {"more": 1})
    with pytest.raises(ValidationError):
        check.validate({})


def test_every_operation_of_a_real_flow_asks_and_answers_as_described(
    local, store, document, pairs, eventually, monkeypatch
):
    described = Described(local, document)
    call = described.call
    monkeypatch.setattr(local, "call", call)

    training, held_out = local.upload(pairs(3)), local.upload(pairs(2))
    broken = local.upload(b'{"text": 5}\n')
    whole = call("POST", "/v1/files/upload", files={"file": ("chats.jsonl", b'{"text": "abc"}\n')}).json()["id"]
    parts_of(call, b'{"text": "in parts"}\n')
    again = {"file_name": "a.jsonl", "checksum": store.file(training)["checksum"]}
    conflicts = [
        call("POST", "/v1/files", data=again),
        call(
            "POST", "/v1/files/upload", files={"file": ("a.jsonl", store.file_path(training).read_bytes())}, data=again
        ),
        call("POST", "/v1/files/multipart/initiate", json=again | {"file_size": 1, "num_parts": 1}),
    ]
    assert [(answer.status_code, answer.json()["file_id"]) for answer in conflicts] == [(409, training)] * 3
    for file_id in (training, broken):
        call("GET", f"/v1/files/{file_id}")
    call("GET", "/v1/files")
    call("GET", f"/v1/files/{training}/content")
    assert call("GET", f"/v1/files/{training}/content", headers={"range": "bytes=0-3"}).status_code == 206
    assert call("GET", f"/v1/files/{training}/content", headers={"range": "bytes=99999-"}).status_code == 416

    call("GET", "/v1/fine-tunes/models/limits", params={"model_name": "acme/tiny"})
    call("GET", "/v1/fine-tunes/models/supported")
    call("GET", "/v3/whoami")
    for file_id, extra in [(training, {"n_epochs": 2}), (broken, {})]:
        call("POST", "/v1/fine-tunes/estimate-price", json={"training_file": file_id} | extra)
    eventually(lambda: store.file(whole)["status"] == "COMPLETED")
    call("POST", "/v1/fine-tunes/preview", json={"model": "acme/tiny", "training_file": whole, "top_k": 1})

    keyed = {"headers": {"idempotency-key": "k"}, "json": {"model": "acme/tiny", "training_file": training}}
    waiting = call("POST", "/v1/fine-tunes", **keyed).json()["id"]
    other = keyed | {"json": keyed["json"] | {"n_epochs": 2}}
    assert call("POST", "/v1/fine-tunes", **other).status_code == 422
    call("GET", f"/v1/fine-tunes/{waiting}")
    call("POST", f"/v1/fine-tunes/{waiting}/cancel")
    job = local.train(
        training_file=training, validation_file=held_out, training_method={"method": "dpo"}, n_epochs=4, n_evals=4,
        n_checkpoints=2, suffix="mine", early_stopping_enabled=True,
    )["id"]  # fmt: skip
    assert store.status(job) == "completed"
    refused = local.train(training_file=broken)["id"]
    for path in ("", "/events", "/checkpoints", "/metrics"):
        call("GET", f"/v1/fine-tunes/{job}{path}")
        call("GET", f"/v1/fine-tunes/{refused}{path}")
        assert call("GET", f"/v1/fine-tunes/ft-none{path}").status_code == 404
    filters = {"global_step_from": 1, "global_step_to": 3, "resolution": 2}
    filters |= {"logged_at_from": "2020-01-01T00:00:00Z", "logged_at_to": "2120-01-01T00:00:00Z"}
    assert call("GET", f"/v1/fine-tunes/{job}/metrics", params=filters).json()["metrics"]
    call("GET", "/v1/fine-tunes")
    call("GET", "/v1/finetune/download", params={"ft_id": job, "checkpoint": "adapter", "checkpoint_step": 2})
    address = call("GET", f"/v1/fine-tunes/{job}/download-tokenized-dataset").json()["url"]
    assert call("GET", address, key=None).status_code == 200
    assert call("GET", address.partition("?")[0], key=None).status_code == 403
    assert call("GET", "/v1/files", key="wrong").status_code == 401
    assert call("POST", "/v1/fine-tunes", json={"model": "acme/tiny"}).status_code == 400
    call("DELETE", f"/v1/fine-tunes/{job}")
    call("DELETE", f"/v1/files/{training}")
    assert described.called == {operation["operationId"] for operation in operations(document).values()}
    assert not runner.run_next(store)


def parts_of(call, content):
    """Upload a file in two parts, after one that is given up."""
    begin = {"file_name": "parts.jsonl", "file_size": len(content), "num_parts": 2}
    begun = call("POST", "/v1/files/multipart/initiate", json=begin).json()
    ids = {name: begun[name] for name in ("upload_id", "file_id")}
    call("POST", "/v1/files/multipart/abort", json=ids)
    begun = call("POST", "/v1/files/multipart/initiate", json=begin).json()
    ids = {name: begun[name] for name in ("upload_id", "file_id")}
    etags = [
        call("PUT", part["URL"], key=None, content=piece).headers["etag"]
        for part, piece in zip(begun["parts"], (content[:5], content[5:]), strict=True)
    ]
    parts = [{"part_number": number, "etag": etag} for number, etag in enumerate(etags, start=1)]
    call("POST", "/v1/files/multipart/complete", json=ids | {"parts": parts})


def test_the_description_is_plain_json(document):
    assert json.loads(json.dumps(document, allow_nan=False)) == document
