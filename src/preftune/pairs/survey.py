"""The second look: the sampled pairs are read again and measured for the costlier rules and the statistics.

A survey holds numbers and a few characters of each answer, never whole texts. Parts of the sample, surveyed in any
process, add up to the survey of all in the order of their lines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from preftune.errors import DataError
from preftune.pairs.finding import Gathering, Problem
from preftune.pairs.fingerprint import fingerprints
from preftune.pairs.formats import together
from preftune.pairs.jsonl import BOM, Unreadable, decode
from preftune.pairs.pair import PreferencePair, message_text
from preftune.pairs.plain import read_plain
from preftune.pairs.rules import similar, style
from preftune.pairs.rules.budget import truncation
from preftune.pairs.rules.pair import SAMPLED
from preftune.pairs.summary import Place
from preftune.pairs.tokens import Budget

Array: TypeAlias = np.ndarray[Any, Any]
_EDGE = 64  # characters of an answer's beginning and end
_ECHO = 12  # characters of a prompt from which its repetition is no accident
_COUNTED = 500  # pairs whose tokens are counted; those of the others follow from their lengths


@dataclass
class Survey:
    """What was measured of n pairs, in the order of their lines."""

    problems: Gathering
    prompts: Array  # (n,) uint64, fingerprints
    signatures: Array  # (n, SLOTS) uint32, of the prompts
    overlapping: Array  # (n,) bool: the prompt shares 13 words in a row with the validation file
    turns: Array  # (n,) messages of the context
    prompt_characters: Array  # (n,)
    chosen_characters: Array  # (n,)
    rejected_characters: Array  # (n,)
    tokens: Array  # (n,) context and both answers; -1 where they were not counted
    features: Array  # (n, 2, features) bool, chosen then rejected
    closed: Array  # (n, 2) bool
    echoes: Array  # (n,) bool
    heads: tuple[list[str], list[str]]  # the first characters of the chosen, of the rejected answers
    tails: tuple[list[str], list[str]]  # the last characters, backwards

    def __len__(self) -> int:
        return len(self.prompts)


def survey(
    path: Path, places: Sequence[Place], budget: Budget, *, known: Array | None = None, last_counted: int = 0
) -> Survey:
    """Return the survey of the pairs at some places of a file.

    `known` are the validation file's runs of 13 words; tokens are counted up to rank `last_counted`.
    """
    problems, measures, edges = Gathering(), [], []
    for place, pair in read_places(path, places):
        for problem in (*_sampled_problems(pair), *truncation(pair, budget)):
            problems.add(problem, place.line)
        measures.append(_measure(pair, known, budget if place.rank <= last_counted else None))
        edges.append((_edges(pair.chosen_text), _edges(pair.rejected_text)))
    return _columns(problems, measures, edges)


def read_places(path: Path, places: Iterable[Place]) -> Iterator[tuple[Place, PreferencePair]]:
    """Yield the sampled pairs, in the order of their lines."""
    with path.open("rb") as file:
        for place in sorted(places, key=lambda place: place.offset):
            file.seek(place.offset)
            raw = file.read(place.length)
            row = read_plain(raw)
            yield place, row.pair() if row else _read_with_care(path, raw)


def _read_with_care(path: Path, raw: bytes) -> PreferencePair:
    try:
        return together.read(decode(raw.removesuffix(b"\n").removeprefix(BOM)))
    except (Unreadable, LookupError, TypeError) as error:
        raise DataError(
            f"{path}: expected the pairs that were just read, found others; it changes: copy it first"
        ) from error


def join(parts: Sequence[Survey]) -> Survey:
    """Return the survey of all parts, given in the order of their lines."""
    problems = Gathering()
    for part in parts:
        problems.merge(part.problems)
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    heads = tuple([text for part in parts for text in part.heads[side]] for side in (0, 1))
    tails = tuple([text for part in parts for text in part.tails[side]] for side in (0, 1))
    return Survey(problems=problems, **arrays, heads=heads, tails=tails)  # type: ignore[arg-type]  # pairs of lists


def prompt_text(pair: PreferencePair) -> str:
    """Return what the prompt asks: the text of its messages, system messages left out."""
    return "\n".join(message_text(message) for message in pair.prompt if message["role"] != "system")


def counted_rank(places: Sequence[Place]) -> int:
    """Return the largest rank of a pair whose tokens are counted."""
    return places[min(_COUNTED, len(places)) - 1].rank if places else 0


class _Measure(NamedTuple):
    prompts: int
    signatures: Array
    overlapping: bool
    turns: int
    prompt_characters: int
    chosen_characters: int
    rejected_characters: int
    tokens: int
    features: tuple[list[bool], list[bool]]
    closed: tuple[bool, bool]
    echoes: bool


_TYPES = {
    "prompts": np.uint64,
    "signatures": np.uint32,
    "overlapping": bool,
    "features": bool,
    "closed": bool,
    "echoes": bool,
}
_ARRAYS = _Measure._fields
_SHAPES = {"signatures": (0, similar.SLOTS), "features": (0, 2, len(style.FEATURES)), "closed": (0, 2)}


def _sampled_problems(pair: PreferencePair) -> Iterator[Problem]:
    for rule in SAMPLED:
        yield from rule(pair)


def _measure(pair: PreferencePair, known: Array | None, counting: Budget | None) -> _Measure:
    asked, chosen, rejected = prompt_text(pair), pair.chosen_text, pair.rejected_text
    looked_at = chosen[: style.READ], rejected[: style.READ]
    return _Measure(
        prompts=fingerprints(pair)[0],
        signatures=similar.signature(asked),
        overlapping=known is not None and similar.shares_grams(asked, known),
        turns=len(pair.prompt),
        prompt_characters=sum(len(message_text(message)) for message in pair.prompt),
        chosen_characters=len(chosen),
        rejected_characters=len(rejected),
        tokens=-1 if counting is None else _tokens(pair, counting),
        features=(style.features(looked_at[0]), style.features(looked_at[1])),
        closed=(style.is_closed(chosen), style.is_closed(rejected)),
        echoes=_echoes(pair),
    )


def _tokens(pair: PreferencePair, counting: Budget) -> int:
    """Return the tokens that one epoch trains on: the context once with each answer."""
    context = sum(map(counting.message, pair.prompt)) + counting.tools(pair.tools)
    return 2 * context + counting.message(pair.chosen) + counting.message(pair.rejected)


def _echoes(pair: PreferencePair) -> bool:
    last = message_text(pair.prompt[-1]).strip()
    return len(last) >= _ECHO and any(text.lstrip().startswith(last) for text in (pair.chosen_text, pair.rejected_text))


def _edges(text: str) -> tuple[str, str]:
    return text[:_EDGE], text[: -_EDGE - 1 : -1]


def _columns(
    problems: Gathering, measures: list[_Measure], edges: list[tuple[tuple[str, str], tuple[str, str]]]
) -> Survey:
    arrays = {
        name: np.array([getattr(measure, name) for measure in measures], dtype=_TYPES.get(name, np.int64)).reshape(
            len(measures), *_SHAPES.get(name, (0,))[1:]
        )
        for name in _ARRAYS
    }
    heads = [chosen[0] for chosen, _ in edges], [rejected[0] for _, rejected in edges]
    tails = [chosen[1] for chosen, _ in edges], [rejected[1] for _, rejected in edges]
    return Survey(problems=problems, **arrays, heads=heads, tails=tails)
