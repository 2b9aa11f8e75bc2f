import asyncio
import json

import pytest
from starlette.requests import Request

from preftune.local.reading import (
    between,
    envelope,
    error_answer,
    integer,
    read_form,
    read_json,
    shown,
    text,
    thinned,
)
from preftune.local.refusal import Refused


def request(*pieces, query=b"", kind=b"application/json"):
    come = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    come.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return come.pop(0)

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": query, "headers": [(b"content-type", kind)]}
    return Request(scope, receive)


def refused(act, *args, **more):
    """Return the field and the words of a refusal."""
    with pytest.raises(Refused) as caught:
        act(*args, **more)
    assert caught.value.status == 400
    return caught.value.param, caught.value.message


def json_of(*pieces):
    return asyncio.run(read_json(request(*pieces)))


def form_of(body, **more):
    async def reading():
        async with read_form(request(body, **more)) as given:
            return given

    return asyncio.run(reading())


# bodies


@pytest.mark.parametrize(
    ("pieces", "value"),
    [
        ([], {}),
        ([b""], {}),
        ([b'{"a"', b": 1}"], {"a": 1}),
        ([b'{"a": 1e308, "b": -0.0, "c": 1.5}'], {"a": 1e308, "b": -0.0, "c": 1.5}),
        ([b'{"a": ' + b"1" * 4000 + b"}"], {"a": int("1" * 4000)}),
        ([b'{"a": "\\ud83d\\ude00"}'], {"a": "\N{GRINNING FACE}"}),
        (['{"é": "é"}'.encode()], {"é": "é"}),
        ([json.dumps({"a": {"b": [{}]}}).encode("utf-16")], {"a": {"b": [{}]}}),
    ],
)
def test_a_body_is_an_object_in_any_number_of_pieces(pieces, value):
    assert json_of(*pieces) == value


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'"x"', "the body is no JSON object"),
        (b"5", "the body is no JSON object"),
        (b"[]", "the body is no JSON object"),
        (b"null", "the body is no JSON object"),
        (b"true", "the body is no JSON object"),
        (b" ", "the body is no JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "the body is no JSON"),
        (b"\xff\xff", "the body is no JSON"),
        (b"{", "the body is no JSON"),
        (b'{"a": "\\ud800"}', "the body is no JSON"),
        (b'{"a": -1e999}', "the body is no JSON"),
        (b'{"a": ' + b"1" * 5000 + b"}", "the body is no JSON"),
        (b'{"a": 1e999}', "the body is no JSON"),
        (b'{"a": Infinity}', "the body is no JSON"),
        (b'{"a": NaN}', "the body is no JSON"),
        (b'{"a": [{"\\udc00": 1}]}', "the body is no JSON"),
    ],
)
def test_a_body_that_is_no_object_is_refused(body, message):
    assert refused(json_of, body) == (None, message)


@pytest.mark.parametrize(
    ("body", "more", "given"),
    [
        (b"", {"query": b"a=1&b=2"}, {"a": "1", "b": "2"}),
        (b"", {}, {}),
        (b"a=1&b=%C3%A9", {"kind": b"application/x-www-form-urlencoded"}, {"a": "1", "b": "é"}),
        (b"a=1", {"query": b"a=2&b=3", "kind": b"application/x-www-form-urlencoded"}, {"a": "1", "b": "3"}),
        (
            b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n',
            {"kind": b"multipart/form-data; boundary=x"},
            {"a": "1"},
        ),
    ],
)
def test_a_form_is_read_from_wherever_it_stands_and_the_body_comes_first(body, more, given):
    assert form_of(body, **more) == given


# values


@pytest.mark.parametrize(
    ("given", "value"),
    [({}, ""), ({"a": ""}, ""), ({"a": None}, ""), ({"a": "é x"}, "é x"), ({"a": "x" * 1000}, "x" * 1000)],
)
def test_text_is_returned_as_it_stands_and_absent_text_is_empty(given, value):
    assert text(given, "a") == value


@pytest.mark.parametrize("value", ["", None])
def test_text_that_is_needed_and_missing_is_refused(value):
    assert refused(text, {"a": value}, "a", needed=True) == ("a", "a is missing")
    assert refused(text, {}, "a", needed=True) == ("a", "a is missing")


@pytest.mark.parametrize("value", [1, True, 1.5, ["x"], {"x": 1}])
def test_what_is_no_text_is_refused(value):
    assert refused(text, {"a": value}, "a") == ("a", "a must be text")


@pytest.mark.parametrize("value", ["\0", "\x1b[0m", "\x7f", "\n", "\ud800", "x" * 1001])
def test_text_that_could_not_be_shown_is_refused(value):
    message = "a must be at most 1000 characters, none of them a control character"
    assert refused(text, {"a": value}, "a") == ("a", message)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None), ("", None), (0, 0), (-3, -3), (6, 6), (6.0, 6), ("6", 6), ("6.0", 6), (" 6 ", 6),
        (2**53 - 1, 2**53 - 1), (1 - 2**53, 1 - 2**53),
    ],
)  # fmt: skip
def test_a_whole_number_is_read_from_any_way_to_write_it(value, number):
    assert integer({"a": value}, "a") == number


@pytest.mark.parametrize(
    "value",
    ["inf", "nan", "six", "1e400", 1.5, "1.5", 2**53, -(2**53), 10**400, True, False, [1], [], {}, float("inf")],
)
def test_what_is_no_whole_number_is_refused(value):
    assert refused(integer, {"a": value}, "a") == ("a", f"a is {shown(value)}; it must be a whole number")


@pytest.mark.parametrize("value", [0, 5, "0", -1, 4.5])
def test_a_number_outside_its_bounds_is_refused(value):
    assert [integer({"a": one}, "a", least=1, most=4) for one in (1, 4)] == [1, 4]
    message = f"a is {value!r}; it must be a whole number from 1 to 4"
    assert refused(integer, {"a": value}, "a", least=1, most=4) == ("a", message)


@pytest.mark.parametrize("given", [{}, {"a": None}, {"a": ""}])
def test_a_number_that_is_needed_and_missing_is_refused(given):
    assert refused(integer, given, "a", needed=True) == ("a", "a is missing")


def test_a_long_value_is_shown_in_its_first_characters():
    assert shown("x" * 58) == f"'{'x' * 58}'"
    assert shown("x" * 59) == f"'{'x' * 59}…"


# rows


def at(*seconds):
    return [{"timestamp": second * 10**9} for second in seconds]


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ({}, (0, 60, 120)),
        ({"logged_at_from": "", "logged_at_to": None}, (0, 60, 120)),
        ({"logged_at_from": "1970-01-01"}, (0, 60, 120)),
        ({"logged_at_from": "1970-01-01T00:01:00"}, (60, 120)),
        ({"logged_at_from": "1970-01-01T00:01:00.000001"}, (120,)),
        ({"logged_at_from": "1970-01-01T00:01:00Z", "logged_at_to": "1970-01-01T00:01:00Z"}, (60,)),
        ({"logged_at_from": "1970-01-01T01:01:00+01:00"}, (60, 120)),
        ({"logged_at_from": "9999-12-31T23:59:59-23:59"}, ()),
        ({"logged_at_to": "0001-01-01T00:00:00+23:59"}, ()),
        ({"logged_at_to": "1970-01-01T00:00:59.999999Z"}, (0,)),
        ({"logged_at_to": "1970-01-01T00:01:00"}, (0, 60)),
    ],
)
def test_rows_between_two_times_are_kept_with_both_ends(asked, kept):
    assert between(at(0, 60, 120), asked) == at(*kept)


@pytest.mark.parametrize("name", ["logged_at_from", "logged_at_to"])
@pytest.mark.parametrize("value", ["2026-13-01", "now", 5, [1]])
def test_a_bound_that_is_no_time_is_refused(name, value):
    message = f"{name} is {value!r}; it must be an ISO 8601 time"
    assert refused(between, at(0), {name: value}) == (name, message)


def rows_of(order):
    return [{"train/loss" if one == "t" else "eval/loss": place} for place, one in enumerate(order)]


@pytest.mark.parametrize(
    ("resolution", "kept"),
    [(1, [0, 3, 6]), (2, [0, 2, 3, 6]), (4, [0, 1, 2, 3, 4, 6]), (5, range(7)), (6, range(7)), (None, range(7))],
)
def test_training_rows_are_thinned_evenly_and_evaluations_stay(resolution, kept):
    rows = rows_of("tttette")
    assert thinned(rows, resolution) == [rows[place] for place in kept]


def test_no_rows_are_none_at_any_resolution():
    assert (thinned([], 1), thinned(rows_of("e"), 5)) == ([], rows_of("e"))


@pytest.mark.parametrize("resolution", [-1, 0])
def test_a_resolution_under_one_thins_nothing(resolution):
    assert thinned(rows_of("tte"), resolution) == rows_of("tte")


# errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (409, "conflict_error"),
        (413, "invalid_request_error"),
        (416, "invalid_request_error"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_an_error_has_the_type_of_its_status(status, kind):
    assert envelope(status, "No.") == {"error": {"message": "No.", "type": kind, "param": None, "code": None}}


def test_an_error_names_its_field_and_its_code():
    said = envelope(409, "No.", param="a", code="b")
    assert said == {"error": {"message": "No.", "type": "conflict_error", "param": "a", "code": "b"}}
    answer = error_answer(404, "Nein, ümlaut.", param="a")
    error = {"message": "Nein, ümlaut.", "type": "not_found_error", "param": "a", "code": None}
    assert (answer.status_code, json.loads(answer.body)) == (404, {"error": error})


@pytest.mark.parametrize("host", ["", "[", "a b", "a/b", "a:port", "[::1", "me@example.org"])
def test_a_host_that_is_none_has_no_address(local, host):
    answer = local.call("POST", "/v1/files", data={"file_name": "a.jsonl"}, headers={"host": host})
    assert (answer.status_code, "Host" in answer.json()["error"]["message"]) == (400, True)
    assert local.get("/v1/files")["data"] == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "[::1]:8765", "my-machine.example.org"])
def test_an_address_is_given_under_the_name_that_the_request_used(local, host):
    answer = local.call("POST", "/v1/files", data={"file_name": "a.jsonl"}, headers={"host": host})
    assert answer.headers["location"].startswith(f"http://{host}/storage/files/file-")


@pytest.mark.parametrize("charset", ["punycode", "undefined"])
def test_a_form_in_a_charset_that_does_not_read_is_refused(local, charset):
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    body = b'--x\r\nContent-Disposition: form-data; name="file_name"\r\n\r\n\xff-a.jsonl\r\n--x--\r\n'
    answer = local.call("POST", "/v1/files", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
