"""Canaries: secrets go where they must, and stand nowhere else. Both clients, servers on this machine, all logs on."""

import base64
import http.server
import json
import logging
import pickle
import threading
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote, unquote

import pytest

import preftune as pt

KEY = "canary-of-the-api-key"
WANDB = "canary-of-the-wandb-key"
TOKEN = "canary-of-the-hf-token"
SIGNATURE = "canary+of/the+signature="
SIGNED = f"expires=3600&signature={quote(SIGNATURE, safe='')}"
PASSWORD = "canary-of-the-proxy"
PASSWORD_SENT = base64.b64encode(f"user:{PASSWORD}".encode()).decode()
OURS = (KEY, WANDB, TOKEN, PASSWORD, PASSWORD_SENT)
CANARIES = (*OURS, SIGNATURE, quote(SIGNATURE, safe=""))
JOB = {"model": "m", "training_file": "file-1", "wandb_key": WANDB, "hf_api_token": TOKEN}
CONTENT = b'{"a": 1}\n' * 99


@contextmanager
def serving(answer):
    """Serve on this machine; `answer` gives status, headers and content for a method and a path, or None to hang up."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            said = f"{self.command} {self.path} {unquote(self.path)} {self.headers} {body}"
            self.server.came.append(said)
            answered = answer(self.command, self.path.partition("?")[0])
            if answered is None:
                self.close_connection = True
                return
            status, headers, content = answered
            content = echoing(said) if content is ... else content
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = len(content) < int(headers.get("content-length", 0))

        do_PUT = do_POST = do_GET  # noqa: N815 - the names that http.server calls

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.came, server.url = True, [], f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def echoing(said):
    """Return an error's body that says everything that was sent."""
    return json.dumps({"error": {"message": said, "type": "echo"}}).encode()


def scripted(answer):
    """Return an answer, or the next of several; after the last, hang up."""
    return next(answer, None) if isinstance(answer, Iterator) else answer


def as_json(value):
    return 200, {}, json.dumps(value).encode()


class World:
    """An API and a storage, what they are to answer, and everything that a program could show of its calls."""

    def __init__(self, rig, stack, folder):
        self.rig, self.folder, self.errors, self.shown = rig, folder, [], []
        self.at_api, self.at_storage = {}, {}  # answers by method and path
        self.api = stack.enter_context(serving(lambda *asked: scripted(self.at_api[asked])))
        self.storage = stack.enter_context(serving(lambda *asked: scripted(self.at_storage[asked])))
        self.pairs = folder / "pairs.jsonl"
        self.pairs.write_bytes(CONTENT)

    def do(self, call, **settings):
        """Make a call, and keep what it raises and what a program can show of its client."""

        def noted(client):
            self.shown += [client]
            return call(client)

        try:
            self.shown += [self.rig.do(noted, **{"api_key": KEY, "base_url": self.api.url} | settings)]
        except pt.errors.APIError as error:
            self.errors.append(error)

    def told(self):
        """Return all that was shown: clients, answers, errors with all that hangs on them, and files."""
        texts = []
        for item in self.shown:
            texts += [repr(item), str(item), repr(getattr(item, "__dict__", None))]
        for error in self.errors:
            texts += [repr(pickle.dumps(error)), *traceback.format_exception(error)]
            link = error
            while link is not None:
                texts += [repr(link), str(link), repr(vars(link))]
                link = link.__cause__ or link.__context__
        state = self.shown[0].state_dir
        for path in (*state.rglob("*"), *self.folder.rglob("*")):
            texts += [str(path), path.read_text() if path.is_file() else ""]
        return "\n".join(texts)


@pytest.fixture
def world(rig, tmp_path, caplog):
    for name in ("preftune", "httpx", "httpcore", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    with ExitStack() as stack:
        yield World(rig, stack, tmp_path)


def kinds(world):
    return [type(error).__name__ for error in world.errors]


def expect_silence(world, caplog):
    """Hold that no canary stands where it must not, and that there was something to look at."""
    assert "httpcore.http11" in {record.name for record in caplog.records}
    told = f"{world.told()}\n{caplog.text}"
    assert [canary for canary in CANARIES if canary in told] == []
    to_storage, to_api = "\n".join(world.storage.came), "\n".join(world.api.came)
    assert [canary for canary in OURS if canary in to_storage] == []
    assert [canary for canary in (SIGNATURE, PASSWORD, PASSWORD_SENT) if canary in to_api] == []
    assert "authorization" not in to_storage.lower()


def opened(world, place="/put", origin=None):
    """Let the API say where a file goes."""
    location = f"{world.storage.url if origin is None else origin}{place}?{SIGNED}"
    headers = {"location": location, "x-together-file-id": "file-1"}
    world.at_api["POST", "/v1/files"] = 302, headers, f"<a href='{location}'>Found</a>".encode()
    world.at_api["POST", "/v1/files/file-1/preprocess"] = as_json({"id": "file-1"})


def test_an_upload_over_redirects_tells_no_secret(world, caplog):
    opened(world)
    world.at_storage["PUT", "/put"] = 307, {"location": f"/again?{SIGNED}"}, ...
    world.at_storage["PUT", "/again"] = 200, {}, b""
    world.do(lambda client: client.files.upload(world.pairs))
    assert (kinds(world), len(world.storage.came), world.shown[-1].id) == ([], 2, "file-1")
    assert SIGNATURE in world.storage.came[1]
    expect_silence(world, caplog)


@pytest.mark.parametrize(
    ("answer", "kind", "count"),
    [((403, {}, ...), "PermissionDeniedError", 1), ((500, {}, ...), "InternalServerError", 3)],
)
def test_a_refused_upload_tells_no_secret(world, caplog, answer, kind, count):
    opened(world)
    world.at_storage["PUT", "/put"] = answer
    world.do(lambda client: client.files.upload(world.pairs))
    assert (kinds(world), len(world.storage.came)) == ([kind], count)
    assert "…" in world.errors[0].body["error"]["message"]
    expect_silence(world, caplog)


def test_a_storage_that_breaks_off_or_is_not_there_tells_no_secret(world, caplog):
    opened(world)
    world.at_storage["PUT", "/put"] = None
    world.do(lambda client: client.files.upload(world.pairs))
    with serving(None) as gone:
        nowhere = gone.url
    opened(world, origin=nowhere)
    world.do(lambda client: client.files.upload(world.pairs))
    opened(world, origin="http://host:port")
    world.do(lambda client: client.files.upload(world.pairs))
    assert kinds(world) == ["APIConnectionError"] * 3
    expect_silence(world, caplog)


@pytest.mark.parametrize("status", [200, 403])
def test_an_upload_in_parts_tells_no_secret(world, caplog, status):
    part = {"PartNumber": 1, "URL": f"{world.storage.url}/part?{SIGNED}", "Headers": {"x-part": "1"}}
    started = {"upload_id": "u", "file_id": "file-1", "parts": [part]}
    world.at_api["POST", "/v1/files/multipart/initiate"] = as_json(started)
    world.at_api["POST", "/v1/files/multipart/complete"] = as_json({"file": {"id": "file-1"}})
    world.at_api["POST", "/v1/files/multipart/abort"] = 500, {}, ...
    world.at_storage["PUT", "/part"] = status, {"etag": '"e"'}, ...
    world.do(lambda client: client.files.upload(world.pairs, form="multipart"))
    assert kinds(world) == ([] if status == 200 else ["PermissionDeniedError"])
    expect_silence(world, caplog)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (as_json({"id": "ft-1", "model": "m"}), []),
        ((400, {}, ...), ["BadRequestError"]),
        ((500, {}, ...), ["InternalServerError"]),
        ((200, {}, b"[]"), ["APIResponseValidationError"]),
        (None, ["APIConnectionError"]),
    ],
)
@pytest.mark.parametrize("where", ["fields", "extra_body"])
def test_creating_a_job_tells_no_secret(world, caplog, answer, kind, where):
    world.at_api["GET", "/v1/fine-tunes"] = as_json({"data": []})
    world.at_api["POST", "/v1/fine-tunes"] = answer
    open_fields = {"model": "m", "training_file": "file-1"}
    secrets = {"wandb_key": WANDB, "hf_api_token": TOKEN}

    def call(client):
        if where == "fields":
            return client.fine_tuning.create(JOB)
        return client.with_options(extra_body=secrets).fine_tuning.create(open_fields)

    world.do(call)
    assert kinds(world) == kind
    asked = next(said for said in world.api.came if said.startswith("POST"))
    assert [canary for canary in CANARIES if canary in asked] == [KEY, WANDB, TOKEN]
    assert (world.shown[0].state_dir / "jobs.jsonl").read_text().startswith('{"at": ')
    expect_silence(world, caplog)


def test_a_configuration_tells_no_secret():
    config = pt.JobConfig(**JOB)
    with pytest.raises(ValueError, match="n_epochs") as error:
        pt.JobConfig(**JOB, n_epochs=0)
    with pytest.raises(ValueError, match="wandb_key") as other:
        pt.JobConfig(**JOB | {"wandb_key": [WANDB]})
    told = f"{config!r} {config} {error.value!r} {other.value} {traceback.format_exception(other.value)}"
    assert [canary for canary in CANARIES if canary in told] == []


def test_redirects_to_another_host_are_not_followed_and_tell_no_secret(world, caplog):
    location = f"{world.storage.url}/object?{SIGNED}"
    moved = 302, {"location": location}, f"<a href='{location}'>Found</a>".encode()
    world.at_api["GET", "/v1/fine-tunes/ft-1"] = moved
    world.at_api["GET", "/v1/finetune/download"] = moved
    world.do(lambda client: client.fine_tuning.retrieve("ft-1"))
    world.do(lambda client: client.fine_tuning.download("ft-1", to=world.folder / "to", checkpoint="adapter"))
    assert (kinds(world), world.storage.came) == (["APIStatusError"] * 2, [])
    assert "signature=…" in world.errors[0].body
    expect_silence(world, caplog)


@pytest.mark.parametrize("breaks", [False, True])
def test_a_download_tells_no_secret_and_leaves_none_on_disk(world, caplog, breaks):
    probed = 206, {"content-range": f"bytes 0-1/{len(CONTENT)}", "etag": '"e"'}, CONTENT[:2]
    whole = 200, {"etag": '"e"'}, CONTENT
    half = 206, {"content-range": f"bytes 0-{len(CONTENT)}/{len(CONTENT)}", "etag": '"e"'}, CONTENT[:99]
    half[1]["content-length"] = str(len(CONTENT))
    world.at_api["GET", "/v1/files/file-1/content"] = iter([probed, half if breaks else whole])
    target = world.folder / "copy.jsonl"
    world.do(lambda client: client.files.download("file-1", to=target), max_retries=0)
    assert (kinds(world), target.exists()) == (["APIConnectionError"] if breaks else [], not breaks)
    assert (world.folder / ".copy.jsonl.file-1.part" / "content").exists() is breaks
    expect_silence(world, caplog)


@pytest.mark.parametrize("works", [True, False])
def test_a_proxys_password_goes_to_the_proxy_alone(world, caplog, works):
    def answer(method, path):
        return as_json({"id": "file-1"}) if works else None

    opened(world)
    with serving(answer) as proxy:
        address = f"http://user:{PASSWORD}@127.0.0.1:{proxy.server_port}"
        world.do(lambda client: client.files.retrieve("file-1"), proxy=address)
        world.do(lambda client: client.request("GET", "/x"), proxy=address)
    world.do(lambda client: client.files.retrieve("file-1"), proxy=address)
    assert kinds(world) == ["APIConnectionError"] * (1 if works else 3)
    assert (PASSWORD_SENT in proxy.came[0], world.api.came) == (True, [])
    expect_silence(world, caplog)
