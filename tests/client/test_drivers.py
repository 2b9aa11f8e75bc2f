import asyncio
import threading
from contextlib import aclosing, closing

import httpx
import pytest

import preftune
from preftune.api.steps import Call, Emit, Now, Request, Sleep, Token
from preftune.client.clients import AsyncClient, Client
from preftune.errors import (
    APIConnectionError,
    APIError,
    APIResponseValidationError,
    APIStatusError,
    APITimeoutError,
    NotFoundError,
)

BASE = "http://api.test"
KEY = "key-of-the-tests"
NETWORK = "is the server running, and the network up?"
SETTINGS = "look at base_url and the headers"
JOB = {"id": "ft-1", "status": "completed"}


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
    rig.do(lambda client: client.run(request("PUT", "http://storage.test/p", body=path)))
    for call in route.calls:
        assert call.request.content == path.read_bytes()
        assert call.request.headers["content-length"] == str(size)
        assert "transfer-encoding" not in call.request.headers


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
    answer = rig.do(lambda client: client.run(request(into=tmp_path / "body")))
    assert (answer.content, (tmp_path / "body").read_bytes()) == (b"", b"abc" * 9)


def test_a_body_that_is_tried_again_begins_anew(rig, respx_mock, tmp_path):
    class Breaking(httpx.SyncByteStream, httpx.AsyncByteStream):
        def __iter__(self):
            yield b"abc"
            raise httpx.ReadError("broken")

        async def __aiter__(self):
            yield b"abc"
            raise httpx.ReadError("broken")

    respx_mock.get(f"{BASE}/v1/x").mock(
        side_effect=[httpx.Response(200, stream=Breaking()), httpx.Response(200, content=b"whole")]
    )
    rig.do(lambda client: client.run(request(into=tmp_path / "body")))
    assert (tmp_path / "body").read_bytes() == b"whole"


def test_a_refusal_is_not_written_into_the_file(rig, respx_mock, tmp_path):
    respx_mock.get(f"{BASE}/v1/x").respond(404, json={"message": "gone"})
    with pytest.raises(NotFoundError, match="GET /x: 404, gone"):
        rig.do(lambda client: client.run(request(into=tmp_path / "body")))
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
    yield Emit("first")
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


# connections


def counted(monkeypatch, name):
    """Count the httpx clients that are made, by whether they verify TLS."""
    made = []

    class Counting(getattr(httpx, name)):
        def __init__(self, *, verify):
            made.append(verify)
            super().__init__(transport=httpx.MockTransport(lambda request: httpx.Response(200, json={})))

    monkeypatch.setattr(httpx, name, Counting)
    return made


def flow_to_three_places():
    for _ in range(2):
        yield from request()
        yield from request("PUT", "http://storage.test/p")
        yield from request("PUT", "https://storage.test/p")


@pytest.mark.parametrize(("base_url", "secure"), [(BASE, False), ("https://api.test", True)])
def test_one_client_serves_each_kind_of_place_and_tls_is_loaded_where_it_is_needed(monkeypatch, base_url, secure):
    made = counted(monkeypatch, "Client")
    with Client(api_key="k", base_url=base_url) as client:
        client.run(flow_to_three_places())
        client.with_options(timeout=3).run(flow_to_three_places())
    assert made == [secure, False, True]


def test_each_event_loop_has_clients_of_its_own(monkeypatch):
    made = counted(monkeypatch, "AsyncClient")
    client = AsyncClient(api_key="k", base_url=BASE)

    async def main():
        await client.run(flow_to_three_places())
        await client.with_options(timeout=3).run(flow_to_three_places())

    asyncio.run(main())
    asyncio.run(main())
    assert made == [False, False, True] * 2
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
    made = counted(monkeypatch, "Client")
    with Client(api_key="k", base_url=BASE, http_client=own) as client:
        client.run(flow_to_three_places())
    assert (seen, made, own.is_closed) == ([(f"{BASE}/v1/x", "Bearer k")] * 2, [False, True], True)


def test_an_async_client_of_ones_own_is_used_for_the_api_alone(monkeypatch):
    own = httpx.AsyncClient(transport=httpx.MockTransport(lambda sent: httpx.Response(200, json={})))
    made = counted(monkeypatch, "AsyncClient")

    async def main():
        async with AsyncClient(api_key="k", base_url=BASE, http_client=own) as client:
            await client.run(flow_to_three_places())

    asyncio.run(main())
    assert (made, own.is_closed) == ([False, True], True)


def test_closing_what_was_never_used_does_nothing():
    Client(api_key="k").close()
    asyncio.run(AsyncClient(api_key="k").close())
