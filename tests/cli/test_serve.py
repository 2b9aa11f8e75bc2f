import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from preftune import Client

STUCK = ("--fault", "stuck-queued", "--api-key", "k")


class Serving:
    """`preftune serve` in a process of its own: what it prints first, and what it says when it is ended."""

    def __init__(self, *options, **environment):
        command = [sys.executable, "-m", "preftune", "serve", "--port", "0", *map(str, options)]
        kinds = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, **kinds, env=os.environ | environment)
        self.head = [self.process.stdout.readline().rstrip("\n") for _ in range(5)]
        self.url = self.head[2].removeprefix("export PREFTUNE_BASE_URL=")
        self.key = self.head[3].removeprefix("export PREFTUNE_API_KEY=")

    def get(self, path):
        return httpx.get(f"{self.url}{path}", headers={"authorization": f"Bearer {self.key}"})

    def create(self, rows, count=1):
        """Upload pairs and ask for jobs on them; return their ids."""
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
        with Client(base_url=self.url, api_key=self.key, state_dir="") as client:
            file = client.files.wait(client.files.upload(content, name="pairs.jsonl"), poll_interval=0.01)
            asked = {"model": "m", "training_file": file.id, "training_method": "dpo"}
            return [client.fine_tuning.create(**asked).id for _ in range(count)]

    def end(self, number):
        """Return exit code, the rest of the output, and the lines of the log without their times."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in err.splitlines()]


@pytest.fixture
def serve():
    """Return a function that starts `preftune serve`; it has answered once when it returns."""
    with contextlib.ExitStack() as ending:

        def start(*options, **environment):
            serving = Serving(*options, **environment)
            ending.callback(serving.process.communicate)
            ending.callback(serving.process.terminate)
            assert httpx.get(f"{serving.url}/openapi.json").status_code == 200
            return serving

        yield start


@pytest.fixture
def pairs(good):
    return [good(f"How is {number}?", f"{number} is fine.", f"Bah, {number}!") for number in range(4)]


@pytest.fixture
def refused(run):
    """Return a function that gives the exit code and the last line of a command that does not serve."""

    def refused(*options):
        code, out, err = run("serve", *options)
        assert (out, "Traceback" in err) == ("", False)
        return code, err.splitlines()[-1]

    return refused


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_what_to_paste_and_ends_cleanly_on_a_signal(serve, tmp_path, number):
    serving = serve(TMPDIR=str(tmp_path))
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", serving.url)
    assert re.fullmatch("local-[0-9a-f]{16}", serving.key)
    assert serving.head == [
        (
            f"preftune serves the fine-tuning API at {serving.url}, data in a temporary folder, gone at the end. "
            "Ctrl-C ends it."
        ),
        "",
        f"export PREFTUNE_BASE_URL={serving.url}",
        f"export PREFTUNE_API_KEY={serving.key}",
        "",
    ]
    assert serving.get("/v1/files").json() == {"object": "list", "data": []}
    assert len(list(tmp_path.iterdir())) == 1
    assert serving.end(number) == (0, "Ended.\n", [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_key_and_a_folder_that_are_given_are_the_ones(serve, tmp_path):
    serving = serve("--api-key", "k", "--data-dir", tmp_path / "d")
    assert serving.head[0].endswith(f", data in {tmp_path / 'd'}. Ctrl-C ends it.")
    assert serving.key == "k"
    assert [httpx.get(f"{serving.url}/v1/files").status_code, serving.get("/v1/files").status_code] == [401, 200]
    assert serving.end(signal.SIGTERM)[:2] == (0, "Ended.\n")
    assert (tmp_path / "d" / "preftune.db").is_file()


@pytest.mark.slow
def test_changes_and_failures_are_printed_as_they_come_and_readings_are_not(serve):
    serving = serve("--fault", "GET /fine-tunes 500", "--fault", "PUT /storage/* drop")
    place = httpx.post(
        f"{serving.url}/v1/files", headers={"authorization": f"Bearer {serving.key}"}, data={"file_name": "a.jsonl"}
    ).headers["location"]
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.put(place, content=b"{}")
    assert [serving.get(path).status_code for path in ("/v1/files", "/v1/fine-tunes", "/x")] == [200, 500, 404]
    code, out, log = serving.end(signal.SIGTERM)
    assert (code, out) == (0, "Ended.\n")
    assert log == [
        "POST /v1/files 302",
        f"PUT {httpx.URL(place).path} broken off",
        "GET /v1/fine-tunes 500",
        "GET /x 404",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("count", "jobs"), [(1, "1 job"), (2, "2 jobs")])
def test_jobs_that_have_not_ended_are_kept_in_the_folder_and_said(serve, pairs, tmp_path, count, jobs):
    folder = tmp_path / "d"
    first = serve(*STUCK, "--data-dir", folder)
    created = first.create(pairs, count)
    code, out, _ = first.end(signal.SIGINT)
    assert (code, out) == (0, f"Ended; {jobs} kept in {folder}, to go on at the next start.\n")
    second = serve(*STUCK, "--data-dir", folder)
    assert [job["id"] for job in second.get("/v1/fine-tunes").json()["data"]] == created[::-1]
    assert second.end(signal.SIGTERM)[1] == f"Ended; {jobs} kept in {folder}, to go on at the next start.\n"


@pytest.mark.slow
def test_a_job_that_runs_goes_on_at_the_next_start(serve, pairs, tmp_path):
    first = serve("--speed", "1e-9", "--data-dir", tmp_path)
    (job,) = first.create(pairs)
    assert first.end(signal.SIGTERM)[1] == f"Ended; 1 job kept in {tmp_path}, to go on at the next start.\n"
    second = serve("--speed", "1e9", "--data-dir", tmp_path)
    with Client(base_url=second.url, api_key=second.key, state_dir="") as client:
        assert client.fine_tuning.wait(job, timeout=60, poll_interval=0.02).status == "completed"
    assert second.end(signal.SIGTERM)[1] == "Ended.\n"


@pytest.mark.slow
def test_without_a_folder_a_job_that_has_not_ended_is_given_up_and_that_is_said(serve, pairs):
    serving = serve(*STUCK)
    serving.create(pairs)
    assert serving.end(signal.SIGINT)[1] == "Ended; 1 job given up with the temporary folder.\n"


@pytest.mark.slow
@pytest.mark.parametrize(("options", "type_"), [((), "job_pending"), (("--event-case", "upper"), "JOB_PENDING")])
def test_event_types_are_written_in_the_case_that_is_asked_for(serve, pairs, options, type_):
    serving = serve(*STUCK, *options)
    (job,) = serving.create(pairs)
    assert serving.get(f"/v1/fine-tunes/{job}/events").json()["data"][0]["type"] == type_


@pytest.mark.slow
def test_a_port_and_a_folder_in_use_are_each_one_sentence(serve, refused, tmp_path):
    serving = serve("--data-dir", tmp_path)
    port = serving.url.rpartition(":")[2]
    taken = f"preftune: port {port}: is taken; stop what listens there, or choose another (port 0 takes a free one)"
    assert refused("--port", port) == (2, taken)
    held = f"preftune: {tmp_path}: another local server uses this folder; stop it, or choose another"
    assert refused("--port", "0", "--data-dir", tmp_path) == (2, held)
    assert serving.end(signal.SIGTERM)[:2] == (0, "Ended.\n")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--fault", "POST /files 500 twice"],
            (
                "preftune: fault 'POST /files 500 twice': 'twice' does not fit after 500; write 'POST /fine-tunes 500 "
                "once', 'GET */metrics 429 retry-after=2 every 3', 'PUT /storage/* drop', 'GET /files slow=0.5', or "
                "'job-error at step 5'"
            ),
        ),
        (
            ["--speed", "fast"],
            "preftune: speed: expected instant, real, or a factor of at least 0, found 'fast'",
        ),
        (["--speed", "-1"], "preftune: speed: expected instant, real, or a factor of at least 0, found '-1'"),
        (
            ["--api-key", "has space"],
            "preftune: api_key: expected printable ASCII without spaces; no client can send another",
        ),
    ],
)
def test_an_option_that_does_not_fit_is_one_sentence_and_leaves_no_folder(
    run, tmp_path, monkeypatch, options, sentence
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run("serve", "--port", "0", *options) == (2, "", f"{sentence}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--event-case", "mixed"], "Error: Invalid value for '--event-case': 'mixed' is not one of 'lower', 'upper'."),
        (["--port", "70000"], "Error: Invalid value for '--port': 70000 is not in the range 0<=x<=65535."),
        (["--port", "http"], "Error: Invalid value for '--port': 'http' is not a valid integer range."),
        (["--fault"], "Error: Option '--fault' requires an argument."),
        (["--faults", "x"], "Error: No such option '--faults'. Did you mean '--fault'?"),
        (["now"], "Error: Got unexpected extra argument (now)"),
    ],
)
def test_a_misspelt_option_is_told_by_its_name(refused, options, words):
    assert refused(*options) == (2, words)


def test_an_address_that_is_none_is_one_sentence(refused):
    code, sentence = refused("--port", "0", "--host", "256.1.1.1")
    assert code == 2
    assert re.fullmatch(
        r"preftune: 256\.1\.1\.1, port 0: cannot be used, .+; choose another \(port 0 takes .+\)", sentence
    )


def test_a_file_in_place_of_the_folder_is_one_sentence(refused, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert refused("--port", "0", "--data-dir", tmp_path / "file") == (
        2,
        f"preftune: {tmp_path / 'file'}: expected a folder for the server's data, found a file; choose another",
    )
    assert (tmp_path / "file").read_text() == "mine"


def test_its_help_names_every_option_and_every_fault(run):
    code, out, _ = run("serve", "--help")
    assert code == 0
    words = ("--port", "--host", "--data-dir", "--api-key", "--speed", "--fault", "--event-case")
    faults = ("drop", "lose", "truncate", "slow=", "job-error", "user_error", "refund", "early-stop", "stuck-queued")
    assert [word for word in (*words, *faults, "invalid-format") if word not in out] == []


@pytest.mark.slow
def test_a_signal_that_comes_as_soon_as_the_last_line_is_printed_ends_it_as_cleanly(tmp_path):
    codes = set()
    for _ in range(3):
        serving = Serving(TMPDIR=str(tmp_path))
        codes.add(serving.end(signal.SIGTERM)[:2])
    assert codes == {(0, "Ended.\n")}
    assert list(Path(tmp_path).iterdir()) == []


def test_a_second_interrupt_is_not_swallowed(serve):
    serving = serve("--speed", "0")
    os.kill(serving.process.pid, signal.SIGSTOP)  # so that both are there before it can do anything
    for _ in range(2):
        serving.process.send_signal(signal.SIGINT)
    os.kill(serving.process.pid, signal.SIGCONT)
    assert serving.process.wait(20) in (0, 130)  # they may have come as one


def test_an_interrupt_while_it_ends_ends_it_at_once(serve):
    serving = serve("--fault", "GET /files slow=30")
    with contextlib.suppress(httpx.ReadTimeout):
        httpx.get(f"{serving.url}/v1/files", headers={"authorization": f"Bearer {serving.key}"}, timeout=0.2)
    serving.process.send_signal(signal.SIGINT)
    while serving.process.poll() is None:
        serving.process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            serving.process.wait(0.1)
    assert serving.process.returncode == 130
