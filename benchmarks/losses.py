"""From logits to log-probabilities and back, beside peers, on the same arrays in one run: seconds, ratios, memory.

Usage: python benchmarks/losses.py [--rows 16] [--tokens 1024] [--vocabulary 32000] [--rounds 5] [--device cpu]

Figures are medians over rounds, in each of which everything is measured once; ratios are medians of the ratios within a
round. Memory is how far the process grew beyond what it held before the call, as the kernel counts its peak (Linux), or
as PyTorch does on an accelerator: for forward and backward together it includes the gradient itself. Peers:
`log_softmax` and `gather`, as the DPO authors, SimPO and torchtune take them, and TRL's `selective_log_softmax`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TypeAlias

import numpy as np
import torch
from trl.trainer.utils import selective_log_softmax

from preftune.losses import DPO, preference_loss, preference_loss_and_gradient, sequence_logps, token_logps

PROMPT = 0.25  # of a row, where answers alone are scored
ROOM = 3.5  # copies of the logits that the peers need beside them
STATUS = Path("/proc/self/status")
Case: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # logits, labels, all tokens, answers alone


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", type=int, default=16)
    options.add_argument("--tokens", type=int, default=1024)
    options.add_argument("--vocabulary", type=int, default=32_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--device", default="cpu")
    chosen = options.parse_args()
    rows = fitting(chosen)
    shape = f"{rows} x {chosen.tokens} x {chosen.vocabulary} float32"
    smaller = "" if rows == chosen.rows else f" (fewer than the {chosen.rows} rows asked for: memory is short)"
    case = arrays(rows, chosen.tokens, chosen.vocabulary)
    print(f"{shape}{smaller}, {case[0].nbytes / 2**30:.2f} GiB; {os.cpu_count()} cores; rounds: {chosen.rounds}")
    print(f"Python {sys.version.split()[0]}, NumPy {np.__version__}, PyTorch {torch.__version__}, {chosen.device}\n")
    if chosen.device == "cpu":
        with_numpy(case, chosen.rounds)
    with_torch(case, chosen)


def with_numpy(case: Case, rounds: int) -> None:
    """Print the table of NumPy."""
    logits, labels, everything, answers = case
    read = "reading the array once (max)"
    calls = {
        read: logits.max,
        "preftune, all tokens": lambda: token_logps(logits, labels, everything),
        f"preftune, answers ({1 - PROMPT:.0%} of the tokens)": lambda: token_logps(logits, labels, answers),
        "preftune, loss and its gradient": lambda: preference_loss_and_gradient(
            logits, labels, everything, method=DPO(dpo_reference_free=True)
        ),
    }
    results = measured(calls, rounds, "cpu")
    table("NumPy", results, {"times reading": read})


def with_torch(case: Case, chosen: argparse.Namespace) -> None:
    """Print the tables of PyTorch, forward, and forward and backward."""
    logits, labels, everything, answers = (torch.from_numpy(array).to(chosen.device) for array in case)
    forward: dict[str, Callable[[], torch.Tensor]] = {
        "log_softmax and gather": lambda: log_softmax_gather(logits, labels),
        "TRL, selective": lambda: selective_log_softmax(logits[:, :-1], labels[:, 1:]),
        "preftune, all tokens": lambda: token_logps(logits, labels, everything),
        f"preftune, answers ({1 - PROMPT:.0%} of the tokens)": lambda: token_logps(logits, labels, answers),
    }
    peers = dict(zip(("as fast as log_softmax", "as TRL"), forward, strict=False))
    table("PyTorch, forward", measured(forward, chosen.rounds, chosen.device), peers, faster=True)
    logits.requires_grad_(requires_grad=True)

    def both(call: Callable[[], torch.Tensor]) -> None:
        half = len(logits) // 2
        sums = call().sum(1)
        loss = preference_loss(
            policy_chosen_logps=sums[:half], policy_rejected_logps=sums[half:], method=DPO(dpo_reference_free=True)
        )
        loss.mean.backward()

    backward = {name: (lambda call=call: both(call)) for name, call in forward.items()}
    table("PyTorch, forward and backward", measured(backward, chosen.rounds, chosen.device, logits), peers, faster=True)
    agree(forward, sequence_logps(logits.detach(), labels, everything)[0])


def log_softmax_gather(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return log-probabilities by a whole log-softmax."""
    return torch.gather(logits[:, :-1].log_softmax(-1), 2, labels[:, 1:, None])[..., 0]


def agree(forward: dict[str, Callable[[], torch.Tensor]], sums: torch.Tensor) -> None:
    """Print how far the sequences' sums are apart."""
    with torch.no_grad():
        for name in list(forward)[:2]:
            print(
                f"largest difference of a sequence's sum from {name}: {(forward[name]().sum(1) - sums).abs().max():.1e}"
            )


def measured(
    calls: dict[str, Callable[[], object]], rounds: int, device: str, learned: torch.Tensor | None = None
) -> list[dict[str, tuple[float, float]]]:
    """Return seconds and GiB of each call in each round; `learned` loses its gradient before each."""

    def once_more(call: Callable[[], object]) -> tuple[float, float]:
        if learned is not None:
            learned.grad = None
        return once(call, device)

    return [{name: once_more(call) for name, call in calls.items()} for _ in range(rounds + 1)][1:]  # one to warm up


def once(call: Callable[[], object], device: str) -> tuple[float, float]:
    """Return seconds, and how much memory was taken beyond what was held."""
    settle()
    held = held_bytes(device, peak=False)
    start = time.perf_counter()
    result = call()
    if device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = held_bytes(device, peak=True)
    del result
    return seconds, (peak - held) / 2**30


def settle() -> None:
    """Let the allocator hand back what the call before has freed: this one must neither find it nor pay for it."""
    for _ in range(10):
        time.sleep(0.05)
        torch.zeros(1 << 16)


def held_bytes(device: str, *, peak: bool) -> float:
    """Return what is held now, from where the peak is counted anew, or the peak since."""
    if device != "cpu":
        if not peak:
            torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated())
    if not peak:
        Path("/proc/self/clear_refs").write_text("5")
    name = "VmHWM:" if peak else "VmRSS:"
    return 1024.0 * next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith(name))


def table(
    title: str, results: list[dict[str, tuple[float, float]]], against: dict[str, str], *, faster: bool = False
) -> None:
    """Print medians and the ratios to some of the calls."""
    print(f"{title:<44}{'s':>8}{'GiB':>8}" + "".join(f"{name:>24}" for name in against))
    for name in results[0]:
        seconds = median(each[name][0] for each in results)
        gibibytes = max(each[name][1] for each in results)
        cells = []
        for peer in against.values():
            ratios = [each[name][0] / each[peer][0] for each in results]
            cells.append(f"{median(1 / ratio if faster else ratio for ratio in ratios):>24.2f}")
        print(f"{name:<44}{seconds:>8.3f}{gibibytes:>8.3f}{''.join(cells)}")
    print()


def arrays(rows: int, tokens: int, vocabulary: int) -> Case:
    """Return seeded logits, labels, and two masks: all tokens but the first, and those behind a prompt."""
    random = np.random.default_rng(0)
    logits = np.empty((rows, tokens, vocabulary), np.float32)
    for row in range(rows):
        random.standard_normal(out=logits[row], dtype=np.float32)
        logits[row] *= 3
    everything = np.ones((rows, tokens), bool)
    everything[:, 0] = False
    answers = everything.copy()
    answers[:, : int(PROMPT * tokens)] = False
    return logits, random.integers(0, vocabulary, (rows, tokens)), everything, answers


def fitting(chosen: argparse.Namespace) -> int:
    """Return how many rows fit beside what the peers need, an even number."""
    each = 4 * chosen.tokens * chosen.vocabulary
    free = 1024 * next(
        int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if "MemAvailable" in line
    )
    if chosen.device != "cpu":
        free = min(free, torch.cuda.mem_get_info()[0])
    return max(2, min(chosen.rows, int(free / each / (1 + ROOM)) // 2 * 2))


if __name__ == "__main__":
    main()
