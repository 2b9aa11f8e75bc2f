import asyncio
import base64
import gc
import hashlib
import http.server
import json
import logging
import math
import re
import ssl
import threading
import traceback
from contextlib import aclosing, closing
from pathlib import Path

import httpx
import pytest

import preftune
from preftune.api.steps import (
    All,
    Call,
    Claim,
    Emit,
    Hold,
    Into,
    Now,
    Part,
    Record,
    Recorded,
    Request,
    Retries,
    Sleep,
    Token,
)
from preftune.client.clients import AsyncClient, Client
from preftune.client.drivers import _tls
from preftune.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    ConfigError,
    IntegrityError,
    NotFoundError,
)

BASE = "http://api.test"
KEY = "key-of-the-tests"
NETWORK = "is the server running, and the network up?"
SETTINGS = "look at base_url and the headers"
JOB = {"id": "ft-1", "status": "completed"}


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces: bytes, errors to raise, functions to call."""

    def __init__(self, *pieces):
        self.pieces = pieces

    def __iter__(self):
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            if callable(piece):
                piece()
            else:
                yield piece

    async def __aiter__(self):
        for piece in self:
            yield piece


def request(method="GET", path="/x", **more):
    """Return a flow of one request, which ends with its answer."""
    return (yield Request(method, path, **more))


# what is sent


@pytest.mark.parametrize("base_url", [BASE, f"{BASE}/", f"{BASE}/v1", f"{BASE}/v1/"])
def test_the_version_stands_once_in_the_address(rig, respx_mock, base_url):
    route = respx_mock.get(f"{BASE}/v1/fine-tunes/ft-1").respond(json=JOB)
    rig.do(lambda client: client.fine_tuning.retrieve("ft-1"), base_url=base_url)
    sent = route.calls.last.request
    assert dict(sent.headers) == {
        "host": "api.test",
        "accept": "application/json",
        "accept-encoding": sent.headers["accept-encoding"],
        "authorization": f"Bearer {KEY}",
        "connection": "keep-alive",
        "user-agent": f"preftune/{preftune.__version__} python/{sent.headers['user-agent'].partition('python/')[2]}",
    }


@pytest.mark.parametrize(
    ("path", "url"), [("/v3/whoami", "/v3/whoami"), ("/videos", "/v1/videos"), ("/v1x", "/v1/v1x")]
)
def test_a_path_of_another_version_is_left_as_it_is(rig, respx_mock, path, url):
    route = respx_mock.get(f"{BASE}{url}").respond(json={})
    assert rig.do(lambda client: client.request("GET", path)).content == b"{}"
    assert route.called


@pytest.mark.parametrize(
    ("method", "url", "call", "body"),
    [
        ("GET", "/files", lambda c: c.files.list(), b""),
        ("GET", "/files/f%2F1", lambda c: c.files.retrieve("f/1"), b""),
        ("DELETE", "/files/f", lambda c: c.files.delete("f"), b""),
        ("GET", "/fine-tunes", lambda c: c.fine_tuning.list(), b""),
        ("POST", "/fine-tunes/j/cancel", lambda c: c.fine_tuning.cancel("j"), b""),
        ("DELETE", "/fine-tunes/j", lambda c: c.fine_tuning.delete("j"), b""),
        ("GET", "/fine-tunes/j/events", lambda c: c.fine_tuning.list_events("j"), b""),
        ("GET", "/fine-tunes/j/checkpoints", lambda c: c.fine_tuning.list_checkpoints("j"), b""),
        (
            "GET",
            "/fine-tunes/j/metrics?global_step_from=3",
            lambda c: c.fine_tuning.list_metrics("j", from_step=3),
            b"",
        ),
        ("GET", "/fine-tunes/models/limits?model_name=a%2Fb", lambda c: c.fine_tuning.model_limits("a/b"), b""),
        ("GET", "/fine-tunes/models/supported", lambda c: c.fine_tuning.supported_models(), b""),
        ("POST", "/odd?q=1", lambda c: c.request("POST", "/odd", params={"q": 1}, json=[1]), b"[1]"),
        ("POST", "/odd", lambda c: c.request("POST", "/odd", json={"a": 1}), b'{"a":1}'),
    ],
)
def test_each_call_sends_one_request(rig, respx_mock, method, url, call, body):
    route = respx_mock.route(method=method, url=f"{BASE}/v1{url}").respond(json={})
    rig.do(call)
    sent = route.calls.last.request
    assert (route.call_count, str(sent.url), sent.content) == (1, f"{BASE}/v1{url}", body)


def test_extras_go_with_every_call_and_beat_what_is_usual(rig, respx_mock):
    route = respx_mock.post(f"{BASE}/v1/x").respond(json={})
    options = {
        "extra_headers": {"User-Agent": "mine", "X-Project": "p"},
        "extra_query": {"a": "2", "b": "3"},
        "extra_body": {"c": 4},
    }
    rig.do(lambda client: client.request("POST", "/x", params={"a": 1}, json={"c": 1, "d": 2}), options=options)
    sent = route.calls.last.request
    assert sent.headers.get_list("user-agent") == ["mine"]
    assert sent.headers["x-project"] == "p"
    assert (sent.url.query, sent.content) == (b"a=2&b=3", b'{"c":4,"d":2}')


def test_text_parts_make_a_multipart_form(rig, respx_mock):
    route = respx_mock.post(f"{BASE}/v1/x").respond(json={})
    rig.do(lambda client: client.run(request("POST", form={"purpose": "fine-tune"})))
    sent = route.calls.last.request
    assert sent.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'Content-Disposition: form-data; name="purpose"\r\n\r\nfine-tune\r\n' in sent.content


def test_bytes_are_sent_as_they_are(rig, respx_mock):
    route = respx_mock.put(f"{BASE}/v1/x").respond(json={})
    rig.do(lambda client: client.run(request("PUT", body=b"abc")))
    sent = route.calls.last.request
    assert (sent.content, sent.headers["content-length"]) == (b"abc", "3")


@pytest.mark.parametrize("size", [0, 3, (1 << 20) + 5])
def test_a_file_is_sent_whole_with_its_length_at_each_attempt(rig, respx_mock, tmp_path, size):
    path = tmp_path / "body"
    path.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    route = respx_mock.put("http://storage.test/p").mock(
        side_effect=[httpx.Response(503), httpx.ReadError, httpx.Response(200)]
    )
    rig.do(lambda client: client.run(request("PUT", "http://storage.test/p", body=Part(path, size=size))))
    for call in route.calls:
        assert call.request.content == path.read_bytes()
        assert call.request.headers["content-length"] == str(size)
        assert "transfer-encoding" not in call.request.headers


def test_a_part_is_sent_between_its_head_and_its_tail(rig, respx_mock, tmp_path):
    (tmp_path / "body").write_bytes(b"0123456789")
    told = []
    route = respx_mock.put("http://storage.test/p").mock(side_effect=[httpx.Response(503), httpx.Response(200)])
    part = Part(tmp_path / "body", start=3, size=4, head=b"<", tail=b">", told=told.append)
    rig.do(lambda client: client.run(request("PUT", "http://storage.test/p", body=part)))
    assert [(call.request.content, call.request.headers["content-length"]) for call in route.calls] == [
        (b"<3456>", "6"), (b"<3456>", "6"),
    ]  # fmt: skip
    assert told == [0, 4, 4] * 2


def test_a_large_part_is_told_of_piece_by_piece(rig, respx_mock, tmp_path):
    (tmp_path / "body").write_bytes(b"x" * (5 << 19))
    told = []
    respx_mock.put("http://storage.test/p").respond()
    part = Part(tmp_path / "body", start=5, size=9 << 18, told=told.append)
    rig.do(lambda client: client.run(request("PUT", "http://storage.test/p", body=part)))
    assert told == [1 << 20, 2 << 20, 9 << 18]


@pytest.mark.parametrize("host", ["http://storage.test", "https://storage.test"])
def test_nothing_of_the_api_goes_to_another_host(rig, respx_mock, host):
    respx_mock.get(f"{BASE}/v1/login").respond(headers={"set-cookie": "session=1"}, json={})
    route = respx_mock.put(f"{host}/p?signature=s").respond()

    def flow():
        yield from request(path="/login")
        yield from request(path="/login")
        return (yield from request("PUT", f"{host}/p?signature=s", body=b"abc"))

    options = {"extra_headers": {"x-secret": "s"}, "extra_query": {"q": 1}, "extra_body": {"b": 1}}
    rig.do(lambda client: client.run(flow()), options=options)
    sent = route.calls.last.request
    assert str(sent.url) == f"{host}/p?signature=s"
    assert {"authorization", "cookie", "x-secret"}.isdisjoint(sent.headers)
    assert KEY not in str(sent.headers.raw)


def test_redirects_are_not_followed(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/x").respond(302, headers={"location": "http://elsewhere.test/"})
    with pytest.raises(APIStatusError, match="GET /x: 302, no reason given"):
        rig.do(lambda client: client.run(request()))


# what comes back


def test_an_answer_has_lower_case_headers_and_its_body(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/x").respond(202, headers={"X-Odd": "1"}, content=b"abc")
    answer = rig.do(lambda client: client.run(request()))
    assert (answer.status, answer.headers, answer.content, answer.request) == (
        202,
        {"x-odd": "1", "content-length": "3"},
        b"abc",
        Request("GET", "/x"),
    )


def test_an_expected_status_is_an_answer(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/x").respond(302, headers={"location": "l"})
    assert rig.do(lambda client: client.run(request(expect=(302,)))).headers["location"] == "l"


def test_a_body_is_streamed_into_a_file(rig, respx_mock, tmp_path):
    respx_mock.get(f"{BASE}/v1/x").respond(content=b"abc" * 9)
    answer = rig.do(lambda client: client.run(request(into=Into(tmp_path / "body"))))
    assert (answer.content, (tmp_path / "body").read_bytes()) == (b"", b"abc" * 9)


def test_a_body_that_is_tried_again_begins_anew(rig, respx_mock, tmp_path):
    broken = httpx.Response(200, stream=Pieces(b"abc" * 9, httpx.ReadError("broken")))
    respx_mock.get(f"{BASE}/v1/x").mock(side_effect=[broken, httpx.Response(200, content=b"whole")])
    rig.do(lambda client: client.run(request(into=Into(tmp_path / "body"))))
    assert (tmp_path / "body").read_bytes() == b"whole"


def test_what_came_before_a_break_is_in_the_file(rig, respx_mock, tmp_path):
    broken = httpx.Response(200, stream=Pieces(b"ab", b"c", httpx.ReadError("broken")))
    respx_mock.get(f"{BASE}/v1/x").mock(return_value=broken)
    with pytest.raises(APIConnectionError):
        rig.do(lambda client: client.run(request(into=Into(tmp_path / "body"), retry=False)))
    assert (tmp_path / "body").read_bytes() == b"abc"


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (206, {"content-range": "bytes 3-5/6"}, b"abcdef"),
        (206, {"content-range": "bytes 3-5/*", "etag": '"a"'}, b"abcdef"),
        (200, {}, b"def"),
        (200, {"content-range": "bytes 9-11/12", "etag": '"a"'}, b"def"),
    ],
)
def test_an_answer_goes_on_at_its_byte_or_starts_anew(rig, respx_mock, tmp_path, status, headers, expected):
    (tmp_path / "body").write_bytes(b"abc and what stands behind")
    told = []
    respx_mock.get(f"{BASE}/v1/x").respond(status, headers=headers, content=b"def")
    into = Into(tmp_path / "body", at=3, tag='"a"', told=told.append)
    answer = rig.do(lambda client: client.run(request(into=into)))
    assert ((tmp_path / "body").read_bytes(), told) == (expected, [len(expected)])
    assert (answer.status, answer.content) == (status, b"")


@pytest.mark.parametrize(
    ("status", "headers", "sentence"),
    [
        (206, {"content-range": "bytes 3-5/6", "etag": '"b"'}, "expected what was there at its beginning, found that"),
        (200, {"etag": '"b"'}, "expected what was there at its beginning, found that it changed; begin again"),
        (206, {"content-range": "bytes 2-5/6"}, "expected the bytes from 3 on, found 'bytes 2-5/6'; begin again"),
        (206, {"content-range": "items 3-5/6"}, "expected the bytes from 3 on, found 'items 3-5/6'; begin again"),
        (206, {}, "expected the bytes from 3 on, found None; begin again"),
    ],
)
def test_an_answer_of_something_else_is_refused_unread(rig, respx_mock, tmp_path, status, headers, sentence):
    (tmp_path / "body").write_bytes(b"abc")
    unread = Pieces(AssertionError("read"))
    route = respx_mock.get(f"{BASE}/v1/x").mock(return_value=httpx.Response(status, headers=headers, stream=unread))
    with pytest.raises(IntegrityError, match=f"download: {re.escape(sentence)}"):
        rig.do(lambda client: client.run(request(into=Into(tmp_path / "body", at=3, tag='"a"'))))
    assert ((tmp_path / "body").read_bytes(), route.call_count) == (b"abc", 1)


def test_an_answer_that_goes_beyond_what_is_to_come_is_refused_there(rig, respx_mock, tmp_path):
    told = []
    respx_mock.get(f"{BASE}/v1/x").respond(content=b"abcd")
    fits = Into(tmp_path / "body", most=4, told=told.append)
    rig.do(lambda client: client.run(request(into=fits)))
    with pytest.raises(IntegrityError, match="download: expected 3 bytes, found more; download it again"):
        rig.do(lambda client: client.run(request(into=Into(tmp_path / "body", most=3, told=told.append))))
    assert told == [4]


def test_a_refusal_is_not_written_into_the_file(rig, respx_mock, tmp_path):
    respx_mock.get(f"{BASE}/v1/x").respond(404, json={"message": "gone"})
    with pytest.raises(NotFoundError, match="GET /x: 404, gone"):
        rig.do(lambda client: client.run(request(into=Into(tmp_path / "body"))))
    assert not (tmp_path / "body").exists()


@pytest.mark.parametrize(
    ("content", "body", "said"),
    [
        (b'{"error": {"message": "m", "type": "t"}}', {"error": {"message": "m", "type": "t"}}, "m"),
        (b"<html>oops</html>", "<html>oops</html>", "<html>oops</html>"),
        (b"\xff", "\ufffd", "\ufffd"),
        (b"[" * 99_999, "[" * 99_999, "[" * 200),
        (b"", None, "no reason given"),
    ],
)
def test_a_refusal_carries_everything_that_the_server_said(rig, respx_mock, content, body, said):
    respx_mock.get(f"{BASE}/v1/x").respond(418, headers={"x-request-id": "r"}, content=content)
    with pytest.raises(APIStatusError) as error:
        rig.do(lambda client: client.request("GET", "/x"))
    found = error.value
    assert str(found) == f"GET /x: 418, {said}"
    assert (found.method, found.path, found.status, found.body, found.request_id) == ("GET", "/x", 418, body, "r")


def test_a_key_that_the_server_echoes_is_not_shown(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/x").respond(400, json={"message": f"who is {KEY}?"})
    with pytest.raises(APIStatusError) as error:
        rig.do(lambda client: client.request("GET", "/x"))
    assert str(error.value) == "GET /x: 400, who is …?"


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"\xff"])
def test_a_success_that_does_not_read_is_refused(rig, respx_mock, content):
    respx_mock.get(f"{BASE}/v1/fine-tunes/ft-1").respond(content=content)
    with pytest.raises(APIResponseValidationError):
        rig.do(lambda client: client.fine_tuning.retrieve("ft-1"))


@pytest.mark.parametrize(
    ("failure", "kind", "ambiguous", "sentence"),
    [
        (httpx.ConnectError("refused"), APIConnectionError, False, f"no answer from {BASE}, refused; {NETWORK}"),
        (httpx.ConnectTimeout(""), APITimeoutError, False, "no answer within 9 s; try again, or raise timeout"),
        (httpx.PoolTimeout(""), APITimeoutError, False, "no answer within 9 s; try again, or raise timeout"),
        (httpx.ReadTimeout(""), APITimeoutError, True, "no answer within 9 s; try again, or raise timeout"),
        (httpx.ReadError(""), APIConnectionError, True, f"no answer from {BASE}, ReadError; {NETWORK}"),
        (httpx.RemoteProtocolError("half"), APIConnectionError, True, f"no answer from {BASE}, half; {NETWORK}"),
        (httpx.LocalProtocolError("odd"), APIError, False, f"the request cannot be sent, odd; {SETTINGS}"),
        (httpx.UnsupportedProtocol("ftp"), APIError, False, f"the request cannot be sent, ftp; {SETTINGS}"),
    ],
)
def test_a_failure_says_whether_the_request_may_have_taken_effect(rig, respx_mock, failure, kind, ambiguous, sentence):
    respx_mock.get(f"{BASE}/v1/x").mock(side_effect=failure)
    with pytest.raises(APIError) as error:
        rig.do(lambda client: client.request("GET", "/x"), timeout=9, max_retries=0)
    assert (type(error.value), error.value.ambiguous, str(error.value)) == (kind, ambiguous, f"GET /x: {sentence}")


def test_a_body_that_does_not_decode_is_a_broken_connection(rig, respx_mock):
    route = respx_mock.get(f"{BASE}/v1/x")
    route.side_effect = lambda request: httpx.Response(
        200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip")
    )
    with pytest.raises(APIConnectionError, match=r"GET /x: no answer from http://api\.test, "):
        rig.do(lambda client: client.request("GET", "/x"), max_retries=0)


def test_a_failure_of_storage_names_the_storage_without_its_signature(rig, respx_mock):
    respx_mock.put("http://storage.test/p").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(APIConnectionError) as error:
        rig.do(lambda client: client.run(request("PUT", "http://storage.test/p?signature=s")), max_retries=0)
    assert str(error.value) == (
        "PUT http://storage.test/p: no answer from http://storage.test, refused; "
        "is the server running, and the network up?"
    )


def test_an_address_that_is_none_is_refused(rig):
    with pytest.raises(APIError, match="GET /x: the request cannot be sent, "):
        rig.do(lambda client: client.request("GET", "/x"), base_url="http://host:port")


# steps


def every_step():
    assert (yield Emit("first")) is None
    thread = yield Call(threading.get_ident)
    start = yield Now()
    yield Sleep(2.5)
    end = yield Now()
    token = yield Token()
    try:
        yield Call(int, ("no number",))
    except ValueError:
        yield Emit("borne")
    return thread == threading.get_ident(), end - start, len(token)


def test_a_flow_is_run_to_its_end_and_what_it_emits_is_dropped(rig):
    assert rig.do(lambda client: client.run(every_step())) == (rig.kind == "sync", 2.5, 32)


def test_a_feed_is_read_item_by_item(rig):
    assert rig.do(lambda client: client.stream(every_step())) == ["first", "borne"]


def test_a_step_that_is_none_is_an_error(rig):
    def flow():
        yield "no step"

    with pytest.raises(AssertionError, match="no step"):
        rig.do(lambda client: client.run(flow()))


def test_an_error_of_a_flow_leaves_as_it_is(rig):
    def flow():
        yield Now()
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        rig.do(lambda client: client.run(flow()))


@pytest.fixture
def leaving():
    """A feed that says when it is closed."""
    closed = []

    def feed():
        try:
            while True:
                yield Emit("item")
        finally:
            closed.append(True)

    return feed(), closed


def test_a_stream_that_is_left_early_closes_its_feed(leaving):
    feed, closed = leaving
    with closing(Client(api_key="k").stream(feed)) as stream:
        assert next(stream) == "item"
    assert closed == [True]


def test_an_async_stream_that_is_left_early_closes_its_feed(leaving):
    feed, closed = leaving

    async def main():
        async with aclosing(AsyncClient(api_key="k").stream(feed)) as stream:
            assert await anext(stream) == "item"

    asyncio.run(main())
    assert closed == [True]


def test_ledger_steps_are_written_and_read_and_a_job_is_claimed_once(rig):
    def flow():
        yield Record({"event": "asked", "key": "a"})
        first = yield Claim("ft-1", {"key": "a", "job": "ft-1"})
        second = yield Claim("ft-1", {"key": "b", "job": "ft-1"})
        return first, second, [(entry["key"], entry.get("job")) for entry in (yield Recorded())]

    assert rig.do(lambda client: client.run(flow())) == (True, False, [("a", None), ("a", "ft-1")])
    assert len(rig.do(lambda client: client.run(recorded()))) == 2
    assert rig.do(lambda client: client.run(recorded()), base_url="http://other.test") == []


def recorded():
    return (yield Recorded())


def test_a_key_is_held_by_one_flow_at_a_time(rig):
    def flow():
        let_go = yield Hold("key")
        second = yield Hold("key")
        yield Call(let_go)
        third = yield Hold("key")
        yield Call(third)
        return second

    assert rig.do(lambda client: client.run(flow())) is None


@pytest.mark.parametrize(("options", "expected"), [(None, 2), ({"max_retries": 5}, 5)])
def test_a_flow_can_ask_how_often_to_try_again(rig, options, expected):
    def flow():
        return (yield Retries())

    assert rig.do(lambda client: client.run(flow()), options=options) == expected


# several requests at once


class Places(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers `/last` at once and every other place when `/last` was asked for; counts how many wait together."""

    def __init__(self, last):
        self.last, self.reached, self.waiting, self.most = last, threading.Event(), 0, 0
        self.lock, self.reached_in_the_loop = threading.Lock(), asyncio.Event()

    def begin(self, sent):
        with self.lock:
            self.waiting += 1
            self.most = max(self.most, self.waiting)
        if sent.url.path.endswith(self.last):
            self.reached.set()
            self.reached_in_the_loop.set()

    def end(self, sent):
        with self.lock:
            self.waiting -= 1
        return httpx.Response(200, content=sent.url.path.encode())

    def handle_request(self, sent):
        self.begin(sent)
        if sent.url.path.endswith("0"):
            assert self.reached.wait(5)
        return self.end(sent)

    async def handle_async_request(self, sent):
        self.begin(sent)
        if sent.url.path.endswith("0"):
            await self.reached_in_the_loop.wait()
        return self.end(sent)


KINDS = {"sync": httpx.Client, "async": httpx.AsyncClient}


def test_several_answers_stand_in_the_order_of_their_requests_and_the_limit_is_kept(rig):
    places = Places("5")

    def flow():
        return (yield All(tuple(Request("GET", f"/{number}") for number in range(6)), limit=2))

    own = KINDS[rig.kind](transport=places)
    answers = rig.do(lambda client: client.run(flow()), http_client=own)
    assert [answer.content for answer in answers] == [b"/v1/%d" % number for number in range(6)]
    assert places.most == 2


def test_each_of_several_requests_is_tried_again_by_itself(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/a").side_effect = [httpx.Response(503), httpx.Response(200, content=b"a")]
    respx_mock.get(f"{BASE}/v1/b").respond(content=b"b")

    def flow():
        return (yield All((Request("GET", "/a"), Request("GET", "/b"))))

    assert [answer.content for answer in rig.do(lambda client: client.run(flow()))] == [b"a", b"b"]
    assert rig.slept == [0.5]


class Endless(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Answers every place without an end, but `/1`, which is refused once `/0` is on its way."""

    def __init__(self):
        self.asked, self.begun, self.exhausted = [], threading.Event(), []

    def answer(self, sent):
        self.asked.append(sent.url.path)
        if sent.url.path == "/v1/1":
            return httpx.Response(400, json={"message": "no"})
        self.begun.set()
        return httpx.Response(200, stream=self.Stream(self.exhausted))

    def handle_request(self, sent):
        if sent.url.path == "/v1/1":
            assert self.begun.wait(5)
        return self.answer(sent)

    async def handle_async_request(self, sent):
        return self.answer(sent)

    class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __init__(self, exhausted):
            self.exhausted = exhausted

        def __iter__(self):
            for _ in range(1_000_000):
                yield b"."
            self.exhausted.append(True)

        async def __aiter__(self):
            await asyncio.Event().wait()
            yield b""


def test_the_first_of_several_that_fails_ends_the_others_and_is_what_is_raised(rig):
    endless = Endless()

    def flow():
        try:
            yield All(tuple(Request("GET", f"/{number}") for number in range(9)), limit=2)
        except BadRequestError as error:
            return str(error)

    own = KINDS[rig.kind](transport=endless)
    assert rig.do(lambda client: client.run(flow()), http_client=own) == "GET /1: 400, no"
    assert endless.exhausted == []
    assert len(endless.asked) <= 3  # one may have begun before the failure was seen


def test_a_deadline_ends_several_requests(rig, respx_mock):
    def late(sent):
        rig.now += 6
        return httpx.Response(503)

    respx_mock.get(f"{BASE}/v1/x").side_effect = late

    def flow():
        return (yield All((Request("GET", "/x"), Request("GET", "/x")), limit=1))

    with pytest.raises(APIError):
        rig.do(lambda client: client.run(flow()), deadline=10)
    assert rig.now < 20


def test_a_cancelled_call_of_several_leaves_no_task():
    endless = Endless()

    def flow():
        yield All((Request("GET", "/0"), Request("GET", "/2")))

    async def main():
        own = httpx.AsyncClient(transport=endless)
        client = AsyncClient(api_key="k", base_url=BASE, http_client=own)
        return await cancelled_soon(client.run(flow())), len(endless.asked), len(asyncio.all_tasks())

    assert asyncio.run(main()) == (True, 2, 1)


# interruptions


def cleaning(step, kinds):
    """Return a flow that asks for one more request when it is interrupted."""
    try:
        yield step
    except kinds:
        yield Request("POST", "/abort")
        raise


def interrupted(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("step", [Call(interrupted), All((Request("GET", "/x"),))])
def test_an_interrupted_flow_may_still_clean_up(respx_mock, step):
    respx_mock.get(f"{BASE}/v1/x").mock(side_effect=interrupted)
    abort = respx_mock.post(f"{BASE}/v1/abort").respond(json={})
    with Client(api_key="k", base_url=BASE) as client, pytest.raises(KeyboardInterrupt):
        client.run(cleaning(step, KeyboardInterrupt))
    assert abort.call_count == 1


def test_an_interrupted_stream_may_still_clean_up(respx_mock):
    abort = respx_mock.post(f"{BASE}/v1/abort").respond(json={})
    with Client(api_key="k", base_url=BASE) as client, pytest.raises(KeyboardInterrupt):
        list(client.stream(cleaning(Call(interrupted), KeyboardInterrupt)))
    assert abort.call_count == 1


async def cancelled_soon(awaitable):
    """Cancel once it is waiting; return whether it ended as cancelled."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(99):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return task.cancelled()


async def items_of(stream):
    return [item async for item in stream]


@pytest.mark.parametrize("how", ["run", "stream"])
def test_a_cancelled_flow_may_still_clean_up(respx_mock, how):
    abort = respx_mock.post(f"{BASE}/v1/abort").respond(json={})

    async def main():
        async with AsyncClient(api_key="k", base_url=BASE) as client:
            flow = cleaning(Sleep(60), asyncio.CancelledError)
            return await cancelled_soon(client.run(flow) if how == "run" else items_of(client.stream(flow)))

    assert (asyncio.run(main()), abort.call_count) == (True, 1)


@pytest.mark.parametrize("fails", [False, True])
def test_a_cancelled_call_of_local_work_waits_for_its_end(fails):
    begun, released, ended, untold = threading.Event(), threading.Event(), [], []

    def work():
        begun.set()
        released.wait(5)
        ended.append(True)
        if fails:
            raise OSError

    def flow():
        yield Call(work)

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: untold.append(context))
        task = asyncio.create_task(AsyncClient(api_key="k").run(flow()))
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()
        for _ in range(9):
            await asyncio.sleep(0)
        early = task.done()
        released.set()
        await asyncio.gather(task, return_exceptions=True)
        cancelled = task.cancelled()
        del task
        await asyncio.sleep(0)
        gc.collect()  # a failure that nobody asked for is told when it is forgotten
        return early, cancelled

    assert (asyncio.run(main()), ended, untold) == ((False, True), [True], [])


def test_a_cancelled_call_closes_its_flow():
    closed = []

    def flow():
        try:
            yield Sleep(60)
        finally:
            closed.append(True)

    async def main():
        task = asyncio.create_task(AsyncClient(api_key="k").run(flow()))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert closed == [True]


def test_local_work_does_not_hold_up_the_loop():
    released = threading.Event()

    def flow():
        return (yield Call(released.wait, (5,)))

    async def main():
        task = asyncio.create_task(AsyncClient(api_key="k").run(flow()))
        await asyncio.sleep(0)
        released.set()
        return await task

    assert asyncio.run(main())


class Noting(type(Path())):
    """A path whose file notes which threads read and write it."""

    def open(self, *mode):
        return NotingFile(super().open(*mode))


class NotingFile:
    threads = None

    def __init__(self, file):
        self._file = file

    def __getattr__(self, name):
        return getattr(self._file, name)

    def read(self, size):
        self.threads.add(threading.get_ident())
        return self._file.read(size)

    def write(self, chunk):
        self.threads.add(threading.get_ident())
        return self._file.write(chunk)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._file.close()


def test_files_are_read_written_and_hashed_off_the_loops_thread(respx_mock, tmp_path, monkeypatch):
    threads = set()
    monkeypatch.setattr(NotingFile, "threads", threads)
    (tmp_path / "p.jsonl").write_bytes(b"{}\n" * (1 << 19))
    respx_mock.put("http://storage.test/p").respond()
    respx_mock.get(f"{BASE}/v1/x").respond(content=b"abc" * (1 << 20))
    respx_mock.post(f"{BASE}/v1/files").respond(
        302, headers={"location": "http://storage.test/q", "x-together-file-id": "file-1"}
    )
    put = respx_mock.put("http://storage.test/q").respond()
    respx_mock.post(f"{BASE}/v1/files/file-1/preprocess").respond(json={"id": "file-1"})
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: threads.add(threading.get_ident()) or digest(*given))

    async def main():
        async with AsyncClient(api_key="k", base_url=BASE) as client:
            part = Part(Noting(tmp_path / "p.jsonl"), size=3 << 19)
            await client.run(request("PUT", "http://storage.test/p", body=part))
            await client.run(request(into=Into(Noting(tmp_path / "body"))))
            await client.files.upload(tmp_path / "p.jsonl")
        return threading.get_ident()

    loop_thread = asyncio.run(main())
    assert ((tmp_path / "body").stat().st_size, put.calls.last.request.content[:3]) == (3 << 20, b"{}\n")
    assert threads
    assert loop_thread not in threads


# what is logged


def test_every_attempt_is_logged_with_what_came_of_it_and_without_its_query(rig, respx_mock, caplog, tmp_path):
    answers = iter([500, None, 204])

    def answer(sent):
        rig.now += 0.25
        status = next(answers)
        if status is None:
            raise httpx.ReadTimeout("", request=sent)
        return httpx.Response(status)

    place = "http://storage.test/p?signature=s"
    respx_mock.get(f"{BASE}/v1/x").side_effect = answer
    respx_mock.get(place).respond(206)
    respx_mock.get(f"{BASE}/v1/y").respond(stream=Pieces(lambda: setattr(rig, "now", rig.now + 99), b"."))

    def flow():
        yield from request(params={"q": "hidden"})
        for each in (Request("GET", place, into=Into(tmp_path / "body")), Request("GET", "/y", retry=False)):
            try:
                yield each
            except (IntegrityError, APITimeoutError):
                continue

    with caplog.at_level(logging.DEBUG, logger="preftune"):
        rig.do(lambda client: client.run(flow()))
    assert [record.getMessage() for record in caplog.records if record.name == "preftune"] == [
        "GET /x: 500 in 0.250 s",
        "GET /x: attempt 1 failed (InternalServerError), again in 0.50 s",
        "GET /x: ReadTimeout",
        "GET /x: attempt 2 failed (APITimeoutError), again in 1.00 s",
        "GET /x: 204 in 0.250 s",
        "GET http://storage.test/p: IntegrityError",
        "GET /y: APITimeoutError",
    ]


# deadlines


def taking(rig, seconds, timeouts):
    """Return an answer that takes its time and notes the timeout that it was given."""

    def answer(sent):
        timeouts.append(sent.extensions["timeout"]["read"])
        rig.now += seconds
        return httpx.Response(200, json={})

    return answer


def two_requests_and_a_pause(pause):
    yield from request()
    yield Sleep(pause)
    yield from request()
    return "done"


@pytest.mark.parametrize("how", [{"deadline": 12}, {"options": {"deadline": 12}}])
def test_a_deadline_is_for_a_whole_call_with_its_requests_and_pauses(rig, respx_mock, how):
    timeouts = []
    respx_mock.get(f"{BASE}/v1/x").side_effect = taking(rig, 4, timeouts)
    assert rig.do(lambda client: client.run(two_requests_and_a_pause(3)), **how) == "done"
    assert (timeouts, rig.slept) == ([12, 5], [3])


def test_a_pause_beyond_the_deadline_ends_the_call_at_once(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/x").side_effect = taking(rig, 4, [])
    with pytest.raises(APITimeoutError) as error:
        rig.do(lambda client: client.run(two_requests_and_a_pause(6)), deadline=10)
    assert str(error.value) == ("GET /x: not done within the deadline of 10 s for the whole call; raise deadline")
    assert (rig.slept, error.value.ambiguous) == ([], False)


@pytest.mark.parametrize("timeout", [60, math.inf])
def test_a_copy_can_lift_the_deadline(rig, respx_mock, timeout):
    timeouts = []
    respx_mock.get(f"{BASE}/v1/x").side_effect = taking(rig, 4, timeouts)
    options = {"deadline": math.inf, "timeout": timeout}
    assert rig.do(lambda client: client.run(two_requests_and_a_pause(600)), deadline=1, options=options) == "done"
    assert timeouts == [60 if timeout == 60 else None] * 2  # the sockets know no infinity


def test_a_stream_has_a_deadline_for_each_of_its_requests(rig, respx_mock):
    timeouts = []
    respx_mock.get(f"{BASE}/v1/x").side_effect = taking(rig, 4, timeouts)

    def feed():
        for number in range(3):
            yield from request()
            yield Emit(number)
            yield Sleep(4)

    assert rig.do(lambda client: client.stream(feed()), deadline=5) == [0, 1, 2]
    assert timeouts == [5, 5, 5]


def test_the_pauses_of_a_stream_have_no_deadline(rig):
    def feed():
        yield Sleep(600)
        yield Emit("item")

    assert rig.do(lambda client: client.stream(feed()), deadline=5) == ["item"]
    assert rig.slept == [600]


def test_a_request_that_cleans_up_is_made_after_the_deadline(rig, respx_mock):
    timeouts = []
    respx_mock.get(f"{BASE}/v1/x").side_effect = taking(rig, 99, [])
    abort = respx_mock.post(f"{BASE}/v1/abort")
    abort.side_effect = taking(rig, 1, timeouts)

    def flow():
        try:
            yield from request()
        except APITimeoutError:
            yield from request("POST", "/abort", tidies=True)
            raise

    with pytest.raises(APITimeoutError):
        rig.do(lambda client: client.run(flow()), deadline=10)
    assert timeouts == [5]


def test_headers_that_dribble_do_not_hold_an_async_call_up():
    async def dribble(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        try:
            for byte in b"HTTP/1.1 200 OK\r\nx-long: " + b"x" * 999:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def main():
        server = await asyncio.start_server(dribble, "127.0.0.1", 0)
        async with server:
            base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with AsyncClient(api_key="k", base_url=base_url, timeout=0.1, max_retries=0) as client:
                await client.request("GET", "/x")

    with pytest.raises(APITimeoutError, match=r"GET /x: no answer within 0\.1 s; try again, or raise timeout"):
        asyncio.run(main())


def dribbling(rig, content):
    """Return an answer of one byte a second."""

    def tick():
        rig.now += 1

    return httpx.Response(200, stream=Pieces(*(piece for byte in content for piece in (tick, bytes([byte])))))


def test_an_answer_that_dribbles_is_ended_and_asked_for_again(rig, respx_mock):
    job = b'{"id": "ft-1"}'
    respx_mock.get(f"{BASE}/v1/fine-tunes/ft-1").side_effect = [dribbling(rig, job), dribbling(rig, job[:9])]
    with pytest.raises(APITimeoutError) as error:
        rig.do(lambda client: client.fine_tuning.retrieve("ft-1"), timeout=5, max_retries=1)
    assert str(error.value) == "GET /fine-tunes/ft-1: no whole answer within 5 s; try again, or raise timeout"
    assert (error.value.ambiguous, rig.slept) == (True, [0.5])


def test_a_transfer_may_dribble_for_longer_than_an_attempt(rig, respx_mock, tmp_path):
    respx_mock.get(f"{BASE}/v1/x").mock(return_value=dribbling(rig, b"0123456789"))
    rig.do(lambda client: client.run(request(into=Into(tmp_path / "body"))), timeout=5)
    assert ((tmp_path / "body").read_bytes(), rig.now) == (b"0123456789", 10)


def test_a_deadline_ends_a_transfer_too_and_what_came_stays(rig, respx_mock, tmp_path):
    route = respx_mock.get(f"{BASE}/v1/x").mock(return_value=dribbling(rig, b"0123456789"))
    with pytest.raises(APITimeoutError, match="the deadline of 5 s for the whole call"):
        rig.do(lambda client: client.run(request(into=Into(tmp_path / "body"))), deadline=5)
    assert ((tmp_path / "body").read_bytes(), route.call_count) == (b"0123", 1)


# connections


def counted(monkeypatch, name):
    """Count the httpx clients that are made, by how they verify TLS."""
    made = []

    class Counting(getattr(httpx, name)):
        def __init__(self, *, verify, limits, proxy):
            made.append(verify if verify is False else "context" if verify is _tls() else verify)
            super().__init__(transport=httpx.MockTransport(lambda request: httpx.Response(200, json={})))

    monkeypatch.setattr(httpx, name, Counting)
    return made


def flow_to_three_places():
    for _ in range(2):
        yield from request()
        yield from request("PUT", "http://storage.test/p")
        yield from request("PUT", "https://storage.test/p")


def test_one_client_serves_each_kind_of_place_and_tls_is_loaded_where_it_is_needed(monkeypatch):
    made = counted(monkeypatch, "Client")
    with Client(api_key="k", base_url=BASE) as client:
        client.run(flow_to_three_places())
        client.with_options(timeout=3).run(flow_to_three_places())
    assert made == [False, False, "context"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_all_clients_share_one_tls_context(monkeypatch, kind):
    made = counted(monkeypatch, KINDS[kind].__name__)

    def flow():
        yield from request()
        yield from request("PUT", "https://storage.test/p")

    async def main():
        async with AsyncClient(api_key="k", base_url="https://api.test") as client:
            await client.run(flow())

    for _ in range(2):
        if kind == "async":
            asyncio.run(main())
        else:
            with Client(api_key="k", base_url="https://api.test") as client:
                client.run(flow())
    assert made == ["context"] * 4


def test_nothing_is_sent_in_plain_text_for_an_https_api(rig, respx_mock):
    route = respx_mock.put("http://storage.test/p").respond()
    with pytest.raises(
        APIError, match=r"PUT http://storage\.test/p: expected https, as for the API itself, found http"
    ):
        rig.do(lambda client: client.run(request("PUT", "http://storage.test/p?s=1")), base_url="https://api.test")
    assert not route.called


def test_each_event_loop_has_clients_of_its_own(monkeypatch):
    made = counted(monkeypatch, "AsyncClient")
    client = AsyncClient(api_key="k", base_url=BASE)

    async def main():
        await client.run(flow_to_three_places())
        await client.with_options(timeout=3).run(flow_to_three_places())

    asyncio.run(main())
    asyncio.run(main())
    assert made == [False, False, "context"] * 2
    assert len(client._driver._pools) == 1


def test_an_async_client_is_used_in_two_event_loops_one_after_the_other():
    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 13\r\nconnection: close\r\n\r\n{"id":"ft-1"}')
        await writer.drain()
        writer.close()

    clients = {}

    async def main(port=0):
        server = await asyncio.start_server(serve, "127.0.0.1", port)
        async with server:
            port = server.sockets[0].getsockname()[1]
            client = clients.setdefault("one", AsyncClient(api_key="k", base_url=f"http://127.0.0.1:{port}"))
            job = await client.fine_tuning.retrieve("ft-1")
        return job.id, port

    first, port = asyncio.run(main())
    assert (first, asyncio.run(main(port))[0]) == ("ft-1", "ft-1")


def test_a_client_of_ones_own_is_used_for_the_api_alone(monkeypatch):
    seen = []

    def answer(sent):
        seen.append((str(sent.url), sent.headers["authorization"]))
        return httpx.Response(200, json={})

    own = httpx.Client(transport=httpx.MockTransport(answer), auth=("user", "password"))
    with Client(api_key="k", base_url=BASE, http_client=own) as client:
        assert client.files  # it has its driver, and so its own client, before the others are counted
        made = counted(monkeypatch, "Client")
        client.run(flow_to_three_places())
    assert (seen, made, own.is_closed) == ([(f"{BASE}/v1/x", "Bearer k")] * 2, [False, "context"], True)


def test_an_async_client_of_ones_own_is_used_for_the_api_alone(monkeypatch):
    own = httpx.AsyncClient(transport=httpx.MockTransport(lambda sent: httpx.Response(200, json={})))

    async def main():
        async with AsyncClient(api_key="k", base_url=BASE, http_client=own) as client:
            assert client.files
            made = counted(monkeypatch, "AsyncClient")
            await client.run(flow_to_three_places())
            return made

    made = asyncio.run(main())
    assert (made, own.is_closed) == ([False, "context"], True)


def test_an_async_client_of_ones_own_is_of_one_loop():
    own = httpx.AsyncClient(transport=httpx.MockTransport(lambda sent: httpx.Response(200, json={})))
    client = AsyncClient(api_key="k", base_url=BASE, http_client=own)

    async def main():
        await client.request("GET", "/x")

    asyncio.run(main())
    with pytest.raises(ConfigError) as error:
        asyncio.run(main())
    assert str(error.value).startswith("http_client: expected one event loop, found a second; ")


def test_the_shared_tls_context_trusts_nobody_blindly():
    assert (_tls().verify_mode, _tls().check_hostname, _tls() is _tls()) == (ssl.CERT_REQUIRED, True, True)


def test_headers_and_hooks_of_ones_own_client_are_used(rig, respx_mock):
    route, seen = respx_mock.get(f"{BASE}/v1/x").respond(json={}), []

    async def note_async(sent):
        seen.append(str(sent.url))

    hooks = {"request": [note_async if rig.kind == "async" else lambda sent: seen.append(str(sent.url))]}
    own = KINDS[rig.kind](headers={"x-mine": "1"}, event_hooks=hooks)
    rig.do(lambda client: client.request("GET", "/x"), http_client=own)
    assert (seen, route.calls.last.request.headers["x-mine"]) == ([f"{BASE}/v1/x"], "1")


@pytest.fixture
def server():
    """A server on this machine that answers every request with its own address; what came is kept."""
    came = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            came.append((self.command, self.path, self.headers.get("proxy-authorization")))
            content = json.dumps({"id": self.path.rpartition("/")[2]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_PUT = do_GET  # noqa: N815 - the name that http.server calls

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        one.daemon_threads, one.came = True, came
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def test_a_proxy_is_for_the_api_and_for_storage(rig, server):
    def flow():
        yield from request()
        yield from request("PUT", "http://storage.test/p")

    rig.do(lambda client: client.run(flow()), proxy=f"http://user:hidden@127.0.0.1:{server.server_port}")
    password = f"Basic {base64.b64encode(b'user:hidden').decode()}"
    assert server.came == [("GET", f"{BASE}/v1/x", password), ("PUT", "http://storage.test/p", password)]


@pytest.mark.parametrize("proxy", ["user:hidden@host:1", "ftp://user:hidden@host", "http://user:hid/den@host:1"])
@pytest.mark.parametrize("where", ["argument", "environment"])
def test_a_proxy_that_cannot_be_read_is_refused_and_not_shown(rig, monkeypatch, proxy, where):
    if where == "environment":
        proxy = proxy if "://" in proxy else f"odd://{proxy}"
        monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ConfigError) as error:
        rig.do(lambda client: client.request("GET", "/x"), **{"proxy": proxy} if where == "argument" else {})
    assert str(error.value) == (
        "proxy: expected an address, found something else; for example http://user:password@host:3128, with / and @ "
        "of a password percent-encoded; look at HTTP_PROXY, HTTPS_PROXY and ALL_PROXY too"
    )
    assert "hid" not in "".join(traceback.format_exception(error.value))


def test_one_client_serves_many_threads(server):
    found = {}

    def ask(number):
        found[number] = [client.fine_tuning.retrieve(f"ft-{number}-{i}").id for i in range(4)]

    with Client(api_key="k", base_url=f"http://127.0.0.1:{server.server_port}") as client:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert found == {number: [f"ft-{number}-{i}" for i in range(4)] for number in range(16)}


def test_either_client_can_be_used_where_a_loop_runs(server):
    async def cell():
        base_url = f"http://127.0.0.1:{server.server_port}"
        with Client(api_key="k", base_url=base_url) as blocking:
            first = blocking.fine_tuning.retrieve("ft-1").id
        async with AsyncClient(api_key="k", base_url=base_url) as client:
            return first, (await client.fine_tuning.retrieve("ft-2")).id

    assert asyncio.run(cell()) == ("ft-1", "ft-2")


def test_the_cause_of_a_failure_holds_no_request_with_its_secrets(rig, respx_mock):
    respx_mock.get(f"{BASE}/v1/x").mock(side_effect=httpx.ConnectError("refused"))
    with pytest.raises(APIConnectionError) as error:
        rig.do(lambda client: client.request("GET", "/x"), max_retries=0)
    assert (str(error.value.__cause__), vars(error.value.__cause__)) == ("refused", {"_request": None})


def test_closing_what_was_never_used_does_nothing():
    Client(api_key="k").close()
    asyncio.run(AsyncClient(api_key="k").close())
