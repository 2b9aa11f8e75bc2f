import base64
import importlib.util
import json
import re
from pathlib import Path

import httpx
import pytest

from preftune import LocalServer
from preftune.recipes.recorded import BASE_URL, BINARY, KEY, Recorded, recorded

DOCS = Path(__file__).parents[2] / "docs"
NAMES = sorted(one.name for one in recorded())


def shape(value):
    """Return the keys and types of a JSON value: a list is the kinds of its items, a number is a number."""
    if isinstance(value, dict):  # a file that has just come may have been read already, or not
        return {key: shape(inner) for key, inner in value.items() if key != "validation_report"}
    if isinstance(value, list):
        return [each for at, each in enumerate(map(shape, value)) if each not in [shape(one) for one in value[:at]]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def without_what_may_be_null(first, second):
    """Return two shapes without what is null in one of them."""
    if "NoneType" in (first, second):
        return "null", "null"
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        pairs = {key: without_what_may_be_null(first[key], second[key]) for key in first}
        return {key: pair[0] for key, pair in pairs.items()}, {key: pair[1] for key, pair in pairs.items()}
    return first, second


def named(name):
    (found,) = (one for one in recorded() if one.name == name)
    return found


def said(one):
    """Return the shape of an answer: status, names of headers, and what the body holds."""
    is_json = one.headers.get("content-type") == "application/json"
    return one.status, sorted(one.headers), shape(json.loads(one.content)) if is_json else bool(one.content)


@pytest.fixture(scope="module")
def live():
    """Return the answers of a new local server, as the recording keeps them."""
    spec = importlib.util.spec_from_file_location("record_answers", DOCS / "record_answers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {one["name"]: Recorded(**{**one, "content": base64.b64decode(one["content"])}) for one in module.record()}


@pytest.mark.slow
def test_the_recording_answers_what_a_new_one_would(live):
    assert sorted(live) == NAMES, "run: python docs/record_answers.py"
    assert {one.name: (one.method, one.path) for one in recorded()} == {
        name: (one.method, one.path) for name, one in live.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_answer_of_the_recording_has_the_shape_of_a_live_one(live, name):
    *kept, kept_shape = said(named(name))
    *new, new_shape = said(live[name])
    kept_shape, new_shape = without_what_may_be_null(kept_shape, new_shape)
    assert (kept, kept_shape) == (new, new_shape), "run: python docs/record_answers.py"


def test_every_name_of_the_recording_is_an_operation_of_the_description(tmp_path):
    with LocalServer(tmp_path) as server:
        paths = httpx.get(f"{server.url}/openapi.json").json()["paths"]
    operations = {(one["operationId"], method.upper()) for methods in paths.values() for method, one in methods.items()}
    assert {(one.name, one.method) for one in recorded()} <= operations


def test_no_two_answers_have_a_name_and_no_answer_is_a_failure():
    assert len(set(NAMES)) == len(NAMES)
    assert [one.name for one in recorded() if one.status >= 400] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_first_answer_that_fits_a_path_is_the_one_of_its_name(name):
    one = named(name)
    path = one.path.replace("(/v1)?", "/v1").replace("[^/]+", "x").replace("\\-", "-")
    assert next(each.name for each in recorded() if each.method == one.method and re.fullmatch(each.path, path)) == name


def test_the_recording_knows_no_real_address_and_no_real_key():
    text = json.dumps([[one.headers, one.content.decode("latin-1")] for one in recorded()])
    assert set(re.findall(r"https?://[^\"/]+", text)) == {BASE_URL}
    assert KEY == "recorded"
    assert "127.0.0.1" not in text
    assert "Bearer" not in text


def test_every_answer_speaks_of_the_one_job():
    text = b"".join(one.content for one in recorded() if one.headers.get("content-type") != BINARY)
    assert len(set(re.findall(rb"ft-[0-9a-f]{8}-[0-9a-f-]{27}", text))) == 1


# parts


@pytest.mark.parametrize(
    ("asked", "part", "said"),
    [
        ("bytes=0-1", slice(0, 2), "bytes 0-1/10"),
        ("bytes=3-3", slice(3, 4), "bytes 3-3/10"),
        ("bytes=4-", slice(4, 10), "bytes 4-9/10"),
        ("bytes=8-99", slice(8, 10), "bytes 8-9/10"),
    ],
)
def test_a_range_is_answered_with_its_part(asked, part, said):
    one = Recorded("download", "GET", "/x", 200, {"content-type": BINARY, "etag": '"a"'}, b"0123456789")
    headers = {"content-type": BINARY, "etag": '"a"', "content-range": said}
    assert one.answer(asked) == (206, headers, b"0123456789"[part])


def test_a_range_that_lies_outside_is_refused_as_a_server_does():
    one = Recorded("download", "GET", "/x", 200, {"content-type": BINARY}, b"0123456789")
    assert one.answer("bytes=10-12")[0] == 416


@pytest.mark.parametrize("asked", [None, "", "bytes=-3", "bytes=a-b", "items=0-1", "bytes=0-1,3-4"])
def test_anything_else_is_answered_with_the_whole(asked):
    one = Recorded("download", "GET", "/x", 200, {"content-type": BINARY}, b"0123456789")
    assert one.answer(asked) == (200, {"content-type": BINARY}, b"0123456789")


def test_json_has_no_parts():
    one = Recorded("get_job", "GET", "/x", 200, {"content-type": "application/json"}, b"{}")
    assert one.answer("bytes=0-0") == (200, {"content-type": "application/json"}, b"{}")


def test_an_answer_without_a_body_has_no_parts():
    one = Recorded("open_upload", "POST", "/x", 302, {"location": f"{BASE_URL}/storage/x"}, b"")
    assert one.answer("bytes=0-1") == (302, {"location": f"{BASE_URL}/storage/x"}, b"")


def test_the_body_of_an_answer_is_not_printed_with_it():
    assert "content=" not in repr(named("get_job"))
