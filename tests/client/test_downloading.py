import asyncio
import base64
import gzip
import hashlib
import io
import re
import tarfile
from contextlib import contextmanager

import httpx
import pytest
import zstandard

from preftune.api.steps import Call, Response, Retries
from preftune.client.clients import AsyncClient, Client
from preftune.client.downloading import download_file
from preftune.errors import (
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    ConfigError,
    IntegrityError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)

BASE = "http://api.test"
CONTENT = bytes(range(100))
OTHER = bytes(range(100, 200))
PROBE = ("bytes=0-1", None)
HIDDEN = ".target.file-1.part"


def asked(start, tag='"one"'):
    return f"bytes={start}-", tag


class Dropping(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces of ten bytes that breaks off at its end."""

    def __init__(self, content):
        self._pieces = [content[i : i + 10] for i in range(0, len(content), 10)]

    def __iter__(self):
        yield from self._pieces
        raise httpx.ReadError("dropped")

    async def __aiter__(self):
        for piece in self._pieces:
            yield piece
        raise httpx.ReadError("dropped")


class Shelf:
    """An object that is served in ranges; `cuts` are the bytes after which one answer after another breaks off."""

    def __init__(self, content, tag='"one"', **headers):
        self.content, self.tag, self.headers = content, tag, headers
        self.cuts = []
        self.asked, self.served, self.before = [], 0, {}

    def replace(self, content, tag):
        self.content, self.tag = content, tag

    def __call__(self, request):
        spoken = request.headers.get("range"), request.headers.get("if-range")
        happens = self.before.pop(len(self.asked), None)
        self.asked.append(spoken)
        special = happens() if happens else None
        if special is not None:
            return special
        return self.answer(*spoken)

    def answer(self, wanted, tag):
        start, end = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted).groups()
        start, end = int(start), min(int(end or 2**40) + 1, len(self.content))
        headers = self.headers | ({"etag": self.tag} if self.tag else {})
        if tag not in (None, self.tag):
            start, end, status = 0, len(self.content), 200
        else:
            headers["content-range"], status = f"bytes {start}-{end - 1}/{len(self.content)}", 206
        cut = self.cuts.pop(0) if self.cuts and wanted != "bytes=0-1" else None
        body = self.content[start:end][:cut]
        self.served += len(body)
        whole = {"content-length": str(end - start)} | headers
        return httpx.Response(status, headers=whole, stream=httpx.ByteStream(body) if cut is None else Dropping(body))


@pytest.fixture
def router(respx_mock):
    respx_mock._assert_all_called = False
    return respx_mock


@pytest.fixture
def shelf(router, monkeypatch):
    monkeypatch.setattr("preftune.client.drivers._CHUNK", 10)  # what comes is written at once
    shelf = Shelf(CONTENT)
    router.get(f"{BASE}/v1/files/file-1/content").side_effect = shelf
    return shelf


@pytest.fixture
def target(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "target"


def downloading(to, **more):
    return lambda client: client.files.download("file-1", to=to, **more)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# in ranges


def test_a_download_is_probed_and_then_brought(rig, shelf, target):
    assert rig.do(downloading(str(target))) == target
    assert shelf.asked == [PROBE, asked(0)]
    assert contents(target.parent) == {"target": CONTENT}


def test_the_bytes_are_asked_for_as_they_are(rig, router, shelf, target):
    rig.do(downloading(target))
    assert {call.request.headers["accept-encoding"] for call in router.calls} == {"identity"}
    assert {call.request.headers["accept"] for call in router.calls} == {"application/binary"}


def test_after_a_break_only_what_is_missing_is_asked_for(rig, shelf, target):
    shelf.cuts = [30, 50]
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0), asked(30), asked(80)]
    assert (shelf.served, rig.slept) == (102, [0.5, 0.5])
    assert contents(target.parent) == {"target": CONTENT}


def test_breaks_count_only_when_nothing_came_since_the_last_one(rig, shelf, target):
    shelf.cuts = [10, 0, 0, 10, 0, 0, 10]
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, *map(asked, (0, 10, 10, 10, 20, 20, 20, 30))]
    assert rig.slept == [0.5, 0.5, 1.0, 0.5, 0.5, 1.0, 0.5]
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_a_server_that_fails_in_between_is_asked_again(rig, shelf, target, status):
    shelf.cuts = [30]
    shelf.before = {
        0: lambda: httpx.Response(status),
        3: lambda: httpx.Response(status, headers={"retry-after-ms": "1500"}),
    }
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, PROBE, asked(0), asked(30), asked(30)]
    assert rig.slept == [0.5, 0.5, 1.5]
    assert target.read_bytes() == CONTENT


def test_a_later_call_goes_on_where_an_earlier_one_broke_off(rig, shelf, target):
    shelf.cuts = [40, 0]
    with pytest.raises(APIConnectionError):
        rig.do(downloading(target), max_retries=0)
    assert names(target.parent) == [HIDDEN]
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0), asked(40), PROBE, asked(40)]
    assert shelf.served == len(CONTENT) + 2 * 2
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize("rig", ["sync"], indirect=True)
def test_a_later_call_of_another_kind_of_client_goes_on_too(rig, shelf, target):
    shelf.cuts = [40, 0]
    with pytest.raises(APIConnectionError):
        rig.do(downloading(target), max_retries=0)

    async def second():
        async with AsyncClient(api_key="k", base_url=BASE) as client:
            return await client.files.download("file-1", to=target)

    asyncio.run(second())
    assert shelf.asked[3:] == [PROBE, asked(40)]
    assert contents(target.parent) == {"target": CONTENT}


def test_what_is_there_whole_already_is_not_asked_for_again(rig, shelf, target):
    shelf.cuts = [100, 0]
    shelf.before = {2: lambda: (_ for _ in ()).throw(AssertionError("nothing is missing"))}
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0)]
    assert target.read_bytes() == CONTENT


def test_more_than_there_is_is_thrown_away(rig, shelf, target):
    shelf.cuts = [40, 0]
    with pytest.raises(APIConnectionError):
        rig.do(downloading(target), max_retries=0)
    (target.parent / HIDDEN / "content").write_bytes(bytes(200))
    shelf.before = {4: lambda: httpx.Response(416)}
    rig.do(downloading(target))
    assert shelf.asked[3:] == [PROBE, asked(200), PROBE, asked(0)]
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize("noted", ["", "{", "[]", '{"size": 100, "tag": "\\"old\\"", "digest": null}', "\xff"])
def test_what_was_left_by_something_else_is_thrown_away(rig, shelf, target, noted):
    folder = target.parent / HIDDEN
    folder.mkdir()
    (folder / "content").write_bytes(OTHER[:50])
    (folder / "promise.json").write_bytes(noted.encode("latin-1"))
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0)]
    assert contents(target.parent) == {"target": CONTENT}


# what changes


@pytest.mark.parametrize("cuts", [[], [30], [30, 30]])
def test_an_object_that_changes_is_begun_again_and_never_mixed(rig, shelf, target, cuts):
    shelf.cuts = [*cuts]
    shelf.before = {len(cuts) + 1: lambda: shelf.replace(OTHER, '"two"')}
    rig.do(downloading(target))
    before = [PROBE, *(asked(30 * i) for i in range(len(cuts) + 1))]
    assert shelf.asked == [*before, PROBE, asked(0, '"two"')]
    assert contents(target.parent) == {"target": OTHER}


def test_an_object_that_changes_between_two_calls_is_begun_again(rig, shelf, target):
    shelf.cuts = [40, 0]
    with pytest.raises(APIConnectionError):
        rig.do(downloading(target), max_retries=0)
    shelf.replace(OTHER, '"two"')
    rig.do(downloading(target))
    assert shelf.asked[3:] == [PROBE, asked(0, '"two"')]
    assert contents(target.parent) == {"target": OTHER}


def test_a_server_that_knows_no_if_range_cannot_mix_either(rig, shelf, target):
    shelf.cuts = [30]
    other = {"content-range": "bytes 30-99/100", "etag": '"two"'}

    def changed():
        shelf.replace(OTHER, '"two"')
        return httpx.Response(206, headers=other, content=OTHER[30:])

    shelf.before = {2: changed}
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0), asked(30), PROBE, asked(0, '"two"')]
    assert contents(target.parent) == {"target": OTHER}


@pytest.mark.parametrize("tags", [('W/"one"', 'W/"two"'), ('W/"one"', '"one"'), ('"one"', 'W/"one"')])
def test_a_tag_that_differs_from_that_of_the_probe_is_refused_unread(rig, shelf, target, tags):
    probed, came = tags
    shelf.tag = probed
    shelf.before = {1: lambda: some(0, OTHER, came)}
    rig.do(downloading(target))
    assert [spoken for spoken, _ in shelf.asked] == ["bytes=0-1", "bytes=0-"] * 2
    assert contents(target.parent) == {"target": CONTENT}


def test_an_object_that_keeps_changing_is_given_up(rig, shelf, target):
    shelf.before = {number: lambda number=number: shelf.replace(CONTENT, f'"{number}"') for number in range(1, 8, 2)}
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target))
    assert str(error.value) == (
        "download: expected what was there at its beginning, found that it changed; begin again"
    )
    assert len(shelf.asked) == 6
    assert names(target.parent) == []


# servers that answer otherwise


def whole(content, **headers):
    headers = {"etag": '"one"'} | {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(200, content=content, headers=headers)


def test_a_server_without_ranges_is_taken_at_its_word(rig, shelf, target):
    shelf.before = {0: lambda: whole(CONTENT)}
    rig.do(downloading(target))
    assert shelf.asked == [PROBE]
    assert contents(target.parent) == {"target": CONTENT}


def test_a_server_without_ranges_is_asked_for_all_of_it_again(rig, shelf, target):
    headers = {"content-length": "100"}
    shelf.before = {
        0: lambda: httpx.Response(503),
        1: lambda: httpx.Response(200, headers=headers, stream=Dropping(CONTENT[:50])),
        2: lambda: whole(CONTENT),
    }
    rig.do(downloading(target))
    assert shelf.asked == [PROBE] * 3
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize("cuts", [[], [30]])
def test_all_of_it_instead_of_a_range_takes_the_place_of_what_came(rig, shelf, target, cuts):
    shelf.cuts = [*cuts]
    shelf.before = {len(cuts) + 1: lambda: whole(CONTENT)}
    rig.do(downloading(target))
    assert len(shelf.asked) == 2 + len(cuts)
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize("stated", [None, "bytes 0-99/100", "bytes 29-99/100", "bytes 31-99/100", "odd"])
def test_a_range_that_was_not_asked_for_is_not_taken(rig, shelf, target, stated):
    shelf.cuts = [30]
    headers = {"etag": '"one"'} | ({"content-range": stated} if stated else {})
    shelf.before = {2: lambda: httpx.Response(206, headers=headers, content=OTHER)}
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0), asked(30), PROBE, asked(0)]
    assert contents(target.parent) == {"target": CONTENT}


def test_ranges_that_are_never_the_right_ones_are_given_up(rig, shelf, target):
    headers = {"etag": '"one"', "content-range": "bytes 5-99/100"}
    shelf.before = {number: lambda: httpx.Response(206, headers=headers, content=OTHER[5:]) for number in (1, 3, 5)}
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target))
    assert str(error.value) == "download: expected the bytes from 0 on, found 'bytes 5-99/100'; begin again"
    assert names(target.parent) == []


@pytest.mark.parametrize("stated", ["bytes 0-1/*", "bytes 0-1", "bytes 0-1/1e3", "bytes 0-1/-5"])
def test_a_probe_that_does_not_say_the_size_is_refused(rig, shelf, target, stated):
    shelf.before = {0: lambda: httpx.Response(206, headers={"content-range": stated}, content=b"\0\1")}
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target))
    assert str(error.value) == f"download: expected Content-Range with a size, found {stated!r}; download it again"
    assert names(target.parent) == []


def test_an_object_that_is_shorter_than_the_range_is_begun_again(rig, shelf, target):
    shelf.cuts = [30]
    shelf.before = {2: lambda: shelf.replace(OTHER, '"two"') or httpx.Response(416)}
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0), asked(30), PROBE, asked(0, '"two"')]
    assert contents(target.parent) == {"target": OTHER}


def test_ranges_that_are_never_there_are_given_up(rig, shelf, target):
    shelf.before = {number: lambda: httpx.Response(416) for number in (1, 3, 5)}
    with pytest.raises(APIStatusError, match="/content: 416"):
        rig.do(downloading(target))
    assert names(target.parent) == []


def test_an_empty_file_is_downloaded_from_a_server_that_has_no_range_of_it(rig, shelf, target):
    shelf.before = {
        0: lambda: httpx.Response(416, headers={"content-range": "bytes */0"}, content=b"no such range"),
        1: lambda: whole(b""),
    }
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, (None, None)]
    assert contents(target.parent) == {"target": b""}


@pytest.mark.parametrize("size", [0, 1, 2])
def test_a_small_file_is_downloaded(rig, shelf, target, size):
    shelf.replace(CONTENT[:size], '"one"')
    if size == 0:
        shelf.before = {0: lambda: whole(b"")}
    rig.do(downloading(target))
    assert target.read_bytes() == CONTENT[:size]


@pytest.mark.parametrize("tag", [None, 'W/"one"'])
def test_without_a_strong_tag_nothing_is_put_together(rig, shelf, target, tag):
    shelf.tag = tag
    shelf.cuts = [30, 50]
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, *[asked(0, None)] * 3]
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize("tag", [None, 'W/"one"'])
def test_without_a_strong_tag_every_break_counts_and_nothing_is_kept(rig, shelf, target, tag):
    shelf.tag = tag
    shelf.cuts = [50] * 9
    with pytest.raises(APIConnectionError):
        rig.do(downloading(target))
    assert shelf.asked == [PROBE, *[asked(0, None)] * 3]
    assert names(target.parent) == []


def test_a_tag_that_is_lost_between_two_calls_is_no_reason_to_mix(rig, shelf, target):
    shelf.cuts = [40, 0]
    with pytest.raises(APIConnectionError):
        rig.do(downloading(target), max_retries=0)
    shelf.replace(OTHER, None)
    rig.do(downloading(target))
    assert shelf.asked[3:] == [PROBE, asked(0, None)]
    assert contents(target.parent) == {"target": OTHER}


# verification


def some(start, content, tag='"one"'):
    """Return an answer that ends without a word on its length."""
    headers = {"content-range": f"bytes {start}-99/100"} | ({"etag": tag} if tag else {})
    return httpx.Response(206, headers=headers, stream=httpx.ByteStream(content))


def test_answers_that_end_early_without_a_word_are_gone_on_with(rig, shelf, target):
    shelf.before = {1: lambda: some(0, CONTENT[:30]), 2: lambda: some(30, CONTENT[30:99])}
    rig.do(downloading(target))
    assert (shelf.asked, rig.slept) == ([PROBE, asked(0), asked(30), asked(99)], [])
    assert contents(target.parent) == {"target": CONTENT}


def test_answers_that_are_shorter_than_asked_for_are_gone_on_with(rig, shelf, target):
    def part(start, end):
        headers = {"etag": '"one"', "content-range": f"bytes {start}-{end - 1}/100"}
        return httpx.Response(206, headers=headers, content=CONTENT[start:end])

    shelf.before = {at: lambda at=at: part(20 * at - 20, 20 * at) for at in range(1, 6)}
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, *map(asked, range(0, 100, 20))]
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize(("retries", "tries"), [(0, 1), (2, 3)])
def test_a_server_that_sends_nothing_more_is_given_up(rig, shelf, target, retries, tries):
    nothing = [PROBE, asked(0), *[asked(30)] * tries]
    for beginning in range(3):
        first = beginning * len(nothing)
        shelf.before[first + 1] = lambda: some(0, CONTENT[:30])
        shelf.before |= dict.fromkeys(range(first + 2, first + len(nothing)), lambda: some(30, b""))
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target), max_retries=retries)
    assert str(error.value) == "download: expected 100 bytes, found an end at 30; download it again"
    assert shelf.asked == nothing * 3
    assert names(target.parent) == []


@pytest.mark.parametrize("tag", [None, 'W/"one"'])
def test_without_a_strong_tag_an_early_end_begins_again(rig, shelf, target, tag):
    shelf.tag = tag
    shelf.before = {1: lambda: some(0, OTHER[:30], tag), 2: lambda: some(0, OTHER[:90], tag)}
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, *[asked(0, None)] * 3]
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize("tag", [None, 'W/"one"'])
def test_without_a_strong_tag_early_ends_are_given_up(rig, shelf, target, tag):
    shelf.tag = tag
    shelf.before = {at: lambda: some(0, CONTENT[:90], tag) for at in range(20) if at % 4}
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target))
    assert str(error.value) == "download: expected 100 bytes, found an end at 0; download it again"
    assert shelf.asked == [PROBE, *[asked(0, None)] * 3] * 3
    assert names(target.parent) == []


class Endless(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body that is far too long, and counts what was taken of it."""

    def __init__(self):
        self.given = 0

    def __iter__(self):
        for _ in range(10_000):
            self.given += 10
            yield bytes(10)

    async def __aiter__(self):
        for piece in self:
            yield piece


@pytest.mark.parametrize("status", [200, 206])
def test_a_body_without_an_end_is_refused_where_it_goes_beyond_what_there_is(rig, shelf, target, status):
    bodies = [Endless() for _ in range(3)]
    headers = {"etag": '"one"', "content-range": "bytes 0-99/100"}
    shelf.before = {
        2 * number + 1: lambda body=body: httpx.Response(status, headers=headers, stream=body)
        for number, body in enumerate(bodies)
    }
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target))
    assert str(error.value) == "download: expected 100 bytes, found more; download it again"
    assert [body.given for body in bodies] == [110] * 3
    assert names(target.parent) == []


def test_one_byte_too_many_is_thrown_away_with_all_that_came(rig, shelf, target):
    shelf.before = {1: lambda: some(0, OTHER + b"\0")}
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0)] * 2
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
@pytest.mark.parametrize("at", [0, 1])
def test_bytes_that_are_not_as_they_are_are_refused(rig, shelf, target, encoding, at):
    coded = {"content-encoding": encoding, "content-range": "bytes 0-99/100", "etag": '"one"'}
    stream = gzip.compress(CONTENT)
    for number in range(at, 9, 2):
        shelf.before[number] = lambda: httpx.Response(206, headers=coded, stream=httpx.ByteStream(stream))
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target))
    assert str(error.value) == f"download: expected the bytes as they are, found {encoding}; is a proxy in between?"
    assert names(target.parent) == []


def test_an_encoding_that_changes_nothing_may_be_said(rig, shelf, target):
    shelf.headers = {"content-encoding": "identity"}
    rig.do(downloading(target))
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize("stated", [99, 101])
def test_a_size_that_a_server_without_ranges_promised_is_held_too(rig, shelf, target, stated):
    shelf.before = {0: lambda: whole(CONTENT, content_length=str(stated))}
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target))
    assert str(error.value) == f"download: expected {stated} bytes, found 100; download it again"
    assert names(target.parent) == []


def test_a_size_need_not_be_promised(rig, shelf, target):
    shelf.before = {0: lambda: httpx.Response(200, stream=httpx.ByteStream(CONTENT))}
    rig.do(downloading(target))
    assert contents(target.parent) == {"target": CONTENT}


def sha256(content):
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


DIGESTS = {
    "repr-digest": "sha-256=:{}:",
    "digest": "SHA-256={}",
    "x-amz-checksum-sha256": "{}",
}


@pytest.mark.parametrize("name", DIGESTS)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_digest_that_is_stated_is_verified(rig, shelf, target, name, ranges):
    def serve(content):
        shelf.headers = {name: DIGESTS[name].format(sha256(content))}
        shelf.before = {} if ranges else {0: lambda: whole(CONTENT, **shelf.headers)}
        shelf.asked.clear()

    serve(CONTENT)
    rig.do(downloading(target))
    assert contents(target.parent) == {"target": CONTENT}
    target.unlink()
    serve(OTHER)
    with pytest.raises(IntegrityError) as error:
        rig.do(downloading(target))
    expected, found = (hashlib.sha256(content).hexdigest() for content in (OTHER, CONTENT))
    assert str(error.value) == f"download: expected SHA-256 {expected}, found {found}; download it again"
    assert names(target.parent) == []


def test_one_digest_of_several_is_found(rig, shelf, target):
    shelf.headers = {"repr-digest": f"md5=:AAAA:, SHA-256=:{sha256(OTHER)}:, sha-512=:AAAA:"}
    with pytest.raises(IntegrityError, match="expected SHA-256"):
        rig.do(downloading(target))


@pytest.mark.parametrize(
    "headers",
    [
        {"repr-digest": "sha-256=:no base64!:"},
        {"repr-digest": "sha-256"},
        {"repr-digest": "sha-512=:AAAA:"},
        {"digest": "SHA-256=AAAA"},
        {"digest": ",,="},
        {"x-amz-checksum-sha256": f"{sha256(OTHER)}-3"},
        {"x-amz-checksum-sha256": ""},
    ],
)
def test_a_digest_that_cannot_be_read_is_none(rig, shelf, target, headers):
    shelf.headers = headers
    rig.do(downloading(target))
    assert contents(target.parent) == {"target": CONTENT}


# failures


@pytest.mark.parametrize(("failure", "kind"), [(404, NotFoundError), (418, APIStatusError), (401, APIStatusError)])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_failure_for_good_leaves_nothing(rig, shelf, target, failure, kind, at):
    shelf.cuts = [30]
    shelf.before = {at: lambda: httpx.Response(failure)}
    with pytest.raises(kind):
        rig.do(downloading(target))
    assert names(target.parent) == []


@pytest.mark.parametrize("at", [0, 1])
def test_a_break_before_anything_came_leaves_nothing(rig, shelf, target, at):
    shelf.before = dict.fromkeys(range(at, 9), lambda: httpx.Response(500))
    with pytest.raises(InternalServerError):
        rig.do(downloading(target))
    assert names(target.parent) == []


def test_a_server_that_asks_for_an_hour_does_not_cost_what_came(rig, shelf, target):
    shelf.cuts = [30]
    shelf.before = {2: lambda: httpx.Response(429, headers={"retry-after": "3600"})}
    with pytest.raises(RateLimitError):
        rig.do(downloading(target))
    rig.do(downloading(target))
    assert shelf.asked[-2:] == [PROBE, asked(30)]
    assert contents(target.parent) == {"target": CONTENT}


def test_a_deadline_does_not_cost_what_came(rig, shelf, target):
    shelf.cuts = [30, 30]
    with pytest.raises(APITimeoutError):
        rig.do(downloading(target), deadline=0.75)
    rig.do(downloading(target))
    assert shelf.asked[-2:] == [PROBE, asked(60)]
    assert contents(target.parent) == {"target": CONTENT}


NO_SPACE = OSError(28, "No space left on device")
FULL = "[Errno 28] the disk is full ({}); free some space and download again: {!r}"


class FullFile(io.BytesIO):
    def write(self, _):
        raise NO_SPACE


def test_a_disk_that_gets_full_is_told_plainly_and_nothing_stays(rig, shelf, target, monkeypatch):
    @contextmanager
    def opened(request, raw):
        with request.into.path.open("wb") as file:
            yield FullFile() if request.headers["range"] == "bytes=50-" else file

    shelf.cuts = [50]
    monkeypatch.setattr("preftune.client.drivers._target", opened)
    with pytest.raises(OSError, match="the disk is full") as error:
        rig.do(downloading(target))
    assert str(error.value) == FULL.format("No space left on device", str(target.parent / HIDDEN))
    assert names(target.parent) == []


def test_a_disk_that_is_too_small_is_told_before_anything_is_brought(rig, shelf, target, monkeypatch):
    disk = type("Usage", (), {"free": 99})
    monkeypatch.setattr("preftune.client.downloading.shutil.disk_usage", lambda _: disk)
    with pytest.raises(OSError, match="the disk is full") as error:
        rig.do(downloading(target))
    reason = "100 bytes more are to come, and 99 are free"
    assert str(error.value) == FULL.format(reason, str(target.parent / HIDDEN))
    assert shelf.asked == [PROBE]
    assert names(target.parent) == []


def test_a_disk_needs_no_room_for_what_came_before(rig, shelf, target, monkeypatch):
    shelf.cuts = [40, 0]
    with pytest.raises(APIConnectionError):
        rig.do(downloading(target), max_retries=0)
    disk = type("Usage", (), {"free": 60})
    monkeypatch.setattr("preftune.client.downloading.shutil.disk_usage", lambda _: disk)
    rig.do(downloading(target))
    assert contents(target.parent) == {"target": CONTENT}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (NO_SPACE, r"\[Errno 28\] the disk is full \(No space left on device\); free some space and download again: "),
        (OSError(13, "Permission denied"), r"^\[Errno 13\] Permission denied$"),
    ],
)
def test_a_disk_that_fails_while_unpacking_is_told_and_nothing_stays(rig, served, target, monkeypatch, fault, message):
    def fail(*_):
        raise fault

    served(SOUND)
    monkeypatch.setattr("preftune.client.unpacking.shutil.copyfileobj", fail)
    with pytest.raises(OSError, match=message):
        rig.do(checkpoint(target))
    assert names(target.parent) == []


def test_a_place_that_cannot_be_made_is_told(rig, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"^\[Errno (17|20)\]"):
        rig.do(downloading(tmp_path / "file" / "target"))
    assert contents(tmp_path) == {"file": b"mine"}


# two at once


def test_of_two_downloads_to_one_target_the_second_is_told_and_the_first_ends(rig, shelf, target):
    told = []

    def second():
        with Client(api_key="k", base_url=BASE) as client, pytest.raises(ConfigError) as error:
            client.files.download("file-1", to=target)
        told.append(str(error.value))

    shelf.cuts = [30]
    shelf.before = {2: second}
    rig.do(downloading(target))
    assert told == [f"to={str(target)!r}: expected to be alone, found another download of the same; wait for it"]
    assert shelf.asked == [PROBE, asked(0), asked(30)]
    assert contents(target.parent) == {"target": CONTENT}


# interruptions


def test_an_interrupted_download_is_gone_on_with(rig, shelf, target):
    def interrupt(count, _):
        if count == 50:
            raise KeyboardInterrupt

    shelf.cuts = [100]
    with pytest.raises(KeyboardInterrupt):
        rig.do(downloading(target, progress=interrupt))
    assert names(target.parent) == [HIDDEN]
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(0), PROBE, asked(50)]
    assert contents(target.parent) == {"target": CONTENT}


def test_an_interrupted_download_that_nothing_could_go_on_with_leaves_nothing(rig, shelf, target):
    def interrupt(*_):
        raise KeyboardInterrupt

    shelf.tag = None
    with pytest.raises(KeyboardInterrupt):
        rig.do(downloading(target, progress=interrupt))
    assert names(target.parent) == []


def test_a_cancelled_download_is_gone_on_with(shelf, target):
    async def cancelled():
        async with AsyncClient(api_key="k", base_url=BASE) as client:
            call = client.files.download("file-1", to=target, progress=lambda count, _: count == 30 and task.cancel())
            task = asyncio.ensure_future(call)
            with pytest.raises(asyncio.CancelledError):
                await task
            assert names(target.parent) == [HIDDEN]
            return await client.files.download("file-1", to=target)

    shelf.cuts = [100]
    asyncio.run(cancelled())
    assert shelf.asked == [PROBE, asked(0), PROBE, asked(40)]  # what is being written is waited for
    assert contents(target.parent) == {"target": CONTENT}


def test_a_download_that_is_cancelled_before_it_begins_leaves_nothing_and_no_lock(shelf, target):
    async def cancelled():
        async with AsyncClient(api_key="k", base_url=BASE) as client:
            task = asyncio.ensure_future(client.files.download("file-1", to=target))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert names(target.parent) == []
            return await client.files.download("file-1", to=target)

    asyncio.run(cancelled())
    assert contents(target.parent) == {"target": CONTENT}


def test_a_closed_flow_keeps_what_came(rig, shelf, target):
    flow = download_file("file-1", to=target)
    step = next(flow)
    headers = {"content-range": "bytes 0-1/100", "etag": '"one"'}
    while True:
        if isinstance(step, Call):
            step = flow.send(step.function(*step.arguments))
        elif isinstance(step, Retries):
            step = flow.send(2)
        elif step.headers["range"] == "bytes=0-1":
            step = flow.send(Response(206, headers, b"", step))
        else:
            break
    step.into.path.write_bytes(CONTENT[:70])
    flow.close()
    assert names(target.parent) == [HIDDEN]
    rig.do(downloading(target))
    assert shelf.asked == [PROBE, asked(70)]
    assert contents(target.parent) == {"target": CONTENT}


# names and places


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ('attachment; filename="pairs.jsonl"', "pairs.jsonl"),
        ("attachment; filename=pairs.jsonl; size=3", "pairs.jsonl"),
        ('attachment; filename="größer.jsonl"', "größer.jsonl"),
        ('attachment; filename="../../etc/passwd"', "_.._etc_passwd"),
        ('attachment; filename="/etc/passwd"', "_etc_passwd"),
        ('attachment; filename="C:\\\\evil"', "C_evil"),
        ('attachment; filename="a b\tc"', "a_b_c"),
        ('attachment; filename="..."', "download"),
        ('attachment; filename=".bashrc"', "bashrc"),
        ('attachment; filename=""', "file-1"),
        ("attachment; filename*=UTF-8''gr%C3%B6%C3%9Fer%20one.jsonl", "größer_one.jsonl"),
        ("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd", "_.._etc_passwd"),
        ("attachment; filename*=UTF-8''%FF.jsonl", "_.jsonl"),
        ("attachment; filename*=no-charset''pairs.jsonl", "pairs.jsonl"),
        ("attachment; filename*=idna''pairs.jsonl", "file-1"),
        ("attachment; filename*=UTF-8''pairs; filename*1=.jsonl", "file-1"),
        ("attachment; filename*=utf-7''%2B2AA-.jsonl", "_.jsonl"),
        ('attachment; FILENAME="pairs.jsonl"', "pairs.jsonl"),
        ('attachment; filename="a;b=c.jsonl"; size=3', "a_b=c.jsonl"),
        ('attachment; filename="a\\"b.jsonl"', "a_b.jsonl"),
        (f'attachment; filename="{"a" * 500}.jsonl"', "a" * 194 + ".jsonl"),
        (f'attachment; filename="{"ж" * 500}.jsonl"', "ж" * 97 + ".jsonl"),
        ("attachment", "file-1"),
        (None, "file-1"),
    ],
)
@pytest.mark.parametrize("ranges", [True, False])
def test_a_name_that_a_server_chose_stays_in_its_folder(rig, shelf, target, stated, name, ranges):
    target.mkdir()
    shelf.headers = {"content-disposition": stated.encode()} if stated else {}
    shelf.before = {} if ranges else {0: lambda: whole(CONTENT, **shelf.headers)}
    assert rig.do(downloading(target)) == target / name
    assert contents(target.parent) == {f"target/{name}": CONTENT}


@pytest.mark.parametrize(
    ("name", "second", "third"),
    [
        ("pairs.jsonl", "pairs (1).jsonl", "pairs (2).jsonl"),
        ("model.tar.zst", "model.tar (1).zst", "model.tar (2).zst"),
    ],
)
def test_a_name_that_a_server_chose_takes_the_place_of_no_file(rig, shelf, target, name, second, third):
    target.mkdir()
    (target / name).write_bytes(b"mine")
    shelf.headers = {"content-disposition": f'attachment; filename="{name}"'}
    assert rig.do(downloading(target)) == target / second
    assert rig.do(downloading(target)) == target / third
    assert contents(target) == {name: b"mine", second: CONTENT, third: CONTENT}


def test_a_name_that_a_server_chose_takes_the_place_of_no_folder(rig, shelf, target):
    (target / "file-1").mkdir(parents=True)
    assert rig.do(downloading(target)) == target / "file-1 (1)"


def test_an_archive_s_name_takes_the_place_of_no_file(rig, served, tmp_path):
    served(b"whatever", **{"content-disposition": 'attachment; filename="a.zst"'})
    (tmp_path / "a.zst").write_bytes(b"mine")
    assert rig.do(checkpoint(tmp_path, extract=False)) == tmp_path / "a (1).zst"
    assert contents(tmp_path) == {"a.zst": b"mine", "a (1).zst": b"whatever"}


def test_a_path_that_the_caller_chose_takes_the_place_of_the_old_file(rig, shelf, target):
    target.write_text("old")
    shelf.headers = {"content-disposition": 'attachment; filename="other"'}
    assert [rig.do(downloading(target)) for _ in range(2)] == [target, target]
    assert contents(target.parent) == {"target": CONTENT}


# the hidden folder


def test_what_came_for_a_folder_that_is_there_stands_inside_it(rig, shelf, target):
    def look():
        seen.append((names(target), names(target.parent)))

    seen = []
    target.mkdir()
    shelf.before = {1: look}
    rig.do(downloading(target))
    assert seen == [([".file-1.part"], ["target"])]
    assert contents(target.parent) == {"target/file-1": CONTENT}


def test_what_came_for_a_folder_that_is_there_is_gone_on_with(rig, shelf, target):
    target.mkdir()
    shelf.cuts = [40, 0]
    with pytest.raises(APIConnectionError):
        rig.do(downloading(target), max_retries=0)
    assert names(target) == [".file-1.part"]
    rig.do(downloading(target))
    assert shelf.asked[3:] == [PROBE, asked(40)]
    assert contents(target.parent) == {"target/file-1": CONTENT}


@pytest.mark.parametrize("to", [".", "", "../folder"])
def test_the_folder_that_one_is_in_can_be_the_target(rig, shelf, target, monkeypatch, to):
    def look():
        seen.append((names(target.parent), names(target.parent.parent)))

    seen = []
    monkeypatch.chdir(target.parent)
    shelf.before = {1: look}
    rig.do(downloading(to))
    assert seen == [([".file-1.part"], ["folder"])]
    assert contents(target.parent.parent) == {"folder/file-1": CONTENT}


def test_a_checkpoint_can_be_unpacked_into_the_folder_that_one_is_in(rig, served, tmp_path, monkeypatch):
    served(SOUND)
    monkeypatch.chdir(tmp_path)
    rig.do(checkpoint("."))
    assert contents(tmp_path) == {"deep/weights": b"w" * 9, "config": b"{}"}


@pytest.mark.parametrize("letter", ["a", "ж", "\N{GRINNING FACE}"])
def test_a_name_as_long_as_the_disk_allows_can_be_the_target(rig, shelf, target, letter):
    place = target.with_name(letter * (252 // len(letter.encode())))
    shelf.cuts = [40, 0]
    with pytest.raises(APIConnectionError):
        rig.do(downloading(place), max_retries=0)
    rig.do(downloading(place))
    assert shelf.asked[3:] == [PROBE, asked(40)]
    assert contents(target.parent) == {place.name: CONTENT}


@pytest.mark.parametrize("exists", [True, False])
def test_a_long_id_is_cut_in_the_name_of_the_hidden_folder(rig, router, target, exists):
    file_id = "ж" * 300
    router.get(url__regex=".*/content").side_effect = Shelf(CONTENT)
    place = target.parent if exists else target.with_name("t" * 250)
    rig.do(lambda client: client.files.download(file_id, to=place))
    assert contents(target.parent) == {"ж" * 100 if exists else "t" * 250: CONTENT}


def test_checkpoints_of_long_ids_that_differ_at_the_end_are_brought_into_one_folder_at_once(rig, router, tmp_path):
    def second():
        with Client(api_key="k", base_url=BASE) as client:
            client.fine_tuning.download(job, to=tmp_path, checkpoint="model_output_path", step=1234, extract=False)

    job = "ft-01234567-89ab-cdef-0123-456789abcdef"
    shelf = Shelf(CONTENT)
    shelf.before = {1: second}
    router.get(f"{BASE}/v1/finetune/download").side_effect = shelf
    call = {"to": tmp_path, "checkpoint": "model_output_path", "extract": False}
    rig.do(lambda client: client.fine_tuning.download(job, step=1235, **call))
    named = f"{job}-model_output_path-{{}}.tar.zst"
    assert contents(tmp_path) == {named.format(1234): CONTENT, named.format(1235): CONTENT}


def test_a_file_is_put_into_the_place_of_an_old_one_at_the_end(rig, shelf, target):
    target.write_text("old")
    shelf.before = {1: lambda: None if target.read_text() == "old" else pytest.fail("it was replaced too early")}
    rig.do(downloading(target))
    assert contents(target.parent) == {"target": CONTENT}


def test_folders_on_the_way_are_made(rig, shelf, tmp_path):
    rig.do(downloading(tmp_path / "a" / "b" / "file"))
    assert contents(tmp_path) == {"a/b/file": CONTENT}


# progress


def test_progress_tells_what_is_there_and_what_there_is_in_all(rig, shelf, target):
    told = []
    shelf.cuts = [30, 70]
    rig.do(downloading(target, progress=lambda *numbers: told.append(numbers)))
    assert told == sorted(told)
    assert {count for count, _ in told} == {*range(10, 101, 10)}
    assert (told[-1], {size for _, size in told}) == ((100, 100), {100})


def test_progress_of_a_server_without_ranges_ends_at_the_whole(rig, shelf, target):
    told = []
    shelf.before = {0: lambda: whole(CONTENT)}
    rig.do(downloading(target, progress=lambda *numbers: told.append(numbers)))
    assert told == [(100, 100)]


# checkpoints


def archive(**members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name.replace("__", "/"))
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


SOUND = archive(deep__weights=b"w" * 9, config=b"{}")
FORMS = {"zst": zstandard.compress, "gz": gzip.compress, "plain": lambda content: content}


@pytest.fixture
def served(router):
    def serve(content, **headers):
        return router.get(f"{BASE}/v1/finetune/download").respond(content=content, headers=headers)

    return serve


def checkpoint(to, **more):
    more = {"checkpoint": "adapter"} | more
    return lambda client: client.fine_tuning.download("ft-1", to=to, **more)


@pytest.mark.parametrize("form", FORMS)
def test_a_checkpoint_is_unpacked_into_its_folder(rig, served, tmp_path, form):
    route = served(FORMS[form](SOUND))
    target = tmp_path / "models" / "adapter"
    assert rig.do(checkpoint(str(target))) == target
    assert contents(tmp_path) == {"models/adapter/deep/weights": b"w" * 9, "models/adapter/config": b"{}"}
    sent = route.calls.last.request
    assert dict(sent.url.params) == {"ft_id": "ft-1", "checkpoint": "adapter"}
    assert (sent.headers["accept"], sent.headers["accept-encoding"]) == ("application/octet-stream", "identity")


def test_a_checkpoint_that_broke_off_is_gone_on_with(rig, router, tmp_path, monkeypatch):
    monkeypatch.setattr("preftune.client.drivers._CHUNK", 10)
    shelf = Shelf(zstandard.compress(SOUND))
    shelf.cuts = [40, 0]
    router.get(f"{BASE}/v1/finetune/download").side_effect = shelf
    with pytest.raises(APIConnectionError):
        rig.do(checkpoint(tmp_path / "a", step=40), max_retries=0)
    assert names(tmp_path) == [".a.ft-1-adapter-40.part"]
    rig.do(checkpoint(tmp_path / "a", step=40))
    assert shelf.asked == [PROBE, asked(0), asked(40), PROBE, asked(40)]
    assert contents(tmp_path) == {"a/deep/weights": b"w" * 9, "a/config": b"{}"}


def test_what_a_broken_unpacking_left_is_no_hindrance(rig, served, tmp_path):
    (tmp_path / ".a.ft-1-adapter.part" / "unpacked").mkdir(parents=True)
    (tmp_path / ".a.ft-1-adapter.part" / "unpacked" / "old").write_text("old")
    served(SOUND)
    rig.do(checkpoint(tmp_path / "a"))
    assert contents(tmp_path) == {"a/deep/weights": b"w" * 9, "a/config": b"{}"}


def test_other_files_of_the_folder_stay_and_old_ones_are_replaced(rig, served, tmp_path):
    served(SOUND)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "config").write_text("old")
    rig.do(checkpoint(tmp_path))
    assert contents(tmp_path) == {"deep/weights": b"w" * 9, "config": b"{}", "notes.txt": b"mine"}


@pytest.mark.parametrize(
    ("kind", "checkpoint_kind"),
    [
        ({"type": "Lora"}, "adapter"),
        ({"type": "Full"}, "model_output_path"),
        (None, "adapter"),
        ("odd", "adapter"),
    ],
)
def test_what_the_job_trained_is_downloaded_unless_something_else_is_named(
    rig, served, router, tmp_path, kind, checkpoint_kind
):
    router.get(f"{BASE}/v1/fine-tunes/ft-1").respond(json={"id": "ft-1", "training_type": kind})
    route = served(SOUND)
    rig.do(checkpoint(tmp_path / "a", checkpoint=None, step=40))
    assert dict(route.calls.last.request.url.params) == {
        "ft_id": "ft-1",
        "checkpoint": checkpoint_kind,
        "checkpoint_step": "40",
    }


def test_a_job_id_stands_as_it_is_in_a_query_and_flat_in_a_name(rig, served, tmp_path):
    route = served(SOUND, content_disposition="attachment")
    call = lambda client: client.fine_tuning.download("me/ft:1", to=tmp_path / "a", checkpoint="merged", extract=False)  # noqa: E731
    assert rig.do(call) == tmp_path / "a" / "me_ft_1-merged.tar.zst"
    assert dict(route.calls.last.request.url.params) == {"ft_id": "me/ft:1", "checkpoint": "merged"}


def test_an_archive_is_put_into_the_folder_as_it_is_when_asked(rig, served, tmp_path):
    served(b"whatever", **{"content-disposition": 'attachment; filename="../../a/model.tar.zst"'})
    place = tmp_path / "models" / "adapter" / "_.._a_model.tar.zst"
    assert rig.do(checkpoint(tmp_path / "models" / "adapter", extract=False)) == place
    assert contents(tmp_path) == {str(place.relative_to(tmp_path)): b"whatever"}


def test_a_checkpoint_that_is_tried_again_is_whole(rig, served, tmp_path):
    route = served(b"")
    route.side_effect = [httpx.Response(503), httpx.ReadError, httpx.Response(200, content=SOUND)]
    rig.do(checkpoint(tmp_path / "a"))
    assert contents(tmp_path) == {"a/deep/weights": b"w" * 9, "a/config": b"{}"}


@pytest.mark.parametrize("content", [b"", b"<html>", SOUND[:700], archive(**{"..__evil": b"x"})])
def test_an_archive_that_is_unsound_leaves_nothing_behind(rig, served, tmp_path, content):
    served(content)
    with pytest.raises(IntegrityError, match=r"^download: expected a sound archive, found .+; download it again$"):
        rig.do(checkpoint(tmp_path / "a"))
    assert names(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_refused_before_anything_is_sent(rig, tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(ConfigError) as error:
        rig.do(checkpoint(tmp_path / "a"))
    assert str(error.value) == f"to={str(tmp_path / 'a')!r}: expected a folder or nothing, found a file; name a folder"
    assert (tmp_path / "a").read_text() == "mine"
