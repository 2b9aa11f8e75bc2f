"""Rules on pairs and between pairs: identical, duplicate, contradiction.

Invariant: every line is seen, and what is kept of a pair is three hashes and its line number, never its text.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

from preftune.pairs.finding import Problem
from preftune.pairs.pair import Message, PreferencePair

_Edge = tuple[int, int, int]  # hash of the chosen answer, hash of the rejected one, line


def identical(pair: PreferencePair) -> Iterator[Problem]:
    """Find a pair whose answers are equal, byte for byte or but for spelling: its gradient is zero or almost so."""
    if _answer_key(pair.chosen) == _answer_key(pair.rejected):
        hint = "drop the pair: its gradient is zero, whatever the knobs"
        yield Problem("identical", "error", "", "both answers are the same", hint, fixable=True)
    elif _answer_key(pair.chosen, folded=True) == _answer_key(pair.rejected, folded=True):
        message = "both answers are the same but for white space, letter case or Unicode form"
        yield Problem(
            "identical", "warning", "", message, "drop the pair, unless that difference is what you teach", fixable=True
        )


class Repeats:
    """Finds the same pair again, and the same two answers ranked both ways or in a circle."""

    def __init__(self) -> None:
        self._edges: dict[int, list[_Edge]] = {}

    def add(self, pair: PreferencePair, line: int) -> Iterator[Problem]:
        """Take one pair; yield what its earlier likes make of it."""
        chosen, rejected = _hash(_answer_key(pair.chosen)), _hash(_answer_key(pair.rejected))
        edges = self._edges.setdefault(_hash(_context_key(pair)), [])
        same = next((at for c, r, at in edges if (c, r) == (chosen, rejected)), None)
        turned = next((at for c, r, at in edges if (c, r) == (rejected, chosen) and c != r), None)
        if same is not None:
            hint = "drop it, or give the first a larger weight"
            yield Problem("duplicate", "warning", "", f"the same pair as line {same}", hint, fixable=True)
        else:
            edges.append((chosen, rejected, line))
        if turned is not None:
            message = f"the same two answers as line {turned}, ranked the other way round"
            yield Problem("contradiction", "error", "", message, "keep the ranking you mean; the two cancel each other")

    def cycles(self) -> Iterator[tuple[Problem, int]]:
        """Yield a problem and its line for each prompt whose answers are ranked in a circle of three or more."""
        for edges in self._edges.values():
            lines = _cyclic_lines(edges)
            if lines:
                message = f"answers to one prompt are ranked in a circle (lines {', '.join(map(str, lines))})"
                hint = "a over b, b over c, c over a: keep the rankings you trust"
                yield Problem("contradiction", "warning", "", message, hint), lines[0]


def _cyclic_lines(edges: list[_Edge]) -> list[int]:
    """Return the lines on some circle of three or more; those of two are contradictions already."""
    ranked = {(c, r) for c, r, _ in edges}
    left = [(c, r, line) for c, r, line in edges if (r, c) not in ranked]
    while left:
        beaten, beating = {r for _, r, _ in left}, {c for c, _, _ in left}
        kept = [(c, r, line) for c, r, line in left if c in beaten and r in beating]
        if len(kept) == len(left):
            break
        left = kept
    return [line for _, _, line in left]


def _answer_key(message: Message, *, folded: bool = False) -> str:
    text = json.dumps(
        {key: value for key, value in message.items() if key != "role"}, sort_keys=True, ensure_ascii=False
    )
    return (
        " ".join(unicodedata.normalize("NFKC", _content_folded(message, text)).casefold().split()) if folded else text
    )


def _content_folded(message: Message, otherwise: str) -> str:
    content: Any = message.get("content")
    return content if isinstance(content, str) and not message.get("tool_calls") else otherwise


def _context_key(pair: PreferencePair) -> str:
    return json.dumps([list(pair.prompt), pair.tools], sort_keys=True, ensure_ascii=False)


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
