"""How far one gets without understanding: by length alone, and by a bag of words that saw other pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from preftune.pairs.pair import PreferencePair
from preftune.pairs.rules.pair import words

Numbers: TypeAlias = NDArray[np.float64]
_COLUMNS = 1 << 13  # of the hashed words; a collision costs a little accuracy, and no vocabulary has to be kept
_RIDGE = 1.0  # on differences of length 1, of which each is to be told to be 1


def by_length(pairs: Sequence[PreferencePair]) -> tuple[bool, Numbers]:
    """Return whether the longer answer is right more often than the shorter, and a margin for each pair by that, (n,).

    One bit is fitted, and to the pairs themselves: dealt into folds, sets near a coin would have it turn with each.
    """
    longer = np.array([len(pair.chosen_text) - len(pair.rejected_text) for pair in pairs], np.float64)
    habit = bool(np.sign(longer).sum() >= 0)
    return habit, longer if habit else -longer


def by_words(pairs: Sequence[PreferencePair], folds: NDArray[np.int64]) -> Numbers:
    """Return a margin for each pair, (n,), by a bag of words: ridge regression of the preference, fitted elsewhere.

    A pair is the difference of its answers' word counts, as logarithms; of n pairs at most n are ever multiplied.
    """
    counts = np.stack([_counted(pair.chosen_text) - _counted(pair.rejected_text) for pair in pairs])  # (n, _COLUMNS)
    norms = np.linalg.norm(counts, axis=1, keepdims=True)
    features = counts / np.where(norms > 0, norms, 1.0)
    margins = np.zeros(len(pairs))
    for fold in np.unique(folds):
        seen, unseen = features[folds != fold], features[folds == fold]
        alike = seen @ seen.T + _RIDGE * np.eye(len(seen))
        margins[folds == fold] = unseen @ (seen.T @ np.linalg.solve(alike, np.ones(len(seen))))
    return margins


def right(margins: Numbers) -> Numbers:
    """Return 1 for each pair that a margin gets right, 0 for each that it gets wrong, a half where it says nothing."""
    return np.where(margins == 0, 0.5, margins > 0)


def _counted(text: str) -> Numbers:
    row = np.zeros(_COLUMNS)
    for word, count in Counter(words(text)).items():
        row[crc32(word.encode()) % _COLUMNS] += count
    return np.log1p(row)
