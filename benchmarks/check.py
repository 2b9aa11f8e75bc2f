"""Checking a preference file, beside its peers, in one run: seconds, megabytes a second, ratios, peak memory.

Usage: python benchmarks/check.py [--megabytes 300] [--rounds 5] [--old-together PYTHON]

Every figure is the median over rounds of one fresh process a measurement, without its start and its imports but with
all that the call itself starts. How many times as fast as the official client it is, is the median of the ratios within
each round. Peers: the official client's `check_file` (this environment's; and the old one's, if the Python of an
environment that has it is named) and a bare typed decode of every line with msgspec, which checks nothing else.

Peak memory is the largest of all rounds, as the kernel counts it for one program (VmHWM, thus on Linux alone): the
figure of `getrusage` begins with what the parent had when it started the process.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

_TIMED = """
import os, time
{setup}
if __name__ == "__main__":
    start = time.perf_counter()
    {call}
    print(time.perf_counter() - start, os.getpid())
"""
_PEAK = """
import atexit, os
@atexit.register
def tell():
    with open("/proc/self/status") as status, open(os.environ["PEAKS"], "a") as peaks:
        kibibytes = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
        peaks.write(str(os.getpid()) + " " + kibibytes + "\\n")
"""  # what every Python of a measurement, the children of its calls included, runs at its start
PREFTUNE = "import preftune.pairs as pairs; pairs.check"
MEASURED: dict[str, tuple[str, str]] = {
    "preftune, 1 process, sample=0": (PREFTUNE, "pairs.check({path!r}, sample=0, workers=1)"),
    "preftune, 2 processes, sample=0": (PREFTUNE, "pairs.check({path!r}, sample=0, workers=2)"),
    "preftune, 1 process, sample": (PREFTUNE, "pairs.check({path!r}, workers=1)"),
    "preftune, 2 processes, sample": (PREFTUNE, "pairs.check({path!r}, workers=2)"),
    "msgspec, typed decode alone": (
        """
import msgspec
class M(msgspec.Struct): role: str; content: str
class I(msgspec.Struct): messages: list[M]
class R(msgspec.Struct): input: I; preferred_output: list[M]; non_preferred_output: list[M]
decode = msgspec.json.Decoder(R).decode
""",
        "[None for line in open({path!r}, 'rb', buffering=2**18) if decode(line) is None]",
    ),
}
NEWEST = "together, newest"
TOGETHER = ("from together.lib.utils.files import check_file", "assert check_file({path!r})['is_check_passed']")
OLD_TOGETHER = ("from together.utils.files import check_file", "assert check_file({path!r})['is_check_passed']")


class Run(NamedTuple):
    """What one measurement found."""

    seconds: float
    peak: float  # MiB
    child: float | None  # MiB, of the largest of its children


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--megabytes", type=int, default=300)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--old-together", help="the Python of an environment with together 1.5")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "sitecustomize.py").write_text(_PEAK)
        path = Path(folder) / "pairs.jsonl"
        lines, longest = generate(path, chosen.megabytes * 1_000_000, good_line)
        size = f"{path.stat().st_size / 1e6:.0f} MB, {lines:,} lines, the longest of {longest:,} bytes"
        print(f"{size}; rounds: {chosen.rounds}; Python {sys.version.split()[0]}, {os.cpu_count()} cores\n")
        compare(path, chosen.rounds, chosen.old_together)
        allowed = 64 + (3 * longest + 24 * lines) / 2**20
        print(f"\nWith sample=0, at most {allowed:.0f} MiB a process are promised.\n")
        path.unlink()
        spoil(Path(folder) / "bad.jsonl", min(chosen.megabytes, 100) * 1_000_000, min(chosen.rounds, 3))


def compare(path: Path, rounds: int, old_together: str | None) -> None:
    """Measure everything once a round, and print medians and the ratio to the official client of the same round."""
    measured = {name: (sys.executable, *how) for name, how in MEASURED.items()}
    measured[NEWEST] = (sys.executable, *TOGETHER)
    if old_together:
        measured["together, 1.5"] = (old_together, *OLD_TOGETHER)
    results = [{name: run(*how, path) for name, how in measured.items()} for _ in range(rounds)]
    print(f"{'':<34}{'s':>8}{'MB/s':>8}{'times as fast':>16}{'MiB':>8}{'MiB a child':>14}")
    for name in measured:
        runs = [result[name] for result in results]
        seconds = median(each.seconds for each in runs)
        rate = path.stat().st_size / seconds / 1e6
        ratio = median(result[NEWEST].seconds / result[name].seconds for result in results)
        peak = max(each.peak for each in runs)
        children = [each.child for each in runs if each.child is not None]
        child = f"{max(children):.0f}" if children else "-"
        print(f"{name:<34}{seconds:>8.2f}{rate:>8.0f}{ratio:>16.2f}{peak:>8.0f}{child:>14}")


def spoil(path: Path, size: int, rounds: int) -> None:
    """Measure files of which every line is bad, and print megabytes a second."""
    for name, bad in BAD.items():
        generate(path, size, bad)
        one = MEASURED["preftune, 1 process, sample=0"]
        seconds = median(run(sys.executable, *one, path).seconds for _ in range(rounds))
        print(f"all lines bad, {name + ':':<22}{path.stat().st_size / seconds / 1e6:>5.0f} MB/s, one process, sample=0")


def run(python: str, setup: str, call: str, path: Path) -> Run:
    """Return what a fresh process measures of the call."""
    peaks = path.with_name("peaks")
    peaks.write_text("")
    code = _TIMED.format(setup=setup, call=call.format(path=str(path)))
    environment = os.environ | {"PYTHONPATH": str(path.parent), "PEAKS": str(peaks)}
    done = subprocess.run([python, "-c", code], check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    *_, seconds, own = done.stdout.split()
    mebibytes = {pid: int(peak) / 1024 for pid, peak in map(str.split, peaks.read_text().splitlines())}
    peak = mebibytes.pop(own)
    return Run(float(seconds), peak, max(mebibytes.values(), default=None))


def generate(path: Path, size: int, line: Callable[[random.Random], bytes]) -> tuple[int, int]:
    """Write seeded lines until the file has `size` bytes, and return their number and the length of the longest."""
    chance = random.Random(0)
    count = written = longest = 0
    with path.open("wb") as file:
        while written < size:
            length = file.write(line(chance))
            count, written, longest = count + 1, written + length, max(longest, length)
    return count, longest


def text(chance: random.Random, size: int) -> str:
    """Return English-like text with the quotation marks, line breaks and commas of real answers."""
    words = chance.choices(WORDS, k=size // 6)
    return " ".join(words)[:size].strip() + "."


def good_line(chance: random.Random) -> bytes:
    """Return the line of a plain pair."""
    row = {
        "input": {"messages": [{"role": "user", "content": text(chance, 1_430)}]},
        "preferred_output": [{"role": "assistant", "content": text(chance, 1_585)}],
        "non_preferred_output": [{"role": "assistant", "content": text(chance, 1_585)}],
    }
    return json.dumps(row).encode() + b"\n"


ENDS = [""] * 32 + [","] * 3 + ["."] * 3 + ["\n", ' "so"']  # about as often as in real answers
WORDS = [
    "".join(random.Random(number).choices("etaoinshrdlu", k=2 + number % 7)) + ENDS[number % len(ENDS)]
    for number in range(8_000)
]
BAD: dict[str, Callable[[random.Random], bytes]] = {
    "a wrong role": lambda chance: good_line(chance).replace(b'"user"', b'"human"'),
    "cut in the middle": lambda chance: good_line(chance)[:-40] + b"\n",
    "another format": lambda chance: (
        good_line(chance)
        .replace(b'"input"', b'"prompt"')
        .replace(b"non_preferred_output", b"rejected")
        .replace(b"preferred_output", b"chosen")
    ),
}

if __name__ == "__main__":
    main()
