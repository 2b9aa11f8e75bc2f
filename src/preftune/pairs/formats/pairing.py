"""Which answers of several make pairs: the ways that `pairing=` names."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any, TypeAlias

from preftune.pairs.formats.layout import Answer, Ranking
from preftune.pairs.pair import PreferencePair

MAX_PAIRS = 5  # of one prompt, where answers are gathered from a whole file; the HALOs project keeps as many of SHP
Pairs: TypeAlias = list[tuple[Answer, Answer]]  # the better one first, or two equals


def best_worst(ranking: Ranking) -> Pairs:
    """Return the best answer with the worst; the first in the file of several equally good or bad ones."""
    return [(max(ranking.answers, key=_score), min(ranking.answers, key=_score))]


def best_random(ranking: Ranking) -> Pairs:
    """Return the best answer with one of the lower ones, drawn by the prompt: the same in every run and any order."""
    best = max(ranking.answers, key=_score)
    lower = [answer for answer in ranking.answers if _score(answer) < _score(best)]
    seed = json.dumps(ranking.prompt, default=repr)
    return [(best, random.Random(seed).choice(lower) if lower else best)]


def every(ranking: Ranking) -> Pairs:
    """Return each two answers, the better one first."""
    both = combinations(ranking.answers, 2)
    return [(a, b) if _score(a) >= _score(b) else (b, a) for a, b in both]


PAIRINGS: Mapping[str, Callable[[Ranking], Pairs]] = {
    "best-worst": best_worst,
    "best-random": best_random,
    "all": every,
    "first": best_worst,  # of two classes, the first good answer with the first bad one
}


def pair_of(ranking: Ranking, chosen: Answer, rejected: Answer) -> PreferencePair:
    """Return the pair of two answers, what is known of either in meta under names such as model_chosen."""
    meta: dict[str, Any] = dict(ranking.meta)
    for side, answer in (("chosen", chosen), ("rejected", rejected)):
        meta |= {f"{key}_{side}": value for key, value in answer.extra.items()}
    return PreferencePair(ranking.prompt, chosen.message, rejected.message, ranking.tools, meta=meta)


def joined(rankings: Sequence[Ranking]) -> Ranking:
    """Return one ranking of several of the same prompt."""
    first = rankings[0]
    return Ranking(first.prompt, [answer for each in rankings for answer in each.answers], first.tools, first.meta)


def _score(answer: Answer) -> float:
    return answer.score or 0
