"""Requests that schemathesis makes of /openapi.json, fit and unfit ones, against the local server."""

import importlib.util
import json
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

if importlib.util.find_spec("schemathesis") is None:
    pytest.skip("schemathesis is not in this environment: make peers", allow_module_level=True)

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import booleans
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import preftune as pt
from preftune.recipes.sample import write_sample

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
bounded = settings(
    max_examples=15, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


def described():
    with pt.LocalServer() as server:
        description = httpx.get(f"{server.url}/openapi.json").json()
    config = SchemathesisConfig(seed=1)
    config.projects.default.generation.deterministic = True
    return schemathesis.openapi.from_dict(description, config=config)


schema = described()
operations = {found.ok().definition.raw["operationId"]: found.ok() for found in schema.get_all_operations()}


@pytest.fixture(scope="module")
def server():
    with pt.LocalServer(speed=0) as server:  # what is created stays pending
        yield server


@pytest.fixture(scope="module")
def real(server, tmp_path_factory):
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {server.api_key}"}) as http:
        yield Real(server, http, tmp_path_factory.mktemp("files"))


class Real:
    """Says of each operation what a request needs that is answered with success: path, query and body."""

    def __init__(self, server, http, folder):
        self._http = http
        (folder / "sft.jsonl").write_text(json.dumps({"prompt": "a question", "completion": "an answer"}) + "\n")
        with pt.Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:
            files = [client.files.upload(path) for path in (folder / "sft.jsonl", *write_sample(folder))]
            self._sft, self._pairs, held_out = (client.files.wait(file.id).id for file in files)
            self._job = client.fine_tuning.create(
                model="m", training_file=self._pairs, validation_file=held_out, training_method="dpo", n_evals=1
            ).id
            while not client.fine_tuning.retrieve(self._job).is_final:
                server.turn(60)

    def __call__(self, name):
        file, job, asked = {"id": self._sft}, {"id": self._job}, {"training_file": self._pairs}
        at_once = {"file_name": "a.jsonl", "file": b"{}"}
        parts = {"file_name": "a.jsonl", "file_size": 8, "num_parts": 1}
        return {
            "open_upload": lambda: ({}, {}, {"file_name": "a.jsonl"}),
            "upload": lambda: ({}, {}, at_once),
            "initiate": lambda: ({}, {}, parts),
            "complete": lambda: ({}, {}, self._upload(parts)),
            "abort": lambda: ({}, {}, self._upload(parts)),
            "get_file": lambda: (file, {}, {}),
            "delete_file": lambda: ({"id": self._announced()[0]}, {}, {}),
            "get_content": lambda: (file, {}, {}),
            "preprocess": lambda: (file, {}, {}),
            "limits": lambda: ({}, {"model_name": self._job}, {}),
            "estimate_price": lambda: ({}, {}, asked),
            "preview": lambda: ({}, {}, {"training_file": self._sft, "model": "m"}),
            "create_job": lambda: ({}, {}, asked | {"from_checkpoint": self._job}),
            "get_job": lambda: (job, {}, {}),
            "delete_job": lambda: ({"id": self._waiting()}, {}, {}),
            "cancel_job": lambda: ({"id": self._waiting()}, {}, {}),
            "list_events": lambda: (job, {}, {}),
            "list_checkpoints": lambda: (job, {}, {}),
            "list_metrics": lambda: (job, {}, {}),
            "tokenized_dataset": lambda: (job, {}, {}),
            "download": lambda: ({}, {"ft_id": self._job}, {}),
            "put_file": lambda: _signed(self._announced()[1]),
            "put_part": lambda: _signed(self._post("files/multipart/initiate", parts)["parts"][0]["URL"]),
            "get_tokens": lambda: _signed(self._tokens()),
        }.get(name, lambda: ({}, {}, {}))()

    def _post(self, path, body):
        return self._http.post(f"/v1/{path}", json=body).raise_for_status().json()

    def _waiting(self):
        return self._post("fine-tunes", {"model": "m", "training_file": self._pairs})["id"]

    def _announced(self):
        answer = self._http.post("/v1/files", data={"file_name": "a.jsonl"})
        return answer.headers["x-together-file-id"], answer.headers["location"]

    def _upload(self, announced):
        begun = self._post("files/multipart/initiate", announced)
        tag = httpx.put(begun["parts"][0]["URL"], content=b'{"a":1}\n').headers["etag"]
        ids = {"upload_id": begun["upload_id"], "file_id": begun["file_id"]}
        return ids | {"parts": [{"part_number": 1, "etag": tag}]}

    def _tokens(self):
        return self._http.get(f"/v1/fine-tunes/{self._job}/download-tokenized-dataset").json()["url"]


def _signed(address):
    parts = urlsplit(address)
    names = parts.path.split("/")[3:]
    return dict(zip(("id", "number"), names, strict=False)), dict(parse_qsl(parts.query)), {}


@schema.parametrize()
@bounded
def test_every_answer_is_one_that_the_description_has(case, server):
    answer = case.call(base_url=server.url, headers={"Authorization": f"Bearer {server.api_key}"})
    case.validate_response(answer, checks=CHECKS)


@pytest.mark.parametrize("name", sorted(operations))
def test_with_what_is_there_every_operation_succeeds_and_every_answer_is_one_that_the_description_has(
    name, server, real
):
    operation, statuses = operations[name], set()
    fit, unfit = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

    @bounded
    @given(case=fit | unfit, alone=booleans())
    def ask(case, alone):
        path, query, body = real(name)
        case.path_parameters = path
        case.query = query if alone else {**case.query, **query}
        if isinstance(case.body, dict):
            case.body = body if alone else case.body | body
        answer = case.call(base_url=server.url, headers={"Authorization": f"Bearer {server.api_key}"})
        case.validate_response(answer, checks=CHECKS)
        statuses.add(answer.status_code)

    ask()
    assert int(next(iter(operation.definition.raw["responses"]))) in statuses
