"""Servers and workers that are killed while a script runs: nothing acknowledged is lost, repeated or changed."""

import contextlib
import json
import os
import random
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest

import preftune as pt

pytestmark = pytest.mark.slow

KEY = "local-crash"
TARGETS = ("server", "worker", "both")
LONGEST = 1.5  # seconds between two kills
MODEL = "acme/tiny"


def processes(folder):
    """Return the command lines of the processes that work on a folder, by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if entry.name.isdigit() and str(folder) in words and int(entry.name) != os.getpid():
                found[int(entry.name)] = words
    return found


def eventually(condition, seconds=30.0):
    pause = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        pause.wait(0.01)
    pytest.fail(f"still false after {seconds:g} s")


class Served:
    """`preftune serve` in a process of its own, which can be killed and begun again."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        command = [sys.executable, "-m", "preftune", "serve", "--port", str(self.port), "--api-key", KEY]
        self.process = subprocess.Popen([*command, "--data-dir", str(self.folder)], stdout=subprocess.DEVNULL)
        eventually(self._answers)

    def _answers(self):
        assert self.process.poll() is None, "the server ended by itself"
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"{self.url}/openapi.json", timeout=5).status == 200  # noqa: S310
        return False

    def kill(self, target):
        """Kill the server, the worker, or both at once, with a signal that none of them sees."""
        victims = [
            pid for pid, words in processes(self.folder).items() if any("local.runner" in word for word in words)
        ]
        if target == "server":
            victims = []
        if target != "worker":
            victims.append(self.process.pid)
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if target != "worker":
            self.process.wait()
            self.start()

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
        eventually(lambda: not processes(self.folder))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with conversations, pairs, and held-out pairs."""
    folder = tmp_path_factory.mktemp("data")
    chance = random.Random(5)
    words = ["amber", "brook", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "jetty"]

    def said(count):
        return " ".join(chance.choice(words) for _ in range(count))

    chats, pairs = [], []
    for number in range(400):
        question, good, bad = f"Tell me of {said(3)}, {number}.", said(30), said(30) + " or not"
        chats.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": good}]})
        pairs.append(
            {
                "input": {"messages": [{"role": "user", "content": question}]},
                "preferred_output": [{"role": "assistant", "content": good}],
                "non_preferred_output": [{"role": "assistant", "content": bad}],
            }
        )
    for name, rows in {"chats": chats, "pairs": pairs[:360], "held": pairs[360:]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def script(url, data, to):
    """Do what a user's script does, and return what it saw."""
    with pt.Client(base_url=url, api_key=KEY, max_retries=12, state_dir=str(to / "state")) as client:
        chats, pairs, held = (client.files.upload(data / f"{name}.jsonl").id for name in ("chats", "pairs", "held"))
        common = {"random_seed": 3, "batch_size": 8}
        sft = client.fine_tuning.create(
            model=MODEL, training_file=chats, training_type="Full", n_checkpoints=5, n_epochs=2, **common
        )
        sft_rows = list(client.fine_tuning.stream_metrics(sft))
        client.fine_tuning.wait(sft, timeout=120)
        dpo = client.fine_tuning.create(
            from_checkpoint=sft.id, training_file=pairs, validation_file=held, training_method="dpo", n_evals=6,
            n_checkpoints=6, n_epochs=2, training_type="Lora", **common,
        )  # fmt: skip
        dpo_rows = list(client.fine_tuning.stream_metrics(dpo))
        client.fine_tuning.wait(dpo, timeout=120)
        archives = [client.fine_tuning.download(job, to=to / job.id, extract=False) for job in (sft, dpo)]
        jobs = [client.fine_tuning.retrieve(job) for job in (sft, dpo)]
        return {
            "streamed": [[plain(row.raw) for row in rows] for rows in (sft_rows, dpo_rows)],
            "kept": [[plain(row.raw) for row in client.fine_tuning.list_metrics(job)] for job in jobs],
            "events": [[(e.kind, e.step, anonymous(e.message)) for e in job.events] for job in jobs],
            "checkpoints": [
                sorted((c.step, c.checkpoint_type) for c in client.fine_tuning.list_checkpoints(job)) for job in jobs
            ],
            "counts": [(job.total_steps, job.steps_completed, job.epochs_completed, job.token_count) for job in jobs],
            "archives": [path.read_bytes() for path in archives],
            "jobs": len(client.fine_tuning.list()),
        }


def plain(raw):
    return {name: value for name, value in raw.items() if name != "timestamp"}


def anonymous(message):
    return re.sub(r"(file|ft)-[0-9a-f-]{36}|-[0-9a-f]{8}\b", "…", message)


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    """Return what the script sees when nothing is killed, and how long it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    served = Served(folder / "data")
    try:
        begin = time.monotonic()
        return script(served.url, data, folder), time.monotonic() - begin
    finally:
        served.end()


@pytest.mark.parametrize("seed", range(10))
def test_three_kills_at_random_moments_change_nothing_that_a_script_sees(seed, data, undisturbed, tmp_path):
    twin, seconds = undisturbed
    chance = random.Random(seed)
    targets = chance.sample(TARGETS, len(TARGETS))
    served, ended, killed = Served(tmp_path / "data"), threading.Event(), []

    def kill():
        for target in targets:
            if ended.wait(chance.uniform(0, min(LONGEST, seconds / 2))):
                return
            served.kill(target)
            killed.append(target)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        seen = script(served.url, data, tmp_path)
    finally:
        ended.set()
        killer.join()
        served.end()
    assert killed == targets
    assert {name: seen[name] == value for name, value in twin.items()} == dict.fromkeys(twin, True)
    with contextlib.closing(sqlite3.connect(tmp_path / "data" / "preftune.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    left = [path.name for path in (tmp_path / "data").rglob("*") if path.name.endswith((".part", ".state.safetensors"))]
    assert left == []
