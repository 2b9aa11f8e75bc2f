import json
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from email import message_from_bytes
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest

from preftune.api.models import Event, MetricRow
from preftune.errors import APIConnectionError, APIStatusError, IntegrityError

KEY = "key-of-the-tests"
CONTENT = b'{"input": {}}\n' * 20_000
ARCHIVE = random.Random(7).randbytes(3 << 20)
TAG = '"of-the-archive"'
CONFIG = {"model": "m", "training_file": "file-1", "training_method": "dpo"}
STEPS = 6
ROWS = [
    {"train/global_step": step, f"{split}/loss": 1 / step, "timestamp": (10 * step + (split == "eval")) * 10**9}
    for step in range(1, STEPS + 1)
    for split in ("train", "eval")
]
EVENTS = [
    {"type": "job_start", "message": "begun", "level": "info", "created_at": "1970-01-01T00:00:05Z"},
    {"type": "epoch_complete", "message": "half", "level": "info", "created_at": "1970-01-01T00:00:35Z", "step": 3},
    {"type": "job_complete", "message": "done", "level": "info", "created_at": "1970-01-01T00:02:00Z"},
]
DELIVERED = [(step, split) for step in range(1, STEPS + 1) for split in ("train", "eval")]


class Service:
    """What a server knows, and what it does when it is asked: two rows of metrics more at each look at a job."""

    def __init__(self):
        self.files, self.puts, self.jobs, self.looks = {}, {}, [], 0

    def do(self, asked):
        for route, answer in self.ROUTES.items():
            known = re.fullmatch(route, f"{asked.method} {asked.path}")
            if known:
                return answer(self, asked, *known.groups())
        return 404, {}, b""

    def open_file(self, asked):
        file_id = f"file-{len(self.puts) + 1}"
        self.puts[file_id] = None
        return 302, {"location": f"{asked.base}/put/{file_id}?signature=s", "x-together-file-id": file_id}, b""

    def put(self, asked, place):
        self.puts[place] = asked.body
        return 200, {"etag": f'"tag of {place}"'}, b""

    def take_file(self, asked, file_id):
        self.files[file_id] = self.puts[file_id]
        return said({"id": file_id, "processing_status": "QUEUED"})

    def take_form(self, asked):
        form = message_from_bytes(b"content-type: " + asked.headers["content-type"].encode() + b"\r\n\r\n" + asked.body)
        [file] = [part for part in form.get_payload() if part.get_filename()]
        self.files["file-1"] = file.get_payload(decode=True)
        return said({"id": "file-1"})

    def open_parts(self, asked):
        numbers = range(1, json.loads(asked.body)["num_parts"] + 1)
        parts = [{"PartNumber": n, "URL": f"{asked.base}/put/part-{n}?signature=s"} for n in numbers]
        return said({"upload_id": "up-1", "file_id": "file-1", "parts": parts})

    def join_parts(self, asked):
        stated = json.loads(asked.body)["parts"]
        assert [part["etag"] for part in stated] == [f"tag of part-{part['part_number']}" for part in stated]
        self.files["file-1"] = b"".join(self.puts[f"part-{part['part_number']}"] for part in stated)
        return said({"file": {"id": "file-1"}})

    def list_jobs(self, asked):
        return said({"data": self.jobs[::-1]})

    def create_job(self, asked):
        self.jobs.append(json.loads(asked.body) | {"id": f"ft-{len(self.jobs) + 1}", "status": "pending"})
        return said(self.jobs[-1])

    def look_at_job(self, asked):
        self.looks += 1
        return said({"id": "ft-1", "status": "completed" if self.looks > len(ROWS) / 2 else "running"})

    def list_metrics(self, asked):
        first = int(asked.query.get("global_step_from", 0))
        return said({"metrics": [row for row in ROWS[: 2 * self.looks] if row["train/global_step"] >= first]})

    def list_events(self, asked):
        return said({"data": EVENTS[: self.looks]})

    def give_content(self, asked):
        start, end = asked.headers["range"].removeprefix("bytes=").split("-")
        start, end = int(start), min(int(end or len(ARCHIVE)) + 1, len(ARCHIVE))
        return 206, {"etag": TAG, "content-range": f"bytes {start}-{end - 1}/{len(ARCHIVE)}"}, ARCHIVE[start:end]

    ROUTES: ClassVar = {
        "POST /files": open_file,
        "PUT /put/(.+)": put,
        "POST /files/([^/]+)/preprocess": take_file,
        "POST /files/upload": take_form,
        "POST /files/multipart/initiate": open_parts,
        "POST /files/multipart/complete": join_parts,
        "GET /fine-tunes": list_jobs,
        "POST /fine-tunes": create_job,
        "GET /fine-tunes/ft-1": look_at_job,
        "GET /fine-tunes/ft-1/metrics": list_metrics,
        "GET /fine-tunes/ft-1/events": list_events,
        "GET /files/file-1/content": give_content,
    }


@dataclass
class Asked:
    """A request as the service sees it."""

    method: str
    path: str
    query: dict
    headers: dict
    body: bytes
    base: str


def said(value):
    return 200, {"content-type": "application/json"}, json.dumps(value).encode()


class FaultServer:
    """A service on a socket of this machine; each request to a path takes the next of the faults that wait there."""

    def __init__(self, service):
        self.service, self.faults, self.seen, self.sent = service, {}, [], 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = False  # so that closing waits for them
        self._server.handle_error = lambda *_: None  # clients go away in the middle of everything
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.005,))
        self.threads = {self._thread}

    def next_fault(self, route):
        waiting = self.faults.get(route, [])
        return waiting.pop(0) if waiting else normal

    def asked(self, route):
        return [told for told, _ in self.seen].count(route)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 10

    def log_message(self, *_):
        pass

    def _serve(self):
        owner, url = self.server.owner, urlsplit(self.path)
        owner.threads.add(threading.current_thread())
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, query = url.path.removeprefix("/v1"), dict(parse_qsl(url.query))
        owner.seen.append((f"{self.command} {path}", headers))

        def act():
            return owner.service.do(Asked(self.command, path, query, headers, self.body(), owner.url))

        owner.next_fault(f"{self.command} {path}")(self, act)

    do_GET = do_POST = do_PUT = _serve  # noqa: N815 - the names that http.server calls

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def send(self, wire):
        self.wfile.write(wire)
        self.server.owner.sent += len(wire)

    def drop(self):
        self.close_connection = True


# faults: each does what was asked, or not, and answers in its own way


def head(status, headers):
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def wire(status, headers, body):
    return head(status, {"content-length": len(body)} | headers) + body


def normal(handler, act):
    handler.send(wire(*act()))


def dropped_before(handler, act):
    handler.drop()


def dropped_after(handler, act):
    act()
    handler.drop()


def reset_after(handler, act):
    act()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.drop()


def dropped_in_the_head(handler, act):
    act()
    handler.send(b"HTTP/1.1 200 O")
    handler.drop()


def dropped_in_the_body(handler, act):
    handler.send(wire(*act())[:-1])
    handler.drop()


def chunks_without_an_end(handler, act):
    status, headers, body = act()
    handler.send(head(status, headers | {"transfer-encoding": "chunked"}) + f"{len(body) + 9:x}\r\n".encode() + body)
    handler.drop()


def garbage(handler, act):
    act()
    handler.send(b"\x00\xff\x16 no protocol at all\r\n\r\n")
    handler.drop()


def bytewise(handler, act):
    whole = wire(*act())
    for byte in whole[:400]:
        handler.send(bytes([byte]))
    handler.send(whole[400:])


def nonsense(handler, act):
    act()
    handler.send(wire(200, {}, b"<html>Please wait</html>"))


def refused(status, **headers):
    def fault(handler, act):
        handler.body()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        handler.send(wire(status, named, b'{"error": {"message": "later"}}'))

    return fault


def done_and_refused(status):
    def fault(handler, act):
        act()
        handler.send(wire(status, {}, b""))

    return fault


def elsewhere(status, location):
    def fault(handler, act):
        handler.body()
        handler.send(wire(status, {"location": location}, b""))

    return fault


def cut_after(count):
    def fault(handler, act):
        status, headers, body = act()
        handler.send(head(status, headers | {"content-length": len(body)}) + body[:count])
        handler.drop()

    return fault


def closed_after(count):
    """Say nothing of the length, and end the body by closing the connection: a cut looks like an end."""

    def fault(handler, act):
        status, headers, body = act()
        handler.send(head(status, headers | {"connection": "close"}) + body[:count])
        handler.drop()

    return fault


def far_too_long(handler, act):
    status, headers, body = act()
    handler.send(head(status, headers | {"connection": "close"}) + body)
    for _ in range(1000):  # or until the client goes away
        handler.send(bytes(1 << 16))
    handler.drop()


PASSING = {  # one more try is all that it takes
    "dropped-before": dropped_before,
    "dropped-after": dropped_after,
    "reset-after": reset_after,
    "dropped-in-the-head": dropped_in_the_head,
    "dropped-in-the-body": dropped_in_the_body,
    "chunks-without-an-end": chunks_without_an_end,
    "garbage": garbage,
    "bytewise": bytewise,
    "408": refused(408),
    "429": refused(429),
    "500": refused(500),
    "503": refused(503, retry_after="0"),
    "500-although-done": done_and_refused(500),
    "503-although-done": done_and_refused(503),
}
ALSO_409 = PASSING | {"409": refused(409)}
ALSO_NONSENSE = ALSO_409 | {"nonsense": nonsense}


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@contextmanager
def running():
    with FaultServer(Service()) as server:
        yield server
    assert not any(thread.is_alive() for thread in server.threads)


@pytest.fixture
def server():
    with running() as server:
        yield server


@pytest.fixture
def other():
    with running() as server:
        yield server


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(CONTENT)
    return path


# each flow under each fault


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        *(("POST /files", fault) for fault in PASSING),  # there a 409 means that the content is there already
        *(("PUT /put/file-1", fault) for fault in ALSO_409),
        *(("POST /files/file-1/preprocess", fault) for fault in ALSO_409),
    ],
)
def test_an_upload_arrives(rig, server, pairs, route, fault):
    server.faults = {route: [ALSO_409[fault]]}
    file = rig.do(lambda client: client.files.upload(pairs), base_url=server.url)
    assert server.service.files == {file.id: CONTENT}


@pytest.mark.parametrize("fault", ALSO_409)
def test_an_upload_in_parts_arrives(rig, server, pairs, fault, monkeypatch):
    monkeypatch.setattr("preftune.client.uploading._PART", 100_000)
    routes = ["POST /files/multipart/complete", *(f"PUT /put/part-{n}" for n in (1, 2, 3))]
    server.faults = {route: [ALSO_409[fault]] for route in routes}
    file = rig.do(lambda client: client.files.upload(pairs, form="multipart"), base_url=server.url)
    assert server.service.files == {file.id: CONTENT}
    assert server.asked("POST /files/multipart/abort") == 0


@pytest.mark.parametrize("fault", PASSING)
def test_an_upload_in_one_request_arrives(rig, server, pairs, fault):
    server.faults = {"POST /files/upload": [PASSING[fault]]}
    file = rig.do(lambda client: client.files.upload(pairs, form="direct"), base_url=server.url)
    assert server.service.files == {file.id: CONTENT}


@pytest.mark.parametrize("fault", ALSO_NONSENSE)
def test_a_job_is_created_exactly_once(rig, server, fault):
    server.faults = {"POST /fine-tunes": [ALSO_NONSENSE[fault]] * 2}
    job = rig.do(lambda client: client.fine_tuning.create(CONFIG), base_url=server.url)
    assert [known["id"] for known in server.service.jobs] == [job.id] == ["ft-1"]


@pytest.mark.parametrize("fault", ALSO_409)
def test_a_job_is_created_exactly_once_although_the_list_fails_too(rig, server, fault):
    server.faults = {"POST /fine-tunes": [dropped_after], "GET /fine-tunes": [ALSO_409[fault], normal, ALSO_409[fault]]}
    job = rig.do(lambda client: client.fine_tuning.create(CONFIG), base_url=server.url)
    assert [known["id"] for known in server.service.jobs] == [job.id] == ["ft-1"]


@pytest.mark.parametrize("fault", ALSO_NONSENSE)
def test_metrics_are_streamed_each_row_once(rig, server, fault):
    troubled = [normal, *[ALSO_NONSENSE[fault], normal] * 3]
    server.faults = {"GET /fine-tunes/ft-1": [*troubled], "GET /fine-tunes/ft-1/metrics": [*troubled]}
    rows = rig.do(lambda client: client.fine_tuning.stream_metrics("ft-1"), base_url=server.url)
    assert [row.key for row in rows] == DELIVERED


@pytest.mark.parametrize("fault", ALSO_409)
def test_rows_and_events_are_followed_each_once(rig, server, fault):
    troubled = [ALSO_409[fault], normal] * 3
    server.faults = {f"GET /fine-tunes/ft-1{more}": [*troubled] for more in ("", "/metrics", "/events")}
    items = rig.do(lambda client: client.fine_tuning.follow("ft-1"), base_url=server.url)
    assert [item.key for item in items if isinstance(item, MetricRow)] == DELIVERED
    assert [item.message for item in items if isinstance(item, Event)] == ["begun", "half", "done"]


@pytest.mark.parametrize("fault", ALSO_409)
def test_a_job_is_waited_for(rig, server, fault):
    server.faults = {"GET /fine-tunes/ft-1": [ALSO_409[fault], normal] * 3}
    job = rig.do(lambda client: client.fine_tuning.wait("ft-1"), base_url=server.url)
    assert job.status == "completed"


@pytest.mark.parametrize("fault", ALSO_409)
def test_a_download_is_whole_under_faults_at_its_beginning(rig, server, tmp_path, fault):
    server.faults = {"GET /files/file-1/content": [ALSO_409[fault], normal, ALSO_409[fault]]}
    rig.do(lambda client: client.files.download("file-1", to=tmp_path / "a"), base_url=server.url)
    assert (tmp_path / "a").read_bytes() == ARCHIVE
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# what is paid for


def test_a_download_that_breaks_off_brings_few_bytes_twice(rig, server, tmp_path):
    breaks = [normal, cut_after(1_500_000), refused(503), cut_after(1_200_000), dropped_before]
    server.faults = {"GET /files/file-1/content": breaks}
    rig.do(lambda client: client.files.download("file-1", to=tmp_path / "a"), base_url=server.url)
    assert (tmp_path / "a").read_bytes() == ARCHIVE
    assert server.asked("GET /files/file-1/content") == 6
    assert len(ARCHIVE) < server.sent < len(ARCHIVE) + 6 * 1000  # with what stands before each answer


def test_a_download_whose_end_is_no_end_is_gone_on_with(rig, server, tmp_path):
    server.faults = {"GET /files/file-1/content": [normal, closed_after(1_000_000), closed_after(1_500_000)]}
    rig.do(lambda client: client.files.download("file-1", to=tmp_path / "a"), base_url=server.url)
    assert (tmp_path / "a").read_bytes() == ARCHIVE
    assert len(ARCHIVE) < server.sent < len(ARCHIVE) + 4 * 1000


def test_a_download_without_an_end_does_not_fill_the_disk(rig, server, tmp_path):
    told = []
    server.faults = {"GET /files/file-1/content": [normal, far_too_long] * 3}
    call = lambda client: client.files.download("file-1", to=tmp_path / "a", progress=lambda *n: told.append(n))  # noqa: E731
    with pytest.raises(IntegrityError, match="found more; download it again"):
        rig.do(call, base_url=server.url)
    assert max(count for count, _ in told) <= len(ARCHIVE)
    assert list(tmp_path.iterdir()) == []


def test_a_download_is_gone_on_with_after_its_process_was_killed(rig, server, tmp_path):
    script = (
        "import os, sys, preftune\n"
        "def die(count, size):\n"
        "    count >= 2_000_000 and os._exit(9)\n"
        "with preftune.Client(base_url=sys.argv[1], api_key='k') as client:\n"
        "    client.files.download('file-1', to=sys.argv[2], progress=die)\n"
    )
    process = subprocess.run([sys.executable, "-c", script, server.url, tmp_path / "a"], check=False)
    assert process.returncode == 9
    assert [path.name for path in tmp_path.iterdir()] == [".a.file-1.part"]
    left = (tmp_path / ".a.file-1.part" / "content").stat().st_size
    assert left >= 1_900_000
    server.sent = 0
    rig.do(lambda client: client.files.download("file-1", to=tmp_path / "a"), base_url=server.url)
    assert (tmp_path / "a").read_bytes() == ARCHIVE
    assert len(ARCHIVE) - left < server.sent < len(ARCHIVE) - left + 2000
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# how long is waited


def in_half_a_minute():
    return formatdate(time.time() + 30, usegmt=True)


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({}, 0.5, 0.5),
        ({"retry_after_ms": "1500", "retry_after": "7"}, 1.5, 1.5),
        ({"retry_after": "3"}, 3, 3),
        ({"retry_after": in_half_a_minute}, 20, 30),
        ({"retry_after": "yesterday"}, 0.5, 0.5),
    ],
    ids=["nothing", "milliseconds", "seconds", "date", "garbage"],
)
def test_the_server_says_how_long_to_wait_in_three_spellings(rig, server, status, headers, low, high):
    headers = {name: value() if callable(value) else value for name, value in headers.items()}
    server.faults = {"GET /fine-tunes/ft-1": [refused(status, **headers)]}
    rig.do(lambda client: client.fine_tuning.retrieve("ft-1"), base_url=server.url)
    assert [low <= seconds <= high for seconds in rig.slept] == [True]


@pytest.mark.parametrize(("fault", "kind"), [(dropped_before, APIConnectionError), (refused(503), APIStatusError)])
def test_what_does_not_pass_is_raised_after_two_retries(rig, server, fault, kind):
    server.faults = {"GET /fine-tunes/ft-1": [fault] * 9}
    with pytest.raises(kind):
        rig.do(lambda client: client.fine_tuning.retrieve("ft-1"), base_url=server.url)
    assert (server.asked("GET /fine-tunes/ft-1"), rig.slept) == (3, [0.5, 1.0])


# who learns the key


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_put_that_is_sent_elsewhere_arrives_there_without_the_key(rig, server, other, pairs, status):
    server.faults = {"PUT /put/file-1": [elsewhere(status, f"{other.url}/put/file-1?signature=t")]}
    file = rig.do(lambda client: client.files.upload(pairs), base_url=server.url)
    server.service.puts |= other.service.puts
    assert (file.id, other.service.puts) == ("file-1", {"file-1": CONTENT})
    [(_, headers)] = other.seen
    assert "authorization" not in headers
    assert KEY not in str(headers)
    assert [f"Bearer {KEY}" == told.get("authorization") for _, told in server.seen] == [True, False, True]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("route", "call"),
    [
        ("GET /fine-tunes/ft-1", lambda client: client.fine_tuning.retrieve("ft-1")),
        ("POST /fine-tunes", lambda client: client.fine_tuning.create(CONFIG)),
    ],
)
def test_the_api_is_never_followed_elsewhere(rig, server, other, status, route, call):
    server.faults = {route: [elsewhere(status, f"{other.url}/v1/fine-tunes/ft-1")]}
    with pytest.raises(APIStatusError) as error:
        rig.do(call, base_url=server.url)
    assert error.value.status == status
    assert (other.seen, server.service.jobs) == ([], [])


@pytest.mark.parametrize("status", [302, 307])
def test_a_download_is_never_followed_elsewhere(rig, server, other, tmp_path, status):
    server.faults = {"GET /files/file-1/content": [elsewhere(status, f"{other.url}/files/file-1/content")]}
    with pytest.raises(APIStatusError):
        rig.do(lambda client: client.files.download("file-1", to=tmp_path / "a"), base_url=server.url)
    assert (other.seen, list(tmp_path.iterdir())) == ([], [])
