import asyncio
import contextlib
import fcntl
import json
import logging
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
import uvicorn

from preftune import Client, LocalServer
from preftune.errors import LocalServerError
from preftune.local import serve
from preftune.local.clock import PENDING, QUEUED, UPLOADING
from preftune.local.store import Store

LONG = {"n_epochs": 20, "batch_size": 1}  # over hundreds of steps, so that something can happen in between


@pytest.fixture
def pairs_file(tmp_path, pairs):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs(12)))
    return path


def connected(server):
    return Client(base_url=server.url, api_key=server.api_key)


def begin(client, path, **fields):
    file = client.files.wait(client.files.upload(path), poll_interval=0.01)
    return client.fine_tuning.create(model="acme/tiny", training_file=file.id, training_method="dpo", **fields)


def steps(client, job):
    return [row.step for row in client.fine_tuning.list_metrics(job)]


def worker_is_gone(folder):
    with (Path(folder) / "worker").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def worker_is_there(folder):
    return (Path(folder) / "worker").exists() and not worker_is_gone(folder)


def one_sentence(error):
    text = str(error.value)
    return "\n" not in text and ": " in text and "; " in text


# starting


@pytest.mark.slow
def test_a_server_trains_what_a_client_asks_for_and_leaves_no_folder(pairs_file):
    with LocalServer() as server, connected(server) as client:
        assert server.url == f"http://127.0.0.1:{server.port}"
        assert repr(server) == f"LocalServer(url='{server.url}', data_dir='{server.data_dir}')"
        assert server.api_key.startswith("local-")
        job = client.fine_tuning.wait(begin(client, pairs_file, n_epochs=2), poll_interval=0.01)
        assert (job.status, steps(client, job)) == ("completed", [1, 2])
        folder = server.data_dir
        assert folder.is_dir()
    assert not folder.exists()


@pytest.mark.slow
def test_port_and_key_can_be_chosen(tmp_path):
    with LocalServer(tmp_path, api_key="mine") as first:
        port = first.port
    with LocalServer(tmp_path, port, api_key="mine") as second:
        assert (second.url, second.api_key) == (f"http://127.0.0.1:{port}", "mine")
        with connected(second) as client:
            assert client.files.list() == []


@pytest.mark.slow
def test_a_folder_in_use_is_refused_and_free_again_afterwards(tmp_path):
    with LocalServer(tmp_path):
        with pytest.raises(LocalServerError, match="another local server uses this folder") as error:
            LocalServer(tmp_path)
        held_by_a_fork = os.dup(descriptor_of(tmp_path / "lock"))
    assert one_sentence(error)
    LocalServer(tmp_path).close()
    os.close(held_by_a_fork)


def test_a_port_in_use_is_refused_and_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(serve.tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    with serve._listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalServerError, match=f"port {port}: is taken; stop what listens there") as error:
            LocalServer(port=port)
    assert one_sentence(error)
    assert list(tmp_path.iterdir()) == []


def test_a_number_that_is_no_port_is_refused(tmp_path):
    with pytest.raises(LocalServerError, match=r"port 70000: cannot be used") as error:
        LocalServer(tmp_path, 70_000)
    assert one_sentence(error)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(
            LocalServerError, match=r"(found a file|cannot be written, Not a directory); choose"
        ) as error:
            LocalServer(place)
        assert one_sentence(error)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_of_another_version_is_refused(tmp_path):
    with sqlite3.connect(tmp_path / "preftune.db") as db:
        db.execute("PRAGMA user_version = 9")
    db.close()
    with pytest.raises(LocalServerError, match="expected a data folder of version 2, found version 9") as error:
        LocalServer(tmp_path)
    assert one_sentence(error)


@pytest.mark.parametrize("dead", [True, False])
def test_a_server_that_does_not_start_is_an_error_and_undone(tmp_path, monkeypatch, dead):
    ended = threading.Event()
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None if dead else ended.wait(10))
    monkeypatch.setattr(serve, "_START_TIMEOUT", 0.05)
    monkeypatch.setattr(serve, "_Worker", _NoWorker)
    with pytest.raises(LocalServerError, match="did not start"):
        LocalServer(tmp_path)
    ended.set()
    with serve._locked(tmp_path):
        pass


class _NoWorker:
    """A worker that is not there."""

    def __init__(self, store):
        self.wake = store.is_made

    def close(self):
        """Do nothing."""


def test_connections_do_not_wait_for_more_to_send():
    seen = []

    async def look():
        async def met(_, writer):
            seen.append(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = serve._listening("127.0.0.1", 0)
        async with await asyncio.start_server(met, sock=listening):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            await reader.read()
            writer.close()
            await writer.wait_closed()

    asyncio.run(look())
    assert seen == [1]


@pytest.mark.slow
def test_an_upload_that_breaks_off_leaves_nothing_and_prints_nothing(tmp_path, pairs_file, capfd, eventually):
    with LocalServer(tmp_path) as server, connected(server) as client:
        opened = _open_upload(server)
        host = ("127.0.0.1", server.port)
        with socket.create_connection(host) as half:
            half.sendall(f"PUT {opened} HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\nabc".encode())
            eventually(lambda: list((tmp_path / "files").glob("*.part")))
        eventually(lambda: not list((tmp_path / "files").iterdir()))
        assert [file.processing_status for file in client.files.list()] == ["PENDING"]
    assert capfd.readouterr() == ("", "")


def _open_upload(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"POST /v1/files?file_name=a.jsonl HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {server.api_key}\r\n"
        client.sendall(f"{head}content-length: 0\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(4096), b"")).decode()
    return next(line for line in answer.splitlines() if line.startswith("location:")).partition("http://x")[2]


# the worker


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_the_job_completes(tmp_path, pairs_file, eventually):
    with LocalServer(tmp_path) as server, connected(server) as client:
        job = begin(client, pairs_file, **LONG)
        eventually(lambda: steps(client, job))
        os.kill(server._worker._process.pid, signal.SIGKILL)
        done = client.fine_tuning.wait(job, poll_interval=0.02)
        assert (done.status, steps(client, job)) == ("completed", list(range(1, 241)))
        kinds = [event.kind for event in client.fine_tuning.list_events(job)]
        assert sorted(set(kinds) - {"epoch_complete"}) == sorted(kind for kind in kinds if kind != "epoch_complete")


@pytest.mark.slow
def test_closing_the_server_ends_the_worker_and_the_next_server_finishes_its_job(tmp_path, pairs_file, eventually):
    with LocalServer(tmp_path) as server, connected(server) as client:
        job, waiting = (begin(client, pairs_file, **LONG) for _ in range(2))
        eventually(lambda: steps(client, job))
        files = client.files.list()
    assert worker_is_gone(tmp_path)
    with LocalServer(tmp_path) as server, connected(server) as client:
        assert client.files.list() == files
        ended = [client.fine_tuning.wait(one, poll_interval=0.02) for one in (job, waiting)]
        assert [one.status for one in ended] == ["completed", "completed"]
        assert steps(client, job) == steps(client, waiting) == list(range(1, 241))


SCRIPT = """
import sys, threading
from preftune import LocalServer
server = LocalServer(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["killed", "exits without closing"])
def test_the_worker_ends_with_its_server_however_that_happens(tmp_path, eventually, way):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as script:
        assert script.stdout.readline() == b"ready\n"
        eventually(lambda: worker_is_there(tmp_path))
        if way == "killed":
            script.kill()
        else:
            script.stdin.write(b"\n")
            script.stdin.close()
        script.wait(10)
    eventually(lambda: worker_is_gone(tmp_path), seconds=5)


@pytest.mark.slow
def test_a_worker_that_does_not_end_by_itself_is_killed(tmp_path):
    store = Store(tmp_path)
    store.prepare()
    worker = serve._Worker(store)
    os.kill(worker._process.pid, signal.SIGSTOP)
    worker.close()
    assert worker._process.returncode == -signal.SIGKILL
    worker.wake()
    store.close()


def test_the_programs_own_logging_is_left_alone(tmp_path):
    logger, handler = logging.getLogger("uvicorn"), logging.NullHandler()
    logger.addHandler(handler)
    try:
        LocalServer(tmp_path).close()
        assert handler in logger.handlers
    finally:
        logger.removeHandler(handler)


def test_a_key_that_no_client_can_send_is_refused(tmp_path):
    with pytest.raises(LocalServerError, match="expected printable ASCII without spaces"):
        LocalServer(tmp_path, api_key="has space")


def test_a_server_that_nobody_closes_leaves_nothing_behind():
    script = "import preftune, sys; server = preftune.LocalServer(); print(server.data_dir)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not Path(done.stdout.strip()).exists()


def test_a_fork_that_ends_leaves_the_server_to_its_parent():
    script = (
        "import os, preftune\n"
        "with preftune.LocalServer() as server:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        raise SystemExit(0)\n"
        "    assert os.waitpid(child, 0)[1] == 0\n"
        "    client = preftune.Client(base_url=server.url, api_key=server.api_key)\n"
        "    print(client.fine_tuning.list())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")


def test_what_another_process_started_is_left_as_it_is():
    done = []
    with contextlib.ExitStack() as stack:
        stack.callback(done.append, "undone")
        serve._undone(stack, os.getpid() + 1)
        assert done == []
        serve._undone(stack, os.getpid())
        assert done == ["undone"]


# options


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"event_case": "Upper"}, "event_case: expected lower or upper, found 'Upper'"),
        ({"faults": ["POST /fine-tunes 200"]}, "fault 'POST /fine-tunes 200': expected a status from 400 to 599, "),
        ({"faults": ["stuck-queued", "explode"]}, "fault 'explode': expected a path that begins with / or *, "),
        ({"host": "192.0.2.1"}, "192.0.2.1, port 0: cannot be used, "),  # of no machine
        ({"speed": "fast"}, "speed: expected instant, real, or a factor of at least 0, found 'fast'"),
        ({"speed": -1}, "speed: expected instant, real, or a factor of at least 0, found -1"),
    ],
)
def test_an_unfit_option_is_refused_in_a_sentence_and_leaves_no_folder(tmp_path, monkeypatch, option, sentence):
    monkeypatch.setattr(serve.tempfile, "mkdtemp", lambda prefix: str(tmp_path / prefix))
    with pytest.raises(LocalServerError) as error:
        LocalServer(**option)
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["a\0b", "\u2603" * 70], ids=["null", "long"])
def test_a_host_that_is_no_name_is_refused_in_a_sentence(tmp_path, host):
    with pytest.raises(LocalServerError, match="cannot be used"):
        LocalServer(tmp_path, host=host)


def test_a_taken_port_is_named_with_its_host(tmp_path):
    with serve._listening("localhost", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LocalServerError, match=rf"^localhost, port {port}: is taken; stop what"):
            LocalServer(tmp_path, port, host="localhost")


def has_ipv6():
    try:
        serve._listening("::1", 0).close()
    except LocalServerError:
        return False
    return True


IPV6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("host", "named"),
    [
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - for a moment
        pytest.param("::", "127.0.0.1", marks=IPV6),
        pytest.param("::1", "[::1]", marks=IPV6),
        ("localhost", "localhost"),
    ],
)
def test_a_host_can_be_chosen_and_the_url_leads_to_it(host, named):
    with LocalServer(host=host) as server, connected(server) as client:
        assert (server.host, server.url) == (host, f"http://{named}:{server.port}")
        assert client.files.list() == []


@pytest.mark.slow
def test_requests_are_remembered_in_the_order_of_their_answers():
    with LocalServer() as server, connected(server) as client:
        assert server.requests == []
        client.files.list()
        client.fine_tuning.list()
        seen = server.requests
        assert [(one.method, one.path, one.status) for one in seen] == [
            ("GET", "/v1/files", 200),
            ("GET", "/v1/fine-tunes", 200),
        ]
        assert [name for one in seen for name in one.headers if name == "authorization"] == []
        seen.clear()
        assert len(server.requests) == 2


@pytest.mark.slow
def test_faults_may_be_given_added_and_cleared_while_the_server_runs(pairs_file):
    with LocalServer(faults=["GET /fine-tunes 500 once"]) as server, connected(server) as client:
        added = server.faults.add("stuck-queued once")
        assert [rule.text for rule in server.faults] == ["GET /fine-tunes 500 once", "stuck-queued once"]
        assert client.fine_tuning.list() == []  # the second time
        job = begin(client, pairs_file)
        assert [rule.acted for rule in server.faults] == [1, 1]
        server.faults.clear()
        assert (list(server.faults), added.acted, server.unfinished) == ([], 1, 1)
        client.fine_tuning.cancel(job)
        assert server.unfinished == 0


@pytest.mark.slow
@pytest.mark.parametrize(("case", "first"), [("lower", "job_pending"), ("upper", "JOB_PENDING")])
def test_event_types_come_in_the_case_that_was_asked_for(pairs_file, case, first):
    with LocalServer(event_case=case, speed=0) as server, connected(server) as client:
        job = begin(client, pairs_file)
        for path in (f"/v1/fine-tunes/{job.id}/events", f"/v1/fine-tunes/{job.id}"):
            found = httpx.get(server.url + path, headers={"authorization": f"Bearer {server.api_key}"}).json()
            assert [event["type"] for event in found.get("data") or found["events"]] == [first]


# the clock


def status(client, job):
    return client.fine_tuning.retrieve(job).status


@pytest.mark.slow
def test_a_job_goes_through_its_phases_as_the_clock_is_turned(pairs_file, eventually):
    with LocalServer(speed=0) as server, connected(server) as client:
        job = begin(client, pairs_file)
        for seconds, expected in [(0, "pending"), (PENDING, "queued"), (QUEUED, "uploading"), (UPLOADING, "completed")]:
            server.turn(seconds)
            eventually(lambda expected=expected: status(client, job) == expected)
            assert server.unfinished == (expected != "completed")


@pytest.mark.slow
def test_the_worker_wakes_by_itself_when_a_phase_ends(pairs_file):
    with LocalServer(speed=1000) as server, connected(server) as client:
        job = client.fine_tuning.wait(begin(client, pairs_file), poll_interval=0.01)
        assert job.status == "completed"


@pytest.mark.slow
def test_a_job_can_be_cancelled_while_its_model_is_stored(pairs_file, eventually):
    with LocalServer(speed=0) as server, connected(server) as client:
        job = begin(client, pairs_file)
        server.turn(PENDING + QUEUED)
        eventually(lambda: status(client, job) == "uploading")
        client.fine_tuning.cancel(job)
        eventually(lambda: status(client, job) == "cancelled")


@pytest.mark.slow
def test_a_job_that_waits_goes_on_with_the_next_server_at_its_speed(tmp_path, pairs_file, eventually):
    with LocalServer(tmp_path, speed=0) as server, connected(server) as client:
        job = begin(client, pairs_file)
        server.turn(PENDING)
        eventually(lambda: status(client, job) == "queued")
    with LocalServer(tmp_path, speed=0) as server, connected(server) as client:
        assert status(client, job) == "queued"
    with LocalServer(tmp_path) as server, connected(server) as client:
        assert client.fine_tuning.wait(job.id, poll_interval=0.01).status == "completed"


@pytest.mark.slow
def test_a_job_that_ran_at_instant_speed_goes_on_at_another(tmp_path, pairs_file, eventually):
    with LocalServer(tmp_path, speed=0) as server, connected(server) as client:
        job = begin(client, pairs_file, **LONG)
    with LocalServer(tmp_path) as server, connected(server) as client:
        eventually(lambda: steps(client, job))
    with LocalServer(tmp_path, speed=0) as server, connected(server) as client:
        eventually(lambda: status(client, job) == "uploading")
        server.turn(UPLOADING)
        eventually(lambda: status(client, job) == "completed")
        assert steps(client, job) == list(range(1, 241))


# leftovers


ID = "01234567-89ab-cdef-0123-456789abcdef"


@pytest.mark.slow
@pytest.mark.parametrize("place", [f"checkpoints/ft-{ID}/2.pt.part", f"files/file-{ID}", f"uploads/upload-{ID}/1"])
def test_a_server_sweeps_away_what_a_dead_one_left(tmp_path, eventually, place):
    LocalServer(tmp_path).close()
    left, mine = tmp_path / place, (tmp_path / place).with_name("mine.part")
    if left.parent.name not in ("files", "checkpoints"):
        mine = left.parent.parent / "mine.part"
    left.parent.mkdir(parents=True, exist_ok=True)
    for path in (left, mine):
        path.write_bytes(b"x")
    with LocalServer(tmp_path):
        eventually(lambda: not left.exists(), seconds=10)
    assert mine.read_bytes() == b"x"


@pytest.mark.slow
def test_a_server_removes_nothing_of_a_folder_that_was_not_its_own(tmp_path):
    kept = [tmp_path / name for name in ("files/file-1.part", "uploads/upload-1/2.part", "checkpoints/run/model.part")]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.write_bytes(b"mine")
    with LocalServer(tmp_path):
        pass
    assert [path.read_bytes() for path in kept] == [b"mine"] * 3


def test_a_folder_of_version_1_is_refused_by_both_versions(tmp_path):
    with sqlite3.connect(tmp_path / "preftune.db") as db:
        db.executescript("CREATE TABLE jobs (id TEXT PRIMARY KEY); PRAGMA user_version = 1")
    db.close()
    with pytest.raises(LocalServerError, match="expected a data folder of version 2, found version 1; ") as error:
        LocalServer(tmp_path)
    assert one_sentence(error)


def descriptor_of(path):
    """Return the descriptor under which this process holds a file open."""
    return next(int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink() and fd.readlink() == path)


@pytest.mark.parametrize("seconds", [-1, float("inf"), float("nan")])
def test_no_clock_is_turned_back_or_to_the_end_of_time(tmp_path, seconds):
    with LocalServer(tmp_path, speed=0) as server, pytest.raises(LocalServerError, match="no clock goes back"):
        server.turn(seconds)


def test_an_empty_host_is_refused():
    with pytest.raises(LocalServerError, match="host: expected an address, found an empty text"):
        LocalServer(host="")


# damage and ends


@pytest.mark.parametrize("name", ["checkpoints", "files", "uploads"])
def test_a_file_in_place_of_a_folder_is_an_error_until_it_is_removed(tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    for _ in range(2):
        with pytest.raises(LocalServerError, match=f"{name}: expected a folder") as error:
            LocalServer(tmp_path)
        assert one_sentence(error)
    (tmp_path / name).unlink()
    LocalServer(tmp_path).close()


def test_a_folder_in_place_of_the_workers_lock_is_an_error(tmp_path):
    (tmp_path / "worker").mkdir()
    with pytest.raises(LocalServerError, match="cannot be written, Is a directory"):
        LocalServer(tmp_path)


def test_a_database_without_a_table_is_an_error(tmp_path):
    LocalServer(tmp_path).close()
    with contextlib.closing(sqlite3.connect(tmp_path / "preftune.db")) as db:
        db.execute("DROP TABLE parts")
    with pytest.raises(LocalServerError, match="no such table: parts") as error:
        LocalServer(tmp_path)
    assert one_sentence(error)


def test_an_empty_text_is_no_folder():
    with pytest.raises(LocalServerError, match="data_dir: expected a folder, found an empty text"):
        LocalServer("")


def test_a_server_that_is_closed_says_so(tmp_path):
    server = LocalServer(tmp_path)
    server.close()
    server.close()
    for use in (lambda: server.unfinished, lambda: server.turn(1)):
        with pytest.raises(LocalServerError, match="the server is closed; open another"):
            use()


@pytest.mark.slow
def test_a_clock_that_crawls_harms_nobody(tmp_path, pairs_file, eventually):
    with LocalServer(tmp_path, speed=1e-300) as server, connected(server) as client:
        job = begin(client, pairs_file)
        server.turn(PENDING + QUEUED)
        eventually(lambda: status(client, job) == "uploading")
        server.turn(UPLOADING)
        eventually(lambda: status(client, job) == "completed")


@pytest.mark.slow
def test_a_closed_server_waits_for_no_fork_that_holds_the_workers_pipe(tmp_path):
    server = LocalServer(tmp_path)
    child = os.fork()
    if not child:
        signal.pause()
    try:
        server.close()
        assert server._worker._process.returncode is not None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.slow
def test_the_worker_takes_nothing_from_the_current_folder(tmp_path, pairs_file):
    (tmp_path / "queue.py").write_text("raise SystemExit('not the library')")
    (tmp_path / "numpy.py").write_text("raise SystemExit('not the library')")
    script = """
import pathlib, sys
from preftune import Client, LocalServer
with LocalServer() as server, Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:
    file = client.files.wait(client.files.upload(sys.argv[1]), poll_interval=0.01)
    job = client.fine_tuning.create(model="m", training_file=file.id, training_method="dpo")
    print(client.fine_tuning.wait(job, poll_interval=0.01).status)
"""
    command = [sys.executable, "-P", "-c", script, str(pairs_file)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.stderr) == ("completed\n", "")


@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_the_jobs_that_wait_for_it(
    tmp_path, pairs_file, monkeypatch, caplog, eventually
):
    monkeypatch.setattr(serve, "_BEGIN", "raise SystemExit(3)")
    monkeypatch.setattr(serve, "_LONGEST_REST", 0.01)
    with LocalServer(tmp_path) as server, connected(server) as client:
        job = begin(client, pairs_file)
        eventually(lambda: status(client, job) == "error")
        last = list(client.fine_tuning.list_events(job))[-1]
    assert last.message == "The worker cannot start: it ended with status 3; what it printed says why."
    assert "The worker cannot start" in caplog.text
