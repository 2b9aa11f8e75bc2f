"""The local server under load and from a standing start: 200 jobs queued, 50 clients that poll, a worker that trains.

Usage: python benchmarks/local.py [--seconds 60]. Times are of this machine, as medians and percentiles; the server and
the clients are processes of their own, and share its cores with the worker.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import httpx

import preftune as pt

KEY = "local-bench"
JOBS, CLIENTS, RATE = 200, 50, 2.0  # the last: requests of one client in a second
# what a client asks in turn: a script polls one job, and now and then somebody lists them all
PATHS = ["{job}", "{job}/metrics", "{job}/events", "{job}", "{job}/metrics", "{job}/checkpoints", "{job}", ""]
STARTS, FLOWS = 5, 5

FLOW = """
import json, sys, tempfile, time, pathlib
begin = time.perf_counter()
import preftune as pt
rows = [{"input": {"messages": [{"role": "user", "content": f"question {i}"}]},
         "preferred_output": [{"role": "assistant", "content": f"a direct answer, {i}"}],
         "non_preferred_output": [{"role": "assistant", "content": f"perhaps later {i}"}]} for i in range(50)]
with tempfile.TemporaryDirectory() as folder, pt.LocalServer() as server:
    path = pathlib.Path(folder) / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\\n" for row in rows))
    started = time.perf_counter()
    with pt.Client(base_url=server.url, api_key=server.api_key, state_dir="") as client:
        file = client.files.upload(path)
        job = client.fine_tuning.create(model="acme/tiny", training_file=file.id, training_method="dpo")
        assert len(list(client.fine_tuning.stream_metrics(job))) == 4
        client.fine_tuning.wait(job)
        client.fine_tuning.download(job, to=pathlib.Path(folder) / "adapter")
    print(started - begin, time.perf_counter() - begin)
"""
START = """
import time
begin = time.perf_counter()
import urllib.request
from preftune import LocalServer
with LocalServer() as server:
    asked = urllib.request.Request(server.url + "/v1/fine-tunes", headers={"authorization": "Bearer " + server.api_key})
    urllib.request.urlopen(asked).read()
    print(time.perf_counter() - begin)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    seconds = parser.parse_args().seconds
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    _standing_start()
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, "-m", "preftune", "serve", "--port", "0", "--api-key", KEY, "--data-dir", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        url = next(line.split("=")[1].strip() for line in server.stdout or () if "PREFTUNE_BASE_URL" in line)
        try:
            _under_load(url, server.pid, seconds)
        finally:
            server.terminate()
            server.communicate()


def _standing_start() -> None:
    """Print how long a script waits for its first answer, and for a whole job."""
    starts = [float(_output(START)) for _ in range(STARTS)]
    flows = [[float(word) for word in _output(FLOW).split()] for _ in range(FLOWS)]
    print(f"import to first answer: median {1000 * statistics.median(starts):.0f} ms of {STARTS}")
    whole, best = statistics.median(flow[1] for flow in flows), min(flow[1] for flow in flows)
    print(f"import, upload 50 pairs, DPO, stream, download: median {whole:.2f} s of {FLOWS}, best {best:.2f}")


def _output(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def _under_load(url: str, pid: int, seconds: float) -> None:
    jobs = _queue(url)
    before = _memory(pid)
    begin = time.perf_counter()
    taken, failures = asyncio.run(_poll(url, jobs, seconds))
    passed = time.perf_counter() - begin
    after = _memory(pid)
    done = sum(job["status"] == "completed" for job in _get(url, "/v1/fine-tunes")["data"])
    taken.sort()
    share = {name: 1000 * taken[int(at * (len(taken) - 1))] for name, at in {"p50": 0.5, "p99": 0.99, "max": 1}.items()}
    print(f"{JOBS} jobs queued, {done} trained meanwhile; {CLIENTS} clients, {len(taken)} GETs in {passed:.1f} s")
    print("GET: " + ", ".join(f"{name} {value:.1f} ms" for name, value in share.items()) + f"; {failures} errors")
    print(f"server: {before:.0f} MiB before, {after:.0f} MiB after")


def _queue(url: str) -> list[str]:
    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"question {number}"}]},
            "preferred_output": [{"role": "assistant", "content": f"a direct answer, {number} " * 20}],
            "non_preferred_output": [{"role": "assistant", "content": f"perhaps later {number} " * 20}],
        }
        for number in range(400)
    ]
    with tempfile.TemporaryDirectory() as folder, pt.Client(base_url=url, api_key=KEY, state_dir="") as client:
        path = Path(folder) / "pairs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        file = client.files.upload(path)
        body = {"model": "acme/tiny", "training_file": file.id, "training_method": {"method": "dpo"}, "n_epochs": 2}
        return [json.loads(client.request("POST", "/fine-tunes", json=body).content)["id"] for _ in range(JOBS)]


async def _poll(url: str, jobs: list[str], seconds: float) -> tuple[list[float], int]:
    """Return the seconds of each GET that was answered with 200, and how many were not."""
    taken: list[float] = []
    failures = 0
    async with httpx.AsyncClient(
        base_url=url,
        headers={"authorization": f"Bearer {KEY}"},
        limits=httpx.Limits(max_connections=CLIENTS),
        timeout=30,
    ) as http:

        async def client(number: int) -> None:
            nonlocal failures
            await asyncio.sleep(number / CLIENTS / RATE)
            end = time.perf_counter() + seconds
            turn = number
            while (begin := time.perf_counter()) < end:
                job = jobs[number * len(jobs) // CLIENTS]
                tail = PATHS[turn % len(PATHS)].format(job=f"/{job}")
                try:
                    answer = await http.get(f"/v1/fine-tunes{tail}")
                    failures += answer.status_code != 200
                except httpx.HTTPError:
                    failures += 1
                taken.append(time.perf_counter() - begin)
                turn += 1
                await asyncio.sleep(max(0.0, begin + 1 / RATE - time.perf_counter()))

        await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return taken, failures


def _memory(pid: int) -> float:
    """Return the resident MiB of a process."""
    words = Path(f"/proc/{pid}/status").read_text().split()
    return int(words[words.index("VmRSS:") + 1]) / 1024


def _get(url: str, path: str) -> dict:
    asked = urllib.request.Request(url + path, headers={"authorization": f"Bearer {KEY}"})  # noqa: S310
    return json.loads(urllib.request.urlopen(asked).read())  # noqa: S310 - our own server


if __name__ == "__main__":
    main()
