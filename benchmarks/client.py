"""What the client costs: calls, the first call, uploads, downloads, a hundred streams; peers side by side in one run.

Usage: python benchmarks/client.py [--rounds 5] [--mib 1024] [calls] [first] [upload] [download] [streams]

The server is a stand-in of this file, in a process of its own, on loopback; it only answers, so that what is measured
is the clients. Calls are rounds of 300 GETs of one job; "httpx" is a plain httpx client and pydantic's parsing of our
own model. First call: a fresh interpreter that imports, makes a client and asks for one job, less a bare interpreter.
Upload: the file's SHA-256, then the bytes; "httpx" is hashlib.file_digest and one PUT of 1 MiB chunks. Download: to a
file, no digest stated. Memory is the growth of a fresh process over what it held before (and its peak in all).
Every figure is a median over the rounds, and every ratio a median of ratios within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from statistics import median

PARTS = ("calls", "first", "upload", "download", "streams")
CALLS, AT_ONCE = 300, 20  # GETs a round; asynchronous ones on their way at once
JOBS, ROWS, ROWS_A_POLL = 100, 400, 20
MIB = 1 << 20
JOB = {
    "id": "ft-1", "status": "running", "user_id": "u", "owner_address": "a@b", "model": "m", "model_output_name": "p/m",
    "created_at": "2026-11-23T08:46:16.472Z", "updated_at": "2026-11-23T08:46:16.472Z", "total_price": 0,
    "training_file": "file-1", "validation_file": "", "n_epochs": 2, "n_evals": 0, "n_checkpoints": 2, "batch_size": 8,
    "learning_rate": 1e-4, "warmup_ratio": 0.0, "max_grad_norm": 1.0, "weight_decay": 0.0, "packing": True,
    "lr_scheduler": {"lr_scheduler_type": "cosine", "lr_scheduler_args": {"min_lr_ratio": 0.0, "num_cycles": 0.5}},
    "training_type": {"type": "Lora", "lora_r": 8, "lora_alpha": 16}, "token_count": 0,
    "training_method": {"method": "dpo", "dpo_beta": 0.2},
    "from_checkpoint": "", "events": [], "progress": {"estimate_available": False, "seconds_remaining": 0},
}  # fmt: skip
FILE = {
    "id": "file-1", "object": "file", "created_at": 1795423573, "filename": "big.jsonl", "bytes": 1,
    "purpose": "fine-tune", "FileType": "jsonl", "processing_status": "COMPLETED", "Processed": True, "LineCount": 0,
}  # fmt: skip


def main() -> None:
    """Measure what is asked for and print it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--mib", type=int, default=1024, help="the size of the file that travels")
    options.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options.add_argument("--one", help=argparse.SUPPRESS)
    options.add_argument("--url", help=argparse.SUPPRESS)
    options.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.serve:
        serve(chosen.mib * MIB)
    elif chosen.one:
        print(json.dumps(ALONE[chosen.one](chosen.url, chosen.path)))
    else:
        print(f"Python {sys.version.split()[0]}, {chosen.rounds} rounds")
        with stand_in(chosen.mib) as url:
            for part in chosen.parts or PARTS:
                print(f"\n{part}")
                globals()[part](url, chosen.rounds, chosen.mib)


# what is measured


def calls(url: str, rounds: int, _: int) -> None:
    """Time GETs of one job, one after another and twenty at once."""
    blocking = blocking_calls(url)
    report("one after another", "us a GET", [{name: one() for name, one in blocking.items()} for _ in range(rounds)])
    report("twenty at once", "us a GET", asyncio.run(awaited_rounds(url, rounds)))


def first(url: str, rounds: int, _: int) -> None:
    """Time fresh interpreters, from their start to the answer of the first call."""
    code = {
        "preftune": f"import preftune; preftune.Client(api_key='k', base_url={url!r}).fine_tuning.retrieve('ft-1')",
        "together": f"import together; together.Together(api_key='k', base_url={url!r}).fine_tuning.retrieve('ft-1')",
    }
    if not find_spec("together"):
        del code["together"]
    taken = []
    for _ in range(rounds + 1):
        bare = milliseconds("pass")
        taken.append({name: milliseconds(text) - bare for name, text in code.items()})
    report("import, client, first GET", "ms", taken[1:])


def upload(url: str, rounds: int, mib: int) -> None:
    """Time a file on its way up, in fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.jsonl"
        with path.open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))
        names = ["httpx put", "preftune upload", "preftune upload, async"]
        moved(names, url, path, rounds=rounds, mib=mib)


def download(url: str, rounds: int, mib: int) -> None:
    """Time a file on its way down, in fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        names = ["preftune download", "preftune download, async"]
        names = ["together download", "together, streamed", *names] if find_spec("together") else names
        moved(names, url, Path(folder) / "down", rounds=rounds, mib=mib)


def streams(url: str, _: int, __: int) -> None:
    """Stream the metrics of a hundred jobs at once in one process."""
    found = alone("preftune streams", url, None)
    print(
        f"  {JOBS} jobs, {found['rows']:,.0f} of {JOBS * ROWS:,} rows in {found['seconds']:.1f} s, "
        f"peak {found['peak']:.0f} MiB, of which {found['grown']:.0f} over the imports"
    )


def moved(names: list[str], url: str, path: Path, *, rounds: int, mib: int) -> None:
    """Print the speed, the memory and the longest pause of the event loop of each way to move a file."""
    taken = [{name: alone(name, url, path) for name in names} for _ in range(rounds)]
    for name in names:
        column = [one[name] for one in taken]
        speed = median(mib / one["seconds"] for one in column)
        ratio = median(one[names[0]]["seconds"] / one[name]["seconds"] for one in taken)
        stall = f", loop held {max(one['stall'] for one in column):.0f} ms at most" if "stall" in column[0] else ""
        grown, most = (max(one[what] for one in column) for what in ("grown", "peak"))
        print(
            f"  {name:<26}{speed:>7.0f} MiB/s{ratio:>7.2f} x {names[0]}; "
            f"memory +{grown:.0f} MiB, {most:.0f} in all{stall}"
        )


def report(title: str, unit: str, rounds: list[dict[str, float]]) -> None:
    """Print medians, and the ratio of each to ours."""
    print(f"  {title}")
    for name in rounds[0]:
        ratio = median(one[name] / one["preftune"] for one in rounds)
        print(f"    {name:<12}{median(one[name] for one in rounds):>9.0f} {unit}{ratio:>8.2f} x preftune")


# calls


def blocking_calls(url: str) -> dict[str, Callable[[], float]]:
    """Return what times a round of GETs, by client."""
    import httpx

    import preftune
    from preftune.api.models import FineTuneJob

    ours, plain = preftune.Client(api_key="k", base_url=url), httpx.Client(headers={"authorization": "Bearer k"})
    address = f"{url}/v1/fine-tunes/ft-1"
    each = {
        "preftune": lambda: ours.fine_tuning.retrieve("ft-1"),
        "httpx": lambda: FineTuneJob.model_validate_json(plain.get(address).content),
    }
    if find_spec("together"):
        import together

        peer = together.Together(api_key="k", base_url=url)
        each["together"] = lambda: peer.fine_tuning.retrieve("ft-1")
    return {name: lambda one=one: microseconds(one) for name, one in each.items()}


def microseconds(one: Callable[[], object]) -> float:
    """Return the time of one of many."""
    one()
    start = time.perf_counter()
    for _ in range(CALLS):
        one()
    return (time.perf_counter() - start) / CALLS * 1e6


async def awaited_rounds(url: str, rounds: int) -> list[dict[str, float]]:
    """Return the times of GETs with several on their way at once."""
    import httpx

    import preftune
    from preftune.api.models import FineTuneJob

    ours, plain = (
        preftune.AsyncClient(api_key="k", base_url=url),
        httpx.AsyncClient(headers={"authorization": "Bearer k"}),
    )
    address = f"{url}/v1/fine-tunes/ft-1"

    async def parsed() -> FineTuneJob:
        return FineTuneJob.model_validate_json((await plain.get(address)).content)

    each: dict[str, Callable[[], Awaitable[object]]] = {
        "preftune": lambda: ours.fine_tuning.retrieve("ft-1"),
        "httpx": parsed,
    }
    if find_spec("together"):
        import together

        peer = together.AsyncTogether(api_key="k", base_url=url)
        each["together"] = lambda: peer.fine_tuning.retrieve("ft-1")

    async def several(one: Callable[[], Awaitable[object]]) -> None:
        for _ in range(CALLS // AT_ONCE):
            await one()

    async def timed(one: Callable[[], Awaitable[object]]) -> float:
        start = time.perf_counter()
        await asyncio.gather(*(several(one) for _ in range(AT_ONCE)))
        return (time.perf_counter() - start) / CALLS * 1e6

    for one in each.values():
        await one()
    return [{name: await timed(one) for name, one in each.items()} for _ in range(rounds)]


def milliseconds(code: str) -> float:
    """Return the time of one interpreter that runs the code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"TOGETHER_TELEMETRY_DISABLED": "1"})
    return 1000 * (time.perf_counter() - start)


# what runs in a process of its own


def alone(name: str, url: str, path: Path | None) -> dict[str, float]:
    """Return what a fresh process measures."""
    command = [sys.executable, __file__, "--one", name, "--url", url, *(["--path", str(path)] if path else [])]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))


def peak() -> float:
    """Return the most memory that this process has held so far, in MiB (on Linux)."""
    status = Path("/proc/self/status").read_text()  # getrusage would count what the parent held when it forked
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Return the seconds and the memory of some work."""
    before, start = peak(), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - start, "grown": peak() - before, "peak": peak()}


def put(url: str, path: Path) -> dict[str, float]:
    """Upload by hand: the digest, then the bytes."""
    import httpx

    def chunks() -> Iterator[bytes]:
        with path.open("rb") as file:
            while chunk := file.read(MIB):
                yield chunk

    def work() -> None:
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256").hexdigest()
        headers = {"content-length": str(path.stat().st_size)}
        client.put(f"{url}/storage", content=chunks(), headers=headers, timeout=60).raise_for_status()

    client = httpx.Client()
    client.get(f"{url}/v1/fine-tunes/ft-1")
    return measured(work)


def ours_up(url: str, path: Path) -> dict[str, float]:
    """Upload with the client."""
    import preftune

    client = preftune.Client(api_key="k", base_url=url)
    client.fine_tuning.retrieve("ft-1")
    return measured(lambda: client.files.upload(path))


def ours_down(url: str, path: Path) -> dict[str, float]:
    """Download with the client."""
    import preftune

    client = preftune.Client(api_key="k", base_url=url)
    client.fine_tuning.retrieve("ft-1")
    path.unlink(missing_ok=True)
    return measured(lambda: client.files.download("file-1", to=path))


def theirs_down(url: str, path: Path) -> dict[str, float]:
    """Download with the official client, as its users do."""
    import together

    client = together.Together(api_key="k", base_url=url)
    client.fine_tuning.retrieve("ft-1")
    path.unlink(missing_ok=True)
    return measured(lambda: client.files.content("file-1").write_to_file(path))


def theirs_streamed(url: str, path: Path) -> dict[str, float]:
    """Download with the official client, streamed."""
    import together

    client = together.Together(api_key="k", base_url=url)
    client.fine_tuning.retrieve("ft-1")
    path.unlink(missing_ok=True)

    def work() -> None:
        with client.files.with_streaming_response.content("file-1") as answer:
            answer.stream_to_file(path)

    return measured(work)


def ours_awaited(url: str, call: Callable[[object], Awaitable[object]], path: Path | None = None) -> dict[str, float]:
    """Do something with the asynchronous client, and watch how long it holds the loop."""
    import preftune

    async def run() -> float:
        client = preftune.AsyncClient(api_key="k", base_url=url)
        await client.fine_tuning.retrieve("ft-1")
        longest, ended = 0.0, False

        async def watch() -> None:
            nonlocal longest
            while not ended:
                start = time.perf_counter()
                await asyncio.sleep(0.001)
                longest = max(longest, time.perf_counter() - start - 0.001)

        watching = asyncio.create_task(watch())
        await call(client)
        ended = True
        await watching
        return 1000 * longest

    stall = 0.0

    def work() -> None:
        nonlocal stall
        stall = asyncio.run(run())

    import preftune.client.tables

    if path is not None:
        path.unlink(missing_ok=True)

    return measured(work) | {"stall": stall}


def ours_streaming(url: str, _: Path) -> dict[str, float]:
    """Stream a hundred jobs at once."""
    import preftune

    seen: dict[str, list[object]] = {f"ft-{number}": [] for number in range(JOBS)}

    async def follow(client: preftune.AsyncClient, job: str) -> None:
        async for row in client.fine_tuning.stream_metrics(job):
            seen[job].append(row.step)

    async def run() -> None:
        async with preftune.AsyncClient(api_key="k", base_url=url) as client:
            await asyncio.gather(*(follow(client, job) for job in seen))

    import preftune.client.tables

    found = measured(lambda: asyncio.run(run()))
    assert all(steps == list(range(1, ROWS + 1)) for steps in seen.values()), "a row is missing, repeated or late"  # noqa: S101
    return found | {"rows": sum(map(len, seen.values()))}


ALONE: dict[str, Callable[[str, Path], dict[str, float]]] = {
    "httpx put": put,
    "preftune upload": ours_up,
    "preftune upload, async": lambda url, path: ours_awaited(url, lambda client: client.files.upload(path)),
    "together download": theirs_down,
    "together, streamed": theirs_streamed,
    "preftune download": ours_down,
    "preftune download, async": lambda url, path: ours_awaited(
        url, lambda client: client.files.download("file-1", to=path), path
    ),
    "preftune streams": ours_streaming,
}


# the stand-in


@contextmanager
def stand_in(mib: int) -> Iterator[str]:
    """Run the server in a process of its own."""
    command = [sys.executable, __file__, "--serve", "--mib", str(mib)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def serve(size: int) -> None:
    """Answer on loopback, a thread a connection."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    port = listening.getsockname()[1]
    print(port, flush=True)
    server = Server(f"http://127.0.0.1:{port}", size)
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=server.talk, args=(connection,), daemon=True).start()


class Server:
    """Answers as an API of this kind would, and keeps nothing but how far each job was read."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size = url, size
        self._polls: dict[str, int] = {}
        self._job, self._file = json.dumps(JOB).encode(), json.dumps(FILE).encode()
        self._zeros = bytes(MIB)

    def talk(self, connection: socket.socket) -> None:
        """Answer one request after another."""
        held = bytearray()
        buffer = memoryview(bytearray(MIB))
        while True:
            while (end := held.find(b"\r\n\r\n")) < 0:
                received = connection.recv(65536)
                if not received:
                    return
                held += received
            head, held = bytes(held[:end]).decode(), held[end + 4 :]
            headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
            left = int(headers.get("content-length", 0)) - len(held)
            held = held[int(headers.get("content-length", 0)) :]
            while left > 0:
                left -= connection.recv_into(buffer, min(left, MIB))
            self._answer(connection, head, headers)

    def _answer(self, connection: socket.socket, head: str, headers: dict[str, str]) -> None:
        method, target, _ = head.split(" ", 2)
        if method == "POST" and target == "/v1/files":
            more = f"location: {self._url}/storage\r\nx-together-file-id: file-1\r\n"
            connection.sendall(f"HTTP/1.1 302 Found\r\n{more}content-length: 0\r\n\r\n".encode())
        elif method == "PUT":
            connection.sendall(b'HTTP/1.1 200 OK\r\netag: "e"\r\ncontent-length: 0\r\n\r\n')
        elif target.endswith("/content"):
            self._send_bytes(connection, headers)
        elif "/metrics" in target:
            self._send_json(connection, self._metrics(target))
        elif target.startswith("/v1/files"):
            self._send_json(connection, self._file)
        else:
            self._send_json(connection, self._status(target.rpartition("/")[2]))

    def _status(self, job: str) -> bytes:
        if self._polls.get(job, 0) * ROWS_A_POLL < ROWS:
            return self._job
        return self._job.replace(b'"running"', b'"completed"')

    def _metrics(self, target: str) -> bytes:
        job, (_, _, start) = target.split("/")[3], target.partition("from=")
        self._polls[job] = self._polls.get(job, 0) + 1
        last = min(ROWS, self._polls[job] * ROWS_A_POLL)
        rows = [
            {"train/global_step": step, "train/loss": 0.5, "train/reward/accuracy": 0.9, "timestamp": step * 10**9}
            for step in range(int(start or 1), last + 1)
        ]
        return json.dumps({"metrics": rows}).encode()

    def _send_json(self, connection: socket.socket, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    def _send_bytes(self, connection: socket.socket, headers: dict[str, str]) -> None:
        start, last, status = 0, self._size - 1, "200 OK"
        if "range" in headers:
            begin, _, end = headers["range"].removeprefix("bytes=").partition("-")
            start, last, status = int(begin), int(end or last), "206 Partial Content"
        more = f'content-range: bytes {start}-{last}/{self._size}\r\netag: "e"\r\n'
        connection.sendall(f"HTTP/1.1 {status}\r\n{more}content-length: {last + 1 - start}\r\n\r\n".encode())
        left = last + 1 - start
        while left > 0:
            connection.sendall(self._zeros[: min(left, MIB)])
            left -= MIB


if __name__ == "__main__":
    main()
