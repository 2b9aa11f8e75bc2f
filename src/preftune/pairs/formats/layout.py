"""What a layout is, and what reading one of its rows gives: a pair, or answers that are yet to be paired.

Invariant: reading a row raises Unfit, Tie or Unrated and nothing else, whatever the row holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from preftune.pairs.pair import Message, PreferencePair

Row: TypeAlias = dict[str, Any]


class Unfit(ValueError):  # noqa: N818 - it says what the row is; convert turns it into a DataError
    """Why a row holds no pair: what was found, what was expected."""


class Tie(Exception):  # noqa: N818 - the same
    """A row whose two answers are said to be equally good; the message tells how it says so."""


class Unrated(Exception):  # noqa: N818 - the same
    """A row that nobody judged."""


@dataclass(frozen=True)
class Answer:
    """One answer of several, with what orders it among them: the higher score is the better answer."""

    message: Message
    score: float | None  # None: nobody rated it
    extra: Mapping[str, Any] = field(default_factory=dict)  # becomes meta: score -> score_chosen, score_rejected


@dataclass(frozen=True)
class Ranking:
    """A prompt and the answers to it, in the order of the file."""

    prompt: Sequence[Message]
    answers: Sequence[Answer]
    tools: Sequence[Mapping[str, Any]] | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


PRIME = "Name a prime number."  # what the examples ask; 7 is chosen, 9 rejected
Reader: TypeAlias = Callable[[Row], PreferencePair | Ranking]
SCORED = ("best-worst", "best-random", "all")  # ways to pair several answers that have scores or ranks
CLASSED = ("all", "first")  # ways to pair several good answers with several bad ones


@dataclass(frozen=True, eq=False)  # known by itself: the table has each once
class Layout:
    """One way to write preferences down: how a row of it is known, and how it is read."""

    name: str  # what source= takes
    title: str  # as people know it
    keys: tuple[str, ...]  # those that every row has
    read: Reader | Mapping[str, Reader]  # a mapping where rows carry several labels: one reader a label
    example: tuple[Row, ...]  # rows that make one pair, of PRIME
    when: Callable[[Row], bool] | None = None  # what tells the row from others with the same keys
    pairings: tuple[str, ...] = ()  # what pairing= may be, where a prompt may have more than two answers
    ties: bool = False  # whether its rows can say that two answers are equally good
    gather: Literal["row", "adjacent", "file"] = "row"  # where the other answers to a row's prompt stand

    @property
    def labels(self) -> tuple[str, ...]:
        """Return what label= may be; empty where rows carry one label alone."""
        return tuple(self.read) if isinstance(self.read, Mapping) else ()

    def matches(self, row: Row) -> bool:
        """Tell whether a row looks like this layout; it may still prove unfit when it is read."""
        return all(key in row for key in self.keys) and (self.when is None or self.when(row))
