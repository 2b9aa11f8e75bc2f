import json

import pytest

from preftune.api.models import File, FineTuneJob
from preftune.api.reading import id_of, path_id, read, read_items, read_list, read_object
from preftune.api.steps import Request, Response
from preftune.errors import APIResponseValidationError, ConfigError


def response(content, **headers):
    return Response(200, headers, content, Request("GET", "/x"))


def test_an_object_is_read_as_its_model():
    assert read(response(b'{"id": "f", "FileType": "jsonl"}'), File) == File(id="f", file_type="jsonl")


def test_an_empty_body_is_an_empty_object():
    assert read_object(response(b"")) == {}


@pytest.mark.parametrize("content", [b'{"data": [{"id": "f"}]}', b'[{"id": "f"}]'])
def test_a_list_may_stand_bare_or_under_its_key(content):
    assert read_list(response(content), "data", File) == [File(id="f")]
    assert read_items(response(content), "data") == [{"id": "f"}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<html>", "the body is no JSON (of no stated type, 6 bytes)"),
        (b'{"id": ', "the body is no JSON (of no stated type, 7 bytes)"),
        (b"[" * 100_000, "the body is no JSON (of no stated type, 100,000 bytes)"),
        (b"\xff\xfe\xfd", "the body is no JSON (of no stated type, 3 bytes)"),
        (b"[1]", "the body is no JSON object (of no stated type, 3 bytes)"),
        (b"null", "the body is no JSON object (of no stated type, 4 bytes)"),
    ],
)
def test_what_does_not_read_is_refused_with_its_size(content, reason):
    with pytest.raises(APIResponseValidationError) as error:
        read(response(content), File)
    assert str(error.value) == f"GET /x: 200, {reason}; is base_url an API of this kind?"


@pytest.mark.parametrize("kind", ["text/html", "text/html; charset=utf-8"])
def test_what_does_not_read_is_refused_with_its_type(kind):
    with pytest.raises(APIResponseValidationError) as error:
        read_object(response(b"<html>", **{"content-type": kind}))
    assert str(error.value) == (
        "GET /x: 200, the body is no JSON (text/html, 6 bytes); is base_url an API of this kind?"
    )


@pytest.mark.parametrize("content", [b"canary", b'["canary"]', b'{"data": "canary"}'])
def test_the_error_for_what_does_not_read_quotes_nothing_of_it(content):
    with pytest.raises(APIResponseValidationError) as error:
        read_items(response(content, **{"x-secret": "canary"}), "data")
    assert "canary" not in f"{error.value} {error.value!r} {vars(error.value)}"


@pytest.mark.parametrize("items", [{"id": "f"}, "f", ["f"], [[]]])
def test_a_list_of_anything_but_objects_is_refused(items):
    with pytest.raises(APIResponseValidationError, match="'data' is no list of objects"):
        read_items(response(json.dumps({"data": items}).encode()), "data")


@pytest.mark.parametrize(
    ("given", "quoted"), [("ft-1:3", "ft-1%3A3"), ("a/../b", "a%2F..%2Fb"), ("ü ?#%", "%C3%BC%20%3F%23%25")]
)
def test_an_id_stays_one_segment_of_a_path(given, quoted):
    assert (id_of(given, "job"), path_id(given, "job")) == (given, quoted)


def test_an_object_stands_for_its_id():
    assert path_id(FineTuneJob(id="ft-1"), "job") == "ft-1"


@pytest.mark.parametrize("given", ["", ".", "..", None, object(), FineTuneJob()])
def test_what_would_change_a_path_is_no_id(given):
    with pytest.raises(ConfigError, match="job: expected an id or an object that has one, found "):
        path_id(given, "job")
