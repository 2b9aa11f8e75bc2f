"""Rules between pairs, on fingerprints alone: duplicate, contradiction, prompt-reuse, leakage. Every line is seen."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from preftune.pairs.finding import Problem

if TYPE_CHECKING:
    from preftune.pairs.summary import Summary

REUSED = 5  # pairs of one prompt beyond which it weighs more than the others
_SHOWN_LINES = 5  # of a circle, so that the message stays one line
_SLICES = 16  # the prompts are sorted in so many parts, which bounds the memory on top of them
_Placed: TypeAlias = Iterator[tuple[Problem, int]]  # a problem and its line
_Ranked: TypeAlias = dict[tuple[int, int], int]  # the line of each (chosen, rejected)


def repeats(summary: Summary) -> _Placed:
    """Find the same pair again, the same two answers ranked both ways or in a circle, and prompts used too often."""
    for group in _groups(summary.prompts):
        pairs = [(summary.chosen[index], summary.rejected[index], summary.numbers[index]) for index in group]
        yield from _rankings(pairs)
        if len(pairs) > REUSED:
            message = f"one prompt stands in {len(pairs)} pairs, this line's the first"
            hint = f"keep at most {REUSED} pairs a prompt, or weight them down; it is trained on that many times"
            yield Problem("prompt-reuse", "warning", "", message, hint), pairs[0][2]


def leakage(summary: Summary, validation: Summary) -> _Placed:
    """Find prompts that stand in the validation file too: the evaluation then measures memory."""
    known = np.unique(_numbers(validation.prompts))
    shared = np.flatnonzero(np.isin(_numbers(summary.prompts), known, kind="sort"))
    for index in shared.tolist():
        hint = "split by prompt: preftune split; the evaluation would measure what was memorised"
        yield (
            Problem("leakage", "error", "", "the prompt stands in the validation file too", hint),
            summary.numbers[index],
        )


def _rankings(pairs: list[tuple[int, int, int]]) -> _Placed:
    """Yield what pairs of one prompt, in the order of their lines, say of each other."""
    ranked: _Ranked = {}
    for chosen, rejected, line in pairs:
        same = ranked.setdefault((chosen, rejected), line)
        turned = None if chosen == rejected else ranked.get((rejected, chosen))
        if same != line:
            hint = "drop it, or give the first a larger weight"
            yield Problem("duplicate", "warning", "", f"the same pair as line {same}", hint, fixable=True), line
        if turned is not None:
            message = f"the same two answers as line {turned}, ranked the other way round"
            hint = "keep the ranking you mean; the two cancel each other"
            yield Problem("contradiction", "error", "", message, hint), line
    lines = _circle(ranked)
    if lines:
        shown = ", ".join(map(str, lines[:_SHOWN_LINES])) + (", …" if len(lines) > _SHOWN_LINES else "")
        message = f"answers to one prompt are ranked in a circle (lines {shown})"
        hint = "a over b, b over c, c over a: keep the rankings you trust"
        yield Problem("contradiction", "warning", "", message, hint), lines[0]


def _circle(ranked: _Ranked) -> list[int]:
    """Return the lines of one circle of three or more, if there is one; those of two are contradictions already."""
    better: defaultdict[int, list[int]] = defaultdict(list)
    for chosen, rejected in ranked:
        if (rejected, chosen) not in ranked:
            better[rejected].append(chosen)
    try:
        TopologicalSorter(better).prepare()
    except CycleError as error:
        return sorted(ranked[step] for step in pairwise(error.args[1]))
    return []


def _groups(prompts: array[int]) -> Iterator[list[int]]:
    """Yield the indices of the pairs of each prompt that stands in more than one, in their order."""
    numbers = _numbers(prompts)
    slices = (numbers % _SLICES).astype(np.uint8)
    for part in range(_SLICES):
        indices = np.flatnonzero(slices == part)
        indices = indices[np.argsort(numbers[indices], kind="stable")]
        same = numbers[indices[1:]] == numbers[indices[:-1]]
        edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        for start, stop in edges.reshape(-1, 2).tolist():
            yield indices[start : stop + 1].tolist()


def _numbers(values: array[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.frombuffer(values, dtype=np.uint64) if values else np.empty(0, dtype=np.uint64)
