"""What importing preftune and constructing a client cost over a bare interpreter, beside their peers, in one run.

Each line is the median over the rounds of (this command minus the bare interpreter of the same round), in milliseconds.
"""

import subprocess
import sys
import time
from importlib.util import find_spec
from statistics import median

ROUNDS = 30
BARE = "pass"
COMMANDS = {
    "import preftune": "import preftune",
    "preftune.Client(api_key=...)": "import preftune; preftune.Client(api_key='k')",
    "import httpx": "import httpx",
    "import pydantic": "import pydantic; pydantic.BaseModel",
}
if find_spec("together"):
    COMMANDS["together.Together(api_key=...)"] = "import together; together.Together(api_key='k')"


def milliseconds(code: str) -> float:
    """Return the time of one interpreter that runs the code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Measure and print."""
    milliseconds("; ".join(COMMANDS.values()))  # once, so that every file is in the cache
    rounds = [
        (milliseconds(BARE), {name: milliseconds(code) for name, code in COMMANDS.items()}) for _ in range(ROUNDS)
    ]
    bare = median(bare for bare, _ in rounds)
    print(f"bare interpreter: {bare:.1f} ms, {ROUNDS} rounds, Python {sys.version.split()[0]}")
    for name in COMMANDS:
        print(f"{name:<32} +{median(taken[name] - bare for bare, taken in rounds):.1f} ms")


if __name__ == "__main__":
    main()
