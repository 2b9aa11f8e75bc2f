"""Prompts that are nearly the same: MinHash signatures, and the rules near-duplicate-prompts and leakage on them.

Source: Broder 1997 (resemblance by minima of hashes); Li, Owen, Zhang 2012 (one permutation, cut into slots).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias
from zlib import crc32

import numpy as np

from preftune.pairs.finding import Problem
from preftune.pairs.rules.pair import folded, words

Array: TypeAlias = np.ndarray[Any, Any]

NEAR = 0.8  # Jaccard similarity from which two prompts count as nearly the same
SHARE = 0.01  # of the prompts, above which it is told
OVERLAP = 13  # words in a row that two prompts share by more than chance; Brown et al. 2020, appendix C
_SHINGLE = 8  # bytes
_BANDS, _ROWS = 21, 6  # two prompts of similarity 0.8 meet in a band 998 times of 1,000, of 0.4 82 times
SLOTS = _BANDS * _ROWS
_READ = 20_000  # characters of a prompt
_MIX, _MIX_AGAIN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)
_FLOORS = (np.arange(SLOTS, dtype=np.float64) * (2.0**64 / SLOTS)).astype(np.uint64)  # where each slot begins


def signature(text: str) -> Array:  # (SLOTS,) uint32
    """Return the MinHash signature of a text: two texts share about as many slots as their shingles are alike."""
    encoded = folded(text[:_READ]).encode().ljust(_SHINGLE, b"\0")
    windows = np.ndarray((len(encoded) - _SHINGLE + 1,), dtype="<u8", buffer=encoded, strides=(1,))
    mixed = windows * _MIX
    mixed = np.sort((mixed ^ (mixed >> np.uint64(29))) * _MIX_AGAIN)
    at = np.searchsorted(mixed, _FLOORS)  # the smallest hash of each slot, or of the next slot that has one
    return (mixed[at % len(mixed)] >> np.uint64(16)).astype(np.uint32)


def grams(text: str) -> Array:  # (n,) uint64, n = words - 12
    """Return a number for each run of 13 words."""
    spoken = np.fromiter((crc32(word.encode()) for word in words(text[:_READ])), dtype=np.uint64)
    if len(spoken) < OVERLAP:
        return np.empty(0, dtype=np.uint64)
    number = np.zeros(len(spoken) - OVERLAP + 1, dtype=np.uint64)
    for start in range(OVERLAP):
        number = number * _MIX + spoken[start : start + len(number)]
    return number


def signatures(texts: Sequence[str]) -> Array:  # (n, SLOTS) uint32
    """Return the signatures of texts."""
    return np.array([signature(text) for text in texts], dtype=np.uint32).reshape(-1, SLOTS)


def all_grams(texts: Sequence[str]) -> Array:  # (n,) uint64, in rising order
    """Return the numbers of all runs of 13 words that stand in any of the texts."""
    return np.unique(np.concatenate([np.empty(0, dtype=np.uint64), *map(grams, texts)]))


def shares_grams(text: str, known: Array) -> bool:
    """Tell whether any run of 13 words of a text is among the known ones, which are in rising order."""
    own = grams(text)
    at = np.searchsorted(known, own)
    within = at < len(known)
    return bool((known[at[within]] == own[within]).any())


def near_duplicate_prompts(prompts: Array, signatures: Array) -> Iterator[Problem]:
    """Find sets where more than one prompt of a hundred is nearly the same as another one."""
    _, first = np.unique(prompts, return_index=True)  # the same prompt again is a matter of prompt-reuse
    alike = int(_alike(signatures[np.sort(first)]).sum())
    if alike > SHARE * len(first):
        message = f"{alike:,} of {len(first):,} prompts are nearly the same as another one"
        hint = "keep one of each kind, or split by kind: such prompts leak between training and validation"
        yield Problem("near-duplicate-prompts", "warning", "", message, hint)


def near_leakage(signatures: Array, overlapping: Array, validation: Array) -> Iterator[Problem]:
    """Find files whose prompts are, more than one in a hundred, nearly those of the validation file."""
    near = _alike(np.concatenate([signatures, validation]), split=len(signatures))[len(signatures) :]
    for count, total, what, hint in (
        (
            int(near.sum()),
            len(validation),
            "validation prompts are nearly the same as a training prompt",
            "split by source or by kind of prompt; the evaluation would measure what was memorised",
        ),
        (
            int(overlapping.sum()),
            len(signatures),
            f"training prompts share {OVERLAP} words in a row with a validation prompt",
            "harmless if it is an instruction that they all share; else split by source",
        ),
    ):
        if count > SHARE * total:
            yield Problem("leakage", "warning", "", f"{count:,} of {total:,} {what}", hint)


def _alike(signatures: Array, split: int | None = None) -> Array:  # (n,) bool
    """Tell which texts are nearly the same as another one, or, with `split`, as one of the other part."""
    found = np.zeros(len(signatures), dtype=bool)
    for band in range(_BANDS):
        part = np.ascontiguousarray(signatures[:, band * _ROWS : (band + 1) * _ROWS])
        keys = part.view(np.dtype((np.void, part.dtype.itemsize * _ROWS))).ravel()
        _, first, group = np.unique(keys, return_index=True, return_inverse=True)
        others = first[group]  # the first text that meets each one in this band
        pairs = np.flatnonzero(others != np.arange(len(keys)))
        if split is not None:
            pairs = pairs[(pairs >= split) & (others[pairs] < split)]
        near = pairs[(signatures[pairs] == signatures[others[pairs]]).mean(axis=1) >= NEAR]
        found[near] = found[others[near]] = True
    return found
