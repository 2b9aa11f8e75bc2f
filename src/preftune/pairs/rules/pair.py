"""Rules on pairs and between pairs: identical, duplicate, contradiction.

Invariant: every line is seen, and what is kept of a pair is three hashes and its line number, never its text.
"""

from __future__ import annotations

import json
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from preftune.pairs.finding import Problem
from preftune.pairs.pair import Message, PreferencePair

_SHOWN_LINES = 5  # of a circle, so that the message stays one line
_Ranked = dict[tuple[int, int], int]  # the line of each (hash of the chosen answer, hash of the rejected one)


def identical(pair: PreferencePair) -> Iterator[Problem]:
    """Find a pair whose answers are equal, byte for byte or but for spelling: its gradient is zero or almost so."""
    chosen, rejected = _said(pair.chosen), _said(pair.rejected)
    if chosen == rejected:
        hint = "drop the pair: its gradient is zero, whatever the knobs"
        yield Problem("identical", "error", "", "both answers are the same", hint, fixable=True)
    elif _folded(chosen) == _folded(rejected):
        message = "both answers are the same but for white space, letter case or Unicode form"
        yield Problem(
            "identical", "warning", "", message, "drop the pair, unless that difference is what you teach", fixable=True
        )


class Repeats:
    """Finds the same pair again, and the same two answers ranked both ways or in a circle."""

    def __init__(self) -> None:
        self._prompts: defaultdict[int, _Ranked] = defaultdict(dict)

    def add(self, pair: PreferencePair, line: int) -> Iterator[Problem]:
        """Take one pair; yield what its earlier likes make of it."""
        chosen, rejected = _hash(_said(pair.chosen)), _hash(_said(pair.rejected))
        ranked = self._prompts[_hash([list(pair.prompt), pair.tools])]
        same = ranked.setdefault((chosen, rejected), line)
        turned = None if chosen == rejected else ranked.get((rejected, chosen))
        if same != line:
            hint = "drop it, or give the first a larger weight"
            yield Problem("duplicate", "warning", "", f"the same pair as line {same}", hint, fixable=True)
        if turned is not None:
            message = f"the same two answers as line {turned}, ranked the other way round"
            yield Problem("contradiction", "error", "", message, "keep the ranking you mean; the two cancel each other")

    def cycles(self) -> Iterator[tuple[Problem, int]]:
        """Yield a problem and its line for each prompt with answers ranked in a circle of three or more."""
        for ranked in self._prompts.values():
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


def _said(message: Message) -> dict[str, Any]:
    return {key: value for key, value in message.items() if key != "role"}


def _folded(value: Any) -> Any:
    """Return a value with every text in it in one spelling: Unicode NFKC, case folded, white space single."""
    if isinstance(value, str):
        return " ".join(unicodedata.normalize("NFKC", value).casefold().split())
    if isinstance(value, list):
        return [_folded(item) for item in value]
    return {key: _folded(item) for key, item in value.items()} if isinstance(value, dict) else value


def _hash(value: object) -> int:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
