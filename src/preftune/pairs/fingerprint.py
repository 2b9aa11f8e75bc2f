"""What is kept of a pair's text so that repeats are found: numbers that are the same in every process and machine.

A prompt has 64 bits, an answer 32: answers are only compared within one prompt, so two different pairs are taken for
each other by accident once in 2^128 comparisons, two prompts once in 2^64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from xxhash import xxh3_64_intdigest as _number

from preftune.pairs.pair import Message, PreferencePair

if TYPE_CHECKING:
    from preftune.pairs.plain import Plain

_ALL, _HALF = 2**64 - 1, 2**32 - 1
_canonical = msgspec.json.Encoder(order="sorted").encode


def plain_fingerprints(row: Plain) -> tuple[int, int, int]:
    """Return the numbers of prompt, chosen and rejected answer."""
    said = "\0".join([*row.roles, *row.texts]).encode()
    return _number(said), _number(row.chosen.encode()) & _HALF, _number(row.rejected.encode()) & _HALF


def fingerprints(pair: PreferencePair) -> tuple[int, int, int]:
    """Return the numbers of prompt (with its tools), chosen and rejected answer, as `plain_fingerprints` does."""
    said = b"\0".join([*(message["role"].encode() for message in pair.prompt), *map(_written, pair.prompt)])
    if pair.tools:
        said += b"\0" + _canonical(pair.tools)
    return _number(said), _number(_written(pair.chosen)) & _HALF, _number(_written(pair.rejected)) & _HALF


def sample_rank(fingerprint: tuple[int, int, int]) -> int:
    """Return the pair's 64-bit rank: the pairs of smallest rank are the sample, in whatever parts a file is read.

    The mixing steps are those of SplitMix64 (Steele, Lea, Flood 2014).
    """
    prompt, chosen, rejected = fingerprint
    mixed = ((prompt ^ (chosen << 32 | rejected)) + 0x9E3779B97F4A7C15) & _ALL
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & _ALL
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & _ALL
    return mixed ^ mixed >> 31


def _written(message: Message) -> bytes:
    """Return the text of a message that says nothing else, and a canonical writing of any other."""
    said = {key: value for key, value in message.items() if key not in ("role", "weight")}
    content = said.get("content")
    if len(said) == 1 and isinstance(content, str):
        return content.encode()
    return b"\0" + _canonical(said)
