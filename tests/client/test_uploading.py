import asyncio
import gzip
import hashlib
import io
import json
import logging
import os
import threading
from tempfile import TemporaryDirectory

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from python_multipart import parse_form

from preftune.client.clients import AsyncClient
from preftune.client.uploading import _spans, upload
from preftune.errors import (
    APIError,
    APIResponseValidationError,
    APITimeoutError,
    BadRequestError,
    ConfigError,
    ConflictError,
    DataError,
    IntegrityError,
    InternalServerError,
)

BASE = "http://api.test"
STORAGE = "http://storage.test/put"
CONTENT = b'{"input": {}}\n' * 3
SHA256 = hashlib.sha256(CONTENT).hexdigest()
TOLD = {"purpose": "fine-tune", "file_name": "pairs.jsonl", "file_type": "jsonl"}
FORMS = ["presigned", "multipart", "direct"]
GIB = 2**30
PAIR = {
    "input": {"messages": [{"role": "user", "content": "Which is larger?"}]},
    "preferred_output": [{"role": "assistant", "content": "The second."}],
    "non_preferred_output": [{"role": "assistant", "content": "I do not know."}],
}


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """Return the folder in which copies are made."""
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def uploading(source, **more):
    return lambda client: client.files.upload(source, **more)


class Hosted:
    """The requests of an upload, in each of its forms; a file in parts has three of 20 bytes at most."""

    def __init__(self, router):
        file = {"id": "file-1", "filename": "pairs.jsonl", "processing_status": "QUEUED"}
        where = {"location": f"{STORAGE}?signature=s", "x-together-file-id": "file-1"}
        self.opened = router.post(f"{BASE}/v1/files").respond(302, headers=where)
        self.put = router.put(STORAGE).respond(200)
        self.done = router.post(f"{BASE}/v1/files/file-1/preprocess").respond(json=file)
        self.direct = router.post(f"{BASE}/v1/files/upload").respond(json=file)
        self.begun = router.post(f"{BASE}/v1/files/multipart/initiate")
        self.begin_with({"PartNumber": n, "URL": self.address(n), "Headers": {"x-part": f"p{n}"}} for n in (3, 1, 2))
        self.parts = {
            n: router.put(self.address(n).partition("?")[0]).respond(200, headers={"etag": f'"tag-{n}"'})
            for n in (1, 2, 3)
        }
        self.completed = router.post(f"{BASE}/v1/files/multipart/complete").respond(json={"file": file})
        self.aborted = router.post(f"{BASE}/v1/files/multipart/abort").respond(json={})
        self.moved = {"presigned": self.put, "multipart": self.parts[2], "direct": self.direct}
        self.asked = {"presigned": self.opened, "multipart": self.begun, "direct": self.direct}

    def address(self, part):
        return f"http://storage.test/part/{part}?signature=s"

    def begin_with(self, parts):
        self.begun.respond(json={"upload_id": "up-1", "file_id": "file-1", "parts": list(parts)})


@pytest.fixture
def hosted(respx_mock, monkeypatch):
    respx_mock._assert_all_called = False
    monkeypatch.setattr("preftune.client.uploading._PART", 20)
    return Hosted(respx_mock)


def parsed(request):
    """Return the fields and files of a multipart form."""
    fields, files = {}, {}

    def on_field(field):
        fields[field.field_name.decode()] = field.value.decode()

    def on_file(file):
        file.file_object.seek(0)
        files[file.field_name.decode()] = (file.file_name.decode(), file.file_object.read())

    headers = {"Content-Type": request.headers["content-type"], "Content-Length": request.headers["content-length"]}
    content = request.content
    assert len(content) == int(headers["Content-Length"])
    parse_form({name: value.encode() for name, value in headers.items()}, io.BytesIO(content), on_field, on_file)
    return fields, files


def sent(route):
    return [call.request.content for call in route.calls]


# three steps


def test_an_upload_asks_sends_and_confirms(rig, hosted, pairs):
    file = rig.do(uploading(str(pairs)))
    assert (file.id, file.processing_status) == ("file-1", "QUEUED")
    assert parsed(hosted.opened.calls.last.request) == (TOLD | {"checksum": SHA256}, {})
    put = hosted.put.calls.last.request
    assert (str(put.url), put.content, put.headers["content-length"]) == (
        f"{STORAGE}?signature=s",
        CONTENT,
        str(len(CONTENT)),
    )
    assert {"authorization", "cookie", "transfer-encoding"}.isdisjoint(put.headers)
    assert hosted.done.calls.last.request.content == b""


@pytest.mark.parametrize("status", [200, 201, 302])
def test_an_upload_may_be_opened_by_several_statuses(rig, hosted, pairs, status):
    hosted.opened.respond(status, headers={"location": STORAGE, "x-together-file-id": "file-1"})
    assert rig.do(uploading(pairs)).id == "file-1"


def test_each_step_of_an_upload_is_tried_again_by_itself(rig, hosted, pairs):
    hosted.put.side_effect = [httpx.Response(503), httpx.WriteError, httpx.Response(200)]
    assert rig.do(uploading(pairs)).id == "file-1"
    assert sent(hosted.put) == [CONTENT] * 3
    assert (hosted.opened.call_count, hosted.done.call_count) == (1, 1)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"location": STORAGE},
        {"x-together-file-id": "file-1"},
        {"location": "/relative", "x-together-file-id": "file-1"},
        {"location": "ftp://storage.test", "x-together-file-id": "file-1"},
    ],
)
def test_an_opening_without_a_place_is_refused(rig, hosted, pairs, headers):
    hosted.opened.respond(302, headers=headers)
    with pytest.raises(APIResponseValidationError, match="POST /files: expected an absolute Location and X-Together-"):
        rig.do(uploading(pairs))
    assert not hosted.put.called


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("stated", ["http://other.test/b?s=2", "//other.test/b?s=2", "https://other.test/b?s=2"])
def test_a_redirected_put_is_sent_again_to_storage_with_its_body(rig, hosted, respx_mock, pairs, status, stated):
    hosted.put.respond(status, headers={"location": stated})
    other = respx_mock.put(host="other.test", path="/b").respond(200)
    assert rig.do(uploading(pairs)).id == "file-1"
    assert other.calls.last.request.content == CONTENT
    assert "authorization" not in other.calls.last.request.headers


def test_a_relative_redirect_stays_with_the_storage(rig, hosted, respx_mock, pairs):
    hosted.put.respond(307, headers={"location": "/b?s=2"})
    other = respx_mock.put("http://storage.test/b?s=2").respond(200)
    rig.do(uploading(pairs))
    assert other.calls.last.request.content == CONTENT


@pytest.mark.parametrize("stated", [{}, {"location": ""}, {"location": "ftp://x/y"}])
def test_a_redirect_to_nowhere_is_refused(rig, hosted, pairs, stated):
    hosted.put.respond(307, headers=stated)
    with pytest.raises(APIResponseValidationError) as error:
        rig.do(uploading(pairs))
    assert str(error.value) == (
        f"PUT {STORAGE}: 307, expected a Location to go on to, found {stated.get('location', '')!r}; upload again"
    )
    assert hosted.put.call_count == 1


def test_a_redirect_from_https_down_to_http_is_refused(rig, hosted, respx_mock, pairs):
    where = {"location": "https://storage.test/p?s=1", "x-together-file-id": "file-1"}
    hosted.opened.respond(302, headers=where)
    respx_mock.put("https://storage.test/p?s=1").respond(307, headers={"location": "http://other.test/p?s=2"})
    with pytest.raises(APIResponseValidationError, match=r"found 'http://other.test/p'; upload again"):
        rig.do(uploading(pairs))


def test_redirects_without_end_are_refused(rig, hosted, pairs):
    hosted.put.respond(307, headers={"location": f"{STORAGE}?again"})
    with pytest.raises(IntegrityError) as error:
        rig.do(uploading(pairs))
    assert str(error.value) == ("upload of pairs.jsonl: expected storage, found 20 redirects in a row; try again later")
    assert hosted.put.call_count == 20


@pytest.mark.parametrize("form", ["presigned", "multipart"])
def test_a_storage_that_lacks_the_tls_of_the_api_gets_nothing(rig, respx_mock, pairs, form):
    base = "https://api.test"
    respx_mock._assert_all_called = False
    where = {"location": f"{STORAGE}?signature=s", "x-together-file-id": "file-1"}
    respx_mock.post(f"{base}/v1/files").respond(302, headers=where)
    begun = {"upload_id": "up-1", "file_id": "file-1", "parts": [{"PartNumber": 1, "URL": f"{STORAGE}?signature=s"}]}
    respx_mock.post(f"{base}/v1/files/multipart/initiate").respond(json=begun)
    aborted = respx_mock.post(f"{base}/v1/files/multipart/abort").respond(json={})
    put = respx_mock.put(STORAGE).respond(200)
    with pytest.raises(APIError) as error:
        rig.do(uploading(pairs, form=form), base_url=base)
    assert str(error.value) == (
        f"PUT {STORAGE}: expected https, as for the API itself, found http; nothing was sent, tell the provider"
    )
    assert (put.called, aborted.called) == (False, form == "multipart")


def test_an_empty_confirmation_has_the_file_looked_up_by_its_known_id(rig, hosted, respx_mock, pairs):
    hosted.done.respond(200)
    known = respx_mock.get(f"{BASE}/v1/files/file-1").respond(json={"id": "file-1", "processing_status": "RUNNING"})
    file = rig.do(uploading(pairs))
    assert (file.id, file.processing_status, known.call_count) == ("file-1", "RUNNING", 1)


def test_a_storage_that_refuses_is_an_error_without_its_signature(rig, hosted, pairs):
    hosted.put.respond(400, content=b"<Error>no</Error>")
    with pytest.raises(BadRequestError, match=r"PUT http://storage\.test/put: 400, <Error>no</Error>$"):
        rig.do(uploading(pairs))


@pytest.mark.parametrize("file_id", ["..", "."])
def test_a_file_id_that_would_change_a_path_is_refused(rig, hosted, pairs, file_id):
    hosted.opened.respond(302, headers={"location": STORAGE, "x-together-file-id": file_id})
    with pytest.raises(ConfigError):
        rig.do(uploading(pairs))


# one form


@pytest.mark.parametrize(
    "name", ["pairs.jsonl", 'said "so".jsonl', "back\\slash.jsonl", "größer пары.csv", "a;b=c.PARQUET"]
)
@pytest.mark.parametrize("content", [b"\n", CONTENT, b"\r\n--preftune-\r\n\x00\xff--"])
def test_the_direct_form_holds_the_fields_and_the_very_bytes(rig, hosted, tmp_path, name, content):
    (tmp_path / "pairs.jsonl").write_bytes(content)
    assert rig.do(uploading(tmp_path / "pairs.jsonl", name=name, purpose="eval", form="direct")).id == "file-1"
    fields = {"purpose": "eval", "file_name": name, "file_type": name.rpartition(".")[2].lower()}
    files = {"file": (name.replace('"', "%22"), content)}
    assert parsed(hosted.direct.calls.last.request) == (fields, files)
    assert not hosted.opened.called


def test_the_direct_form_is_sent_anew_at_each_attempt(rig, hosted, pairs):
    done = httpx.Response(200, json={"id": "file-1"})
    hosted.direct.side_effect = [httpx.Response(500), httpx.ReadError, done]
    rig.do(uploading(pairs, form="direct"))
    assert len(set(sent(hosted.direct))) == 1
    assert hosted.direct.call_count == 3


# parts


@pytest.mark.parametrize("number", ["PartNumber", "part_number"])
@pytest.mark.parametrize("url", ["URL", "UploadURL"])
def test_a_file_in_parts_is_begun_sent_and_completed(rig, hosted, pairs, number, url):
    hosted.begin_with(
        {number: n, url: hosted.address(n), "Headers": headers}
        for n, headers in ((3, {"x-part": "p3"}), (1, {}), (2, None))
    )
    assert rig.do(uploading(pairs, form="multipart")).id == "file-1"
    assert json.loads(hosted.begun.calls.last.request.content) == TOLD | {
        "file_size": 42,
        "num_parts": 3,
        "checksum": SHA256,
    }
    put = {n: route.calls.last.request for n, route in hosted.parts.items()}
    assert {n: request.content for n, request in put.items()} == {1: CONTENT[:14], 2: CONTENT[14:28], 3: CONTENT[28:]}
    assert [request.headers.get("x-part") for request in put.values()] == [None, None, "p3"]
    assert [request.headers["content-length"] for request in put.values()] == ["14"] * 3
    assert all({"authorization", "cookie", "transfer-encoding"}.isdisjoint(request.headers) for request in put.values())
    assert all(request.url.query == b"signature=s" for request in put.values())
    assert json.loads(hosted.completed.calls.last.request.content) == {
        "upload_id": "up-1",
        "file_id": "file-1",
        "parts": [{"part_number": n, "etag": f"tag-{n}"} for n in (1, 2, 3)],
    }
    assert not hosted.aborted.called


def test_the_completed_file_may_stand_without_an_envelope(rig, hosted, pairs):
    hosted.completed.respond(json={"id": "file-2", "filename": "pairs.jsonl"})
    assert rig.do(uploading(pairs, form="multipart")).id == "file-2"


def test_each_part_is_tried_again_by_itself(rig, hosted, pairs):
    etag = {"headers": {"etag": "bare"}}
    hosted.parts[2].side_effect = [httpx.Response(503), httpx.WriteError, httpx.Response(201, **etag)]
    hosted.parts[3].side_effect = [httpx.Response(429), httpx.Response(200, **etag)]
    rig.do(uploading(pairs, form="multipart"))
    assert [sent(route) for route in hosted.parts.values()] == [
        [CONTENT[:14]],
        [CONTENT[14:28]] * 3,
        [CONTENT[28:]] * 2,
    ]
    assert (hosted.begun.call_count, hosted.completed.call_count) == (1, 1)
    assert [part["etag"] for part in json.loads(sent(hosted.completed)[0])["parts"]] == ["tag-1", "bare", "bare"]


def fail_part(hosted):
    hosted.parts[2].respond(403)


def fail_tag(hosted):
    hosted.parts[2].respond(200)


def fail_completion(hosted):
    hosted.completed.respond(400)


def fail_places(hosted):
    hosted.begin_with({"PartNumber": n, "URL": hosted.address(n)} for n in (1, 3))


def fail_addresses(hosted):
    hosted.begin_with({"PartNumber": n, "URL": "/relative"} for n in (1, 2, 3))


def fail_shape(hosted):
    hosted.begin_with([1, 2, 3])


PLACES = "POST /files/multipart/initiate: expected 3 absolute addresses, found {}; is base_url an API of this kind?"
FAILURES = {
    "part": (fail_part, r"^PUT http://storage\.test/part/2: 403, no reason given"),
    "tag": (fail_tag, r"^PUT http://storage\.test/part/2: expected an ETag for the part, found none"),
    "completion": (fail_completion, r"^POST /files/multipart/complete: 400"),
    "fewer-addresses": (fail_places, PLACES.format(2)),
    "relative-addresses": (fail_addresses, PLACES.format(0)),
    "shape": (fail_shape, "'parts' is no list of objects"),
}


@pytest.mark.parametrize("kind", FAILURES)
def test_parts_that_fail_for_good_are_given_up_with_the_failure_itself(rig, hosted, pairs, kind):
    prepare, message = FAILURES[kind]
    prepare(hosted)
    with pytest.raises(Exception, match=message):
        rig.do(uploading(pairs, form="multipart"), max_retries=0)
    assert [json.loads(content) for content in sent(hosted.aborted)] == [{"upload_id": "up-1", "file_id": "file-1"}]


def test_giving_up_that_fails_is_logged_and_hides_nothing(rig, hosted, pairs, caplog):
    fail_part(hosted)
    hosted.aborted.respond(500)
    with caplog.at_level(logging.WARNING, "preftune"), pytest.raises(Exception, match="part/2: 403"):
        rig.do(uploading(pairs, form="multipart"), max_retries=0)
    assert caplog.messages == [
        "the parts of upload up-1 may stay in storage: POST /files/multipart/abort: 500, no reason given"
    ]


def test_parts_are_given_up_although_the_deadline_has_passed(rig, hosted, pairs):
    def late(_):
        rig.now = 11.0
        return httpx.Response(200, headers={"etag": "t"})

    hosted.parts[2].side_effect = late
    with pytest.raises(APITimeoutError, match="not done within the deadline of 10 s"):
        rig.do(uploading(pairs, form="multipart"), deadline=10)
    assert [json.loads(content) for content in sent(hosted.aborted)] == [{"upload_id": "up-1", "file_id": "file-1"}]
    assert not hosted.completed.called


@pytest.mark.parametrize("rig", ["sync"], indirect=True)  # under asyncio an interruption is a cancellation
def test_parts_that_are_interrupted_are_given_up(rig, hosted, pairs):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rig.do(uploading(pairs, form="multipart", progress=interrupt))
    assert hosted.aborted.call_count == 1
    assert not hosted.completed.called


def test_parts_that_are_cancelled_are_given_up(hosted, pairs, copies):
    async def cancelled():
        async with AsyncClient(api_key="k", base_url=BASE) as client:
            task = asyncio.ensure_future(client.files.upload(CONTENT, name="pairs.jsonl", form="multipart"))
            hosted.parts[2].side_effect = lambda _: task.cancel() and httpx.Response(200, headers={"etag": "t"})
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    assert hosted.aborted.call_count == 1
    assert not hosted.completed.called
    assert list(copies.iterdir()) == []


def test_a_closed_flow_asks_for_nothing_more(pairs):
    flow = upload(pairs, form="multipart")
    step = next(flow)
    while not hasattr(step, "json"):
        step = flow.send(step.function(*step.arguments))
    assert step.path == "/files/multipart/initiate"
    content = {"upload_id": "u", "parts": [{"PartNumber": 1, "URL": STORAGE}]}
    flow.send(httpx.Response(200, json=content))
    flow.close()


@given(st.integers(0, 2**45))
@example(0)
@example(1)
@example(250 * 2**20)
@example(250 * 2**20 + 1)
@example(250 * 250 * 2**20 + 1)
def test_parts_tile_the_file_and_are_no_more_than_250(size):
    spans = _spans(size)
    assert 1 <= len(spans) <= 250
    assert [start for start, _ in spans] == [sum(length for _, length in spans[:i]) for i in range(len(spans))]
    assert sum(length for _, length in spans) == size
    assert all(length > 0 for _, length in spans) or spans == [(0, 0)]
    assert len({length for _, length in spans[:-1]}) <= 1
    assert spans[-1][1] <= spans[0][1]


@pytest.mark.parametrize(
    ("size", "count"),
    [(0, 1), (1, 1), (250 * 2**20, 1), (5 * GIB + GIB // 100, 21), (50 * GIB, 205), (61 * GIB, 250), (500 * GIB, 250)],
)
def test_parts_are_of_250_mib_until_there_are_250(size, count):
    assert len(_spans(size)) == count


# which form


@pytest.mark.parametrize(("largest", "form"), [(42, "presigned"), (41, "multipart")])
def test_what_storage_takes_at_once_is_sent_at_once(rig, hosted, pairs, monkeypatch, largest, form):
    monkeypatch.setattr("preftune.client.uploading._LARGEST_PUT", largest)
    rig.do(uploading(pairs))
    assert [name for name, route in hosted.asked.items() if route.called] == [form]


@pytest.mark.parametrize("form", FORMS)
def test_a_form_can_be_chosen(rig, hosted, pairs, form):
    rig.do(uploading(pairs, form=form))
    assert [name for name, route in hosted.asked.items() if route.called] == [form]


def test_a_form_that_there_is_not_is_refused(rig, pairs):
    with pytest.raises(ConfigError) as error:
        rig.do(uploading(pairs, form="post"))
    assert str(error.value) == "form: expected one of presigned, multipart, direct, found 'post'; leave it out"


@pytest.mark.parametrize("form", FORMS)
def test_content_that_is_there_already_is_not_sent_again(rig, hosted, respx_mock, pairs, form):
    hosted.asked[form].respond(409, json={"error": {"message": "duplicate"}, "file_id": "file-old"})
    respx_mock.get(f"{BASE}/v1/files/file-old").respond(json={"id": "file-old"})
    assert rig.do(uploading(pairs, form=form)).id == "file-old"
    assert hosted.asked[form].call_count == 1
    assert not hosted.put.called
    assert not hosted.aborted.called


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "body", [{"json": {"error": {"message": "no"}}}, {"content": b"no"}, {"json": {"file_id": ""}}]
)
def test_a_conflict_that_names_no_file_is_an_error(rig, hosted, pairs, body, form):
    hosted.asked[form].respond(409, **body)
    with pytest.raises(ConflictError):
        rig.do(uploading(pairs, form=form))
    assert hosted.asked[form].call_count == 1


def just_written(path):
    file = path.open("w+b")
    file.write(CONTENT)
    return file


def at_its_end(file):
    file.seek(0, io.SEEK_END)
    return file


EMPTY = {
    "path": lambda path: path.write_bytes(b"") or path,
    "bytes": lambda _: b"",
    "memory-at-its-end": lambda _: at_its_end(io.BytesIO(CONTENT)),
    "just-written": just_written,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", EMPTY)
def test_an_empty_file_is_refused_before_anything_is_sent(rig, respx_mock, pairs, copies, form, kind):
    source = EMPTY[kind](pairs)
    with pytest.raises(DataError) as error:
        rig.do(uploading(source, name="pairs.jsonl", form=form))
    assert str(error.value) == "pairs.jsonl: expected rows, found an empty file; rewind it if it was just written"
    assert (len(respx_mock.calls), list(copies.iterdir())) == (0, [])
    if kind == "just-written":
        source.close()


# sources


def looked_at(hosted, copies):
    """Make storage note the copies that there are while it is sent something."""
    seen = []

    def look(_):
        seen.append([path.name for folder in copies.iterdir() for path in folder.iterdir()])
        return httpx.Response(200)

    hosted.put.side_effect = look
    return seen


def test_an_open_file_at_its_beginning_is_sent_from_where_it_stands(rig, hosted, pairs, copies):
    seen = looked_at(hosted, copies)
    with pairs.open("rb") as file:
        rig.do(uploading(file))
    assert (sent(hosted.put), seen) == ([CONTENT], [[]])
    assert parsed(hosted.opened.calls.last.request)[0] == TOLD | {"checksum": SHA256}


@pytest.mark.parametrize("buffering", [0, -1])
def test_a_file_that_was_read_from_is_copied_from_there(rig, hosted, pairs, copies, buffering):
    seen = looked_at(hosted, copies)
    with pairs.open("rb", buffering) as file:
        file.read(14)
        rig.do(uploading(file))
    assert (sent(hosted.put), seen) == ([CONTENT[14:]], [["pairs.jsonl"]])
    assert list(copies.iterdir()) == []
    assert pairs.read_bytes() == CONTENT


def unlinked(path):
    file = path.open("rb")
    path.unlink()
    return file


def replaced(path):
    file = path.open("rb")
    path.unlink()
    path.write_text("another")
    return file


def unseekable(_):
    end, start = os.pipe()
    with os.fdopen(start, "wb") as writing:
        writing.write(CONTENT)
    return os.fdopen(end, "rb")


def piped(path):
    path.unlink()
    os.mkfifo(path)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with path.open("wb") as writing:
        writing.write(CONTENT)
    os.set_blocking(end, True)
    return os.fdopen(end, "rb")


def compressed(path):
    archive = path.with_suffix(".gz")
    archive.write_bytes(gzip.compress(CONTENT))
    return gzip.open(archive, "rb")


SOURCES = {
    "bytes": lambda _: CONTENT,
    "bytearray": lambda _: bytearray(CONTENT),
    "memoryview": lambda _: memoryview(CONTENT),
    "memory": lambda _: io.BytesIO(CONTENT),
    "unlinked": unlinked,
    "replaced": replaced,
    "pipe": unseekable,
    "named-pipe": piped,
    "gzip": compressed,
    "descriptor": lambda path: os.fdopen(os.open(path, os.O_RDONLY), "rb"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_what_is_no_file_on_disk_is_copied_for_as_long_as_it_is_sent(rig, hosted, pairs, copies, kind):
    source, seen = SOURCES[kind](pairs), looked_at(hosted, copies)
    rig.do(uploading(source, name="folder/mine.jsonl"))
    assert (sent(hosted.put), seen) == ([CONTENT], [["mine.jsonl"]])
    assert list(copies.iterdir()) == []
    assert parsed(hosted.opened.calls.last.request)[0]["file_name"] == "folder/mine.jsonl"
    if hasattr(source, "close"):
        source.close()


def test_a_path_of_any_kind_is_sent_from_where_it_stands(rig, hosted, pairs, copies):
    class Place:
        def __fspath__(self):
            return str(pairs)

    seen = looked_at(hosted, copies)
    rig.do(uploading(Place()))
    assert (sent(hosted.put), seen) == ([CONTENT], [[]])
    assert parsed(hosted.opened.calls.last.request)[0]["file_name"] == "pairs.jsonl"


@pytest.mark.parametrize("letter", ["a", "\N{GRINNING FACE}"])
def test_a_long_name_is_cut_for_its_copy_and_told_whole(rig, hosted, copies, letter):
    seen = looked_at(hosted, copies)
    rig.do(uploading(CONTENT, name=letter * 300 + ".jsonl"))
    assert seen == [[letter * 54 + ".jsonl"]]
    assert parsed(hosted.opened.calls.last.request)[0]["file_name"] == letter * 300 + ".jsonl"


def test_a_copy_is_removed_before_the_call_returns_and_off_the_loop(hosted, copies, monkeypatch):
    at = []

    class Noting(TemporaryDirectory):
        def __exit__(self, *error):
            at.append(threading.current_thread())
            super().__exit__(*error)

    async def uploaded():
        async with AsyncClient(api_key="k", base_url=BASE) as client:
            await client.files.upload(CONTENT, name="pairs.jsonl")
            assert list(copies.iterdir()) == []
            return threading.current_thread()

    monkeypatch.setattr("preftune.client.uploading.TemporaryDirectory", Noting)
    loop = asyncio.run(uploaded())
    assert (len(at), loop in at) == (1, False)


def test_a_file_that_is_no_longer_on_disk_keeps_its_name(rig, hosted, pairs, copies):
    with unlinked(pairs) as file:
        rig.do(uploading(file))
    assert parsed(hosted.opened.calls.last.request)[0]["file_name"] == "pairs.jsonl"


class Broken(io.RawIOBase):
    def read(self, _=-1):
        raise OSError(5, "Input/output error")


@pytest.mark.parametrize("case", ["refused", "interrupted", "unfit", "broken", "text"])
def test_a_copy_is_gone_whatever_happens(rig, hosted, copies, case):
    def interrupt(*_):
        raise KeyboardInterrupt

    if case == "refused":
        hosted.put.respond(400)
    source, more, kind = {
        "refused": (CONTENT, {}, BadRequestError),
        "interrupted": (CONTENT, {"progress": interrupt}, KeyboardInterrupt),
        "unfit": (CONTENT, {"check": True}, DataError),
        "broken": (Broken(), {}, OSError),
        "text": (io.StringIO("text"), {}, DataError),
    }[case]
    with pytest.raises(kind):
        rig.do(uploading(source, name="pairs.jsonl", **more))
    assert list(copies.iterdir()) == []


def test_a_copy_is_gone_when_a_flow_is_closed(copies):
    flow = upload(CONTENT, name="pairs.jsonl")
    step = next(flow)
    flow.send(step.function(*step.arguments))
    assert len(list(copies.iterdir())) == 1
    flow.close()
    assert list(copies.iterdir()) == []


def test_a_copy_is_gone_when_its_making_is_cancelled(copies):
    reading, go_on = threading.Event(), threading.Event()

    class Slow(io.RawIOBase):
        def read(self, _=-1):
            reading.set()
            go_on.wait(10)
            return b""

    async def cancelled():
        async with AsyncClient(api_key="k", base_url=BASE) as client:
            task = asyncio.ensure_future(client.files.upload(Slow(), name="pairs.jsonl"))
            await asyncio.to_thread(reading.wait)
            task.cancel()
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    assert list(copies.iterdir()) == []


@pytest.mark.parametrize("text", [io.StringIO, lambda content: io.TextIOWrapper(io.BytesIO(content.encode()))])
def test_a_file_that_gives_text_is_refused(rig, copies, text):
    with pytest.raises(DataError) as error:
        rig.do(uploading(text('{"input": {}}'), name="pairs.jsonl"))
    assert str(error.value) == (
        "upload: expected a file that gives bytes, found one that gives text; open it with 'rb'"
    )


@pytest.mark.parametrize("content", [CONTENT, b"PAR1\xff"])
def test_a_text_file_on_disk_is_refused(rig, pairs, content):
    pairs.write_bytes(content)
    with pairs.open(encoding="utf-8") as file, pytest.raises(DataError, match="found one that gives text"):
        rig.do(uploading(file))


def closed(file):
    file.close()
    return file


CLOSED = {
    "on-disk": lambda path: closed(path.open("rb")),
    "unbuffered": lambda path: closed(path.open("rb", 0)),
    "text": lambda path: closed(path.open()),
    "memory": lambda _: closed(io.BytesIO(CONTENT)),
    "gzip": lambda path: closed(compressed(path)),
}


@pytest.mark.parametrize("kind", CLOSED)
def test_a_file_that_is_closed_is_refused(rig, pairs, copies, kind):
    with pytest.raises(DataError) as error:
        rig.do(uploading(CLOSED[kind](pairs), name="pairs.jsonl"))
    assert str(error.value) == "upload: expected an open file, found one that is closed; open it again"
    assert list(copies.iterdir()) == []


def test_an_error_of_a_file_s_own_is_left_as_it_is(rig, copies):
    class Odd(io.RawIOBase):
        def read(self, _=-1):
            raise ValueError("of its own")

    with pytest.raises(ValueError, match=r"^of its own$"):
        rig.do(uploading(Odd(), name="pairs.jsonl"))
    assert list(copies.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "found"), [(None, "NoneType"), (7, "int"), ([CONTENT], "list"), ({"input": {}}, "dict")]
)
def test_what_holds_no_bytes_is_refused_by_its_kind(rig, source, found):
    with pytest.raises(DataError) as error:
        rig.do(uploading(source, name="pairs.jsonl"))
    assert str(error.value) == f"upload: expected a path, bytes or an open file, found {found}; give a path"


@pytest.mark.parametrize("source", [CONTENT, io.BytesIO(CONTENT)], ids=["bytes", "memory"])
def test_what_has_no_name_needs_one(rig, source):
    with pytest.raises(DataError) as error:
        rig.do(uploading(source))
    assert str(error.value) == "name: expected what to call the file, found nothing; give name='pairs.jsonl'"


@pytest.mark.parametrize("name", ["a\nb.jsonl", "a\r\nX: y.jsonl", "a\0.jsonl", "a\x7f.jsonl", "a\udcff.jsonl"])
def test_a_name_that_no_header_can_hold_is_refused(rig, name):
    with pytest.raises(DataError) as error:
        rig.do(uploading(CONTENT, name=name))
    assert str(error.value) == f"name: expected text on one line, found {name!r}; give name='pairs.jsonl'"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("none.jsonl", "expected a file, found nothing there; check the path"),
        ("", "expected a file, found a folder; check the path"),
        ("pipe.jsonl", "expected a file, found a pipe or a device; check the path"),
        (os.devnull, "expected a file, found a pipe or a device; check the path"),
        ("pairs.txt", "expected one of .jsonl, .csv, .parquet, found '.txt'; convert it"),
        ("pairs", "expected one of .jsonl, .csv, .parquet, found 'no extension'; convert it"),
    ],
)
def test_what_cannot_be_uploaded_is_refused_before_anything_is_sent(rig, tmp_path, name, found):
    for unfit in ("pairs.txt", "pairs"):
        (tmp_path / unfit).write_text("x")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError) as error:
        rig.do(uploading(tmp_path / name))
    assert str(error.value) == f"{tmp_path / name}: {found}"


def test_a_given_name_that_is_unfit_is_what_the_message_names(rig, pairs):
    with pytest.raises(DataError) as error:
        rig.do(uploading(pairs, name="pairs.txt"))
    assert str(error.value) == "name: expected one of .jsonl, .csv, .parquet, found '.txt'; convert it"


def test_a_fit_name_stands_in_for_an_unfit_path(rig, hosted, tmp_path):
    (tmp_path / "data.txt").write_bytes(CONTENT)
    rig.do(uploading(tmp_path / "data.txt", name="pairs.JSONL"))
    assert parsed(hosted.opened.calls.last.request)[0] == TOLD | {"file_name": "pairs.JSONL", "checksum": SHA256}


# check


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_file_with_errors_is_refused_before_a_byte_is_sent_by_its_own_name(rig, tmp_path, as_bytes):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(PAIR) + '\n{"input": 1}\n')
    with pytest.raises(DataError, match=r"^mine\.jsonl:2: ") as error:
        rig.do(uploading(path.read_bytes() if as_bytes else path, name="mine.jsonl", check=True))
    assert "error" in [finding.severity for finding in error.value.findings]


@pytest.mark.parametrize("form", FORMS)
def test_a_file_without_errors_is_sent(rig, hosted, tmp_path, form):
    (tmp_path / "pairs.jsonl").write_text(json.dumps(PAIR) + "\n")
    hosted.begin_with({"PartNumber": n, "URL": hosted.address(min(n, 3))} for n in range(1, 20))
    assert rig.do(uploading(tmp_path / "pairs.jsonl", check=True, form=form)).id == "file-1"


# changes


def grow(path):
    path.write_bytes(CONTENT * 2)


def shrink(path):
    path.write_bytes(CONTENT[:5])


def change(path):
    path.write_bytes(CONTENT[::-1])
    os.utime(path, ns=(0, 0))


def remove(path):
    path.unlink()


CHANGES = [grow, shrink, change, remove]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("happens", CHANGES)
def test_a_file_that_changes_on_its_way_is_told(rig, hosted, pairs, form, status, happens):
    def answer(_):
        happens(pairs)
        return httpx.Response(status, json={"id": "file-1"}, headers={"etag": "t"})

    hosted.moved[form].side_effect = answer
    with pytest.raises(IntegrityError) as error:
        rig.do(uploading(pairs, form=form))
    assert str(error.value) == f"{pairs}: expected it to stay as it is, found that it changed; upload it again"
    assert not hosted.done.called
    assert not hosted.completed.called


def test_a_file_that_is_gone_before_it_is_read_is_told(rig, hosted, pairs):
    def answer(_):
        pairs.unlink()
        return httpx.Response(302, headers={"location": STORAGE, "x-together-file-id": "file-1"})

    hosted.opened.side_effect = answer
    with pytest.raises(IntegrityError, match="found that it changed"):
        rig.do(uploading(pairs))


def test_a_failure_of_a_file_that_did_not_change_is_the_failure(rig, hosted, pairs):
    hosted.put.respond(500)
    with pytest.raises(InternalServerError):
        rig.do(uploading(pairs), max_retries=0)


# progress


def test_progress_begins_again_with_each_attempt_and_ends_at_the_whole(rig, hosted, pairs, monkeypatch):
    monkeypatch.setattr("preftune.client.drivers._CHUNK", 20)
    hosted.put.side_effect = [httpx.Response(503), httpx.Response(200)]
    told = []
    rig.do(uploading(pairs, progress=lambda *numbers: told.append(numbers)))
    assert told == [(20, 42), (40, 42), (42, 42)] * 2


def test_progress_of_parts_adds_up(rig, hosted, pairs, monkeypatch):
    monkeypatch.setattr("preftune.client.drivers._CHUNK", 10)
    told = []
    rig.do(uploading(pairs, form="multipart", progress=lambda *numbers: told.append(numbers)))
    assert told == sorted(told)
    assert (len(told), told[-1]) == (6, (42, 42))


def test_progress_of_a_part_that_begins_again_is_counted_once(rig, hosted, pairs, monkeypatch):
    monkeypatch.setattr("preftune.client.uploading._AT_ONCE", 1)
    hosted.parts[2].side_effect = [httpx.Response(503), httpx.Response(200, headers={"etag": "t"})]
    told = []
    rig.do(uploading(pairs, form="multipart", progress=lambda *numbers: told.append(numbers)))
    assert told == [(14, 42), (28, 42), (28, 42), (42, 42)]


def test_progress_of_one_form_counts_the_file_alone(rig, hosted, pairs, monkeypatch):
    monkeypatch.setattr("preftune.client.drivers._CHUNK", 20)
    told = []
    rig.do(uploading(pairs, form="direct", progress=lambda *numbers: told.append(numbers)))
    assert told == [(0, 42), (20, 42), (40, 42), (42, 42), (42, 42)]
