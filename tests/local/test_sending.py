import asyncio
import base64
import hashlib

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from preftune.local.refusal import Refused
from preftune.local.sending import send_file

CONTENT = b"0123456789"


@pytest.fixture
def ask(tmp_path):
    """Return a way to ask for one file of ten bytes, whose path it has as `path`."""

    def asking(method="GET", **headers):
        return asyncio.run(_asked(method, asking.path, {name.replace("_", "-"): headers[name] for name in headers}))

    asking.path = tmp_path / "file"
    asking.path.write_bytes(CONTENT)
    return asking


async def _asked(method, path, headers):
    async def endpoint(request):
        return await send_file(request, path, "the file")

    app = Starlette(routes=[Route("/", endpoint)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://local") as client:
        return await client.request(method, "/", headers=headers)


def test_a_file_is_sent_whole_with_its_size_tag_and_digest(ask):
    answer = ask()
    digest = hashlib.sha256(CONTENT).digest()
    assert (answer.status_code, answer.content) == (200, CONTENT)
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-length"] == "10"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["etag"] == f'"{digest.hex()}"'
    assert answer.headers["repr-digest"] == f"sha-256=:{base64.b64encode(digest).decode()}:"
    assert "content-disposition" not in answer.headers


def test_a_head_request_is_told_the_same_without_the_bytes(ask):
    whole, head = ask(), ask("HEAD")
    assert (head.status_code, head.content, dict(head.headers)) == (200, b"", dict(whole.headers))
    part = ask("HEAD", range="bytes=2-4")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"", "bytes 2-4/10")


@pytest.mark.parametrize(
    ("asked", "content", "said"),
    [
        ("bytes=-1", b"9", "bytes 9-9/10"),
        ("bytes=-10", CONTENT, "bytes 0-9/10"),
        ("bytes=-100", CONTENT, "bytes 0-9/10"),
        ("bytes=0-", CONTENT, "bytes 0-9/10"),
        ("bytes=0-0", b"0", "bytes 0-0/10"),
        ("bytes=0-1", b"01", "bytes 0-1/10"),
        ("bytes=3-9", b"3456789", "bytes 3-9/10"),
        ("bytes=8-999999999999999999", b"89", "bytes 8-9/10"),
        ("bytes=9-", b"9", "bytes 9-9/10"),
    ],
)
def test_a_range_is_sent_with_its_place_and_the_digest_of_the_whole(ask, asked, content, said):
    whole, answer = ask(), ask(range=asked)
    assert (answer.status_code, answer.content, answer.headers["content-range"]) == (206, content, said)
    assert answer.headers["content-length"] == str(len(content))
    for name in ("etag", "repr-digest"):
        assert answer.headers[name] == whole.headers[name]


@pytest.mark.parametrize("asked", ["bytes=-0", "bytes=10-", "bytes=10-20", "bytes=999999999999999999-", "bytes=5-4"])
def test_a_range_outside_the_file_is_refused_with_its_size(ask, asked):
    answer = ask(range=asked)
    message = "the range lies outside the 10 bytes of the file"
    error = {"message": message, "type": "invalid_request_error", "param": "range", "code": None}
    assert (answer.status_code, answer.json(), answer.headers["content-range"]) == (416, {"error": error}, "bytes */10")


@pytest.mark.parametrize("asked", ["bytes=-1", "bytes=0-"])
def test_an_empty_file_has_no_range_but_is_sent_whole(ask, asked):
    ask.path.write_bytes(b"")
    assert (ask().status_code, ask().content, ask().headers["content-length"]) == (200, b"", "0")
    answer = ask(range=asked)
    assert (answer.status_code, answer.headers["content-range"]) == (416, "bytes */0")


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "0-1",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=0",
        "bytes=0-1,3-4",
        "bytes=0-1;3",
        "bytes=1.5-2",
        "bytes=a-b",
        "bytes=+1-2",
        "bytes=" + "1" * 5000 + "-",
        "lines=0-1",
    ],
)
def test_a_range_that_cannot_be_read_is_ignored(ask, asked):
    answer = ask(range=asked)
    assert (answer.status_code, answer.content, "content-range" in answer.headers) == (200, CONTENT, False)


def test_a_range_of_the_same_file_goes_on_and_of_another_begins_anew(ask):
    tag = ask().headers["etag"]
    same = ask(range="bytes=7-", if_range=tag)
    assert (same.status_code, same.content) == (206, b"789")
    for other in ('"0"', f"W/{tag}", "Thu, 01 Jan 1970 00:00:00 GMT"):
        answer = ask(range="bytes=7-", if_range=other)
        assert (answer.status_code, answer.content) == (200, CONTENT)


def test_a_range_past_the_end_of_what_may_be_another_file_begins_anew(ask):
    answer = ask(range="bytes=20-", if_range='"0"')
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_other_content_has_another_tag(ask):
    before = ask()
    ask.path.write_bytes(b"other")
    after = ask(range="bytes=1-", if_range=before.headers["etag"])
    assert (after.status_code, after.content) == (200, b"other")
    assert after.headers["etag"] == f'"{hashlib.sha256(b"other").hexdigest()}"'


def test_a_file_larger_than_a_chunk_is_sent_whole_and_from_any_byte_on(ask):
    content = bytes(range(256)) * 1024
    ask.path.write_bytes(content)
    assert ask().content == content
    assert ask(range="bytes=100001-").content == content[100_001:]


def test_a_file_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(Refused) as caught:
        asyncio.run(_asked("GET", tmp_path / "nothing", {}))
    assert (caught.value.status, caught.value.message) == (404, "the file is not there")


def test_a_file_that_is_deleted_while_it_is_sent_arrives_whole(ask):
    async def endpoint(request):
        answer = await send_file(request, ask.path, "the file")
        ask.path.unlink()
        return answer

    async def asked():
        transport = httpx.ASGITransport(Starlette(routes=[Route("/", endpoint)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
            return await client.get("/", headers={"range": "bytes=2-"})

    assert asyncio.run(asked()).content == CONTENT[2:]
