"""Checking a preference file, beside its peers, in one run: seconds, megabytes a second, ratios, peak memory.

Usage: python benchmarks/check.py [--megabytes 300] [--rounds 5] [--old-together PYTHON]

Every figure is the median over rounds of one fresh process a measurement, without its start and its imports but with
all that the call itself starts. The ratio is the median of the ratios within each round. Peers: the official client's
`check_file` (this environment's; and the old one's, if the Python of an environment that has it is named) and a bare
typed decode of every line with msgspec, which checks nothing else.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

LINE = 4_850  # bytes, so that 300 MB have 62,000 lines
_TIMED = """
import resource, sys, threading, time
def peak():
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return own / 1024, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
{setup}
if __name__ == "__main__":
    start = time.perf_counter()
    {call}
    print(time.perf_counter() - start, *peak())
"""
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
TOGETHER = ("from together.lib.utils.files import check_file", "assert check_file({path!r})['is_check_passed']")
OLD_TOGETHER = ("from together.utils.files import check_file", "assert check_file({path!r})['is_check_passed']")


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--megabytes", type=int, default=300)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--old-together", help="the Python of an environment with together 1.5")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        lines = generate(path, chosen.megabytes * 1_000_000, good_line)
        print(
            f"{path.stat().st_size / 1e6:.0f} MB, {lines:,} lines, {chosen.rounds} rounds, Python {sys.version.split()[0]}"
        )
        compare(path, chosen.rounds, chosen.old_together)
        path.unlink()
        for name, bad in BAD.items():
            bad_file = Path(folder) / "bad.jsonl"
            generate(bad_file, min(chosen.megabytes, 100) * 1_000_000, bad)
            seconds = median(
                run(sys.executable, *MEASURED["preftune, 1 process, sample=0"], bad_file)[0] for _ in range(3)
            )
            print(f"all lines bad ({name}): {bad_file.stat().st_size / seconds / 1e6:.0f} MB/s")


def compare(path: Path, rounds: int, old_together: str | None) -> None:
    """Measure everything once a round, and print medians and the ratio to the official client of the same round."""
    measured = {name: (sys.executable, *how) for name, how in MEASURED.items()}
    measured["together, newest"] = (sys.executable, *TOGETHER)
    if old_together:
        measured["together, 1.5"] = (old_together, *OLD_TOGETHER)
    results = [{name: run(*how, path) for name, how in measured.items()} for _ in range(rounds)]
    print(f"{'':<34}{'s':>8}{'MB/s':>8}{'ratio':>8}{'MiB':>8}{'MiB a child':>13}")
    for name in measured:
        seconds = median(result[name][0] for result in results)
        ratio = median(result["together, newest"][0] / result[name][0] for result in results)
        own, child = (max(result[name][column] for result in results) for column in (1, 2))
        rate = path.stat().st_size / seconds / 1e6
        print(f"{name:<34}{seconds:>8.2f}{rate:>8.0f}{ratio:>8.2f}{own:>8.0f}{child:>13.0f}")


def run(python: str, setup: str, call: str, path: Path) -> list[float]:
    """Return seconds, peak MiB of the process and of its largest child."""
    code = _TIMED.format(setup=setup, call=call.format(path=str(path)))
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    return [float(number) for number in done.stdout.split()[-3:]]


def generate(path: Path, size: int, line: Callable[[random.Random], bytes]) -> int:
    """Write seeded lines until the file has `size` bytes, and return their number."""
    chance = random.Random(0)
    count = written = 0
    with path.open("wb") as file:
        while written < size:
            written += file.write(line(chance))
            count += 1
    return count


def text(chance: random.Random, size: int) -> str:
    """Return English-like text with the quotation marks, line breaks and commas of real answers."""
    words = chance.choices(WORDS, k=size // 6)
    return " ".join(words)[:size].strip() + "."


def good_line(chance: random.Random) -> bytes:
    """Return the line of a plain pair."""
    row = {
        "input": {"messages": [{"role": "user", "content": text(chance, 1_450)}]},
        "preferred_output": [{"role": "assistant", "content": text(chance, 1_600)}],
        "non_preferred_output": [{"role": "assistant", "content": text(chance, 1_600)}],
    }
    return json.dumps(row).encode() + b"\n"


WORDS = [
    "".join(random.Random(number).choices("etaoinshrdlu", k=2 + number % 7)) + end
    for number in range(4_000)
    for end in ("", "", "", "", ",", ".", "\n", ' "so"')
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
