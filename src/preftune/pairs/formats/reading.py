"""From rows to pairs under the caller's choices, with what is dropped counted by its reason."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import TypeAlias

from preftune.errors import DataError
from preftune.pairs.formats.layout import Answer, Layout, Ranking, Reader, Row, Tie, Unfit, Unrated
from preftune.pairs.formats.pairing import MAX_PAIRS, PAIRINGS, joined, pair_of
from preftune.pairs.jsonl import Unreadable
from preftune.pairs.pair import PreferencePair

Placed: TypeAlias = tuple[str, "PreferencePair | Ranking"]
ALONE, UNRATED, ONE_CLASS = "only one answer to its prompt", "no rating", "answers of one class alone"


@dataclass(frozen=True)
class Choices:
    """What the caller decided, where the data leaves a choice that changes its meaning; None where nothing was said."""

    label: str | None = None
    pairing: str | None = None
    ties: str | None = None
    unfit: str | None = None


class Reading:
    """One pass over rows; iterate over it for the pairs, then look at `rows` and `dropped`."""

    def __init__(self, rows: Iterable[tuple[str, Row | Exception]], layout: Layout, choices: Choices) -> None:
        self.rows = 0
        self.dropped: Counter[str] = Counter()  # rows, by why they made no pair; for ties and caps, pairs
        self._places, self._layout, self._choices = rows, layout, choices
        read = layout.read
        self._read: Reader = read[choices.label or ""] if isinstance(read, Mapping) else read

    def __iter__(self) -> Iterator[tuple[str, PreferencePair]]:
        for where, found in self._gathered():
            if isinstance(found, PreferencePair):
                yield where, found
            else:
                for pair in self._paired(where, found):
                    yield where, pair

    def _gathered(self) -> Iterator[Placed]:
        """Yield what the rows hold, with the answers to one prompt together where the layout spreads them over rows."""
        if self._layout.gather == "row":
            yield from self._found()
            return
        groups: Iterable[list[Placed]]
        if self._layout.gather == "adjacent":
            groups = (list(group) for _, group in groupby(self._found(), key=_prompt))
        else:
            by_prompt: dict[str, list[Placed]] = {}
            for placed in self._found():
                by_prompt.setdefault(_prompt(placed), []).append(placed)
            groups = by_prompt.values()
        for group in groups:
            yield group[0][0], joined([found for _, found in group if isinstance(found, Ranking)])

    def _found(self) -> Iterator[Placed]:
        for where, row in self._places:
            self.rows += 1
            try:
                found = self._row(row)
            except (Unfit, Unreadable) as reason:
                self.drop_unfit(where, reason)
            except Tie as reason:
                self._drop_tie(where, str(reason))
            except Unrated:
                self.dropped[UNRATED] += 1
            else:
                yield where, found

    def _row(self, row: Row | Exception) -> PreferencePair | Ranking:
        if isinstance(row, Exception):
            raise row
        missing = [key for key in self._layout.keys if key not in row]
        if missing:
            keys = ", ".join(self._layout.keys)
            raise Unfit(f"the row has the keys {', '.join(row) or 'none'}; expected {keys}")
        return self._read(row)

    def _paired(self, where: str, ranking: Ranking) -> Iterator[PreferencePair]:
        rated = [answer for answer in ranking.answers if answer.score is not None]
        rows = 1 if self._layout.gather == "row" else len(ranking.answers)
        if len(rated) < 2:  # noqa: PLR2004 - a pair
            self.dropped[ALONE if len(rated) == len(ranking.answers) else UNRATED] += rows
            return
        if len(rated) < len(ranking.answers):
            self.dropped["an answer without a rating"] += len(ranking.answers) - len(rated)
        if not self._layout.ties and len({answer.score for answer in rated}) == 1:
            self.dropped[ONE_CLASS] += rows
            return
        if len(rated) > 2 and self._choices.pairing is None:  # noqa: PLR2004 - which two is then a choice
            ways = ", ".join(map(repr, self._layout.pairings))
            raise DataError(
                f"{where}: expected two answers to a prompt, found {len(rated)}; pass pairing= one of {ways}"
            )
        pairs = PAIRINGS[self._choices.pairing or "best-worst"](Ranking(ranking.prompt, rated))
        yield from self._untied(where, ranking, pairs)

    def _untied(self, where: str, ranking: Ranking, pairs: Iterable[tuple[Answer, Answer]]) -> Iterator[PreferencePair]:
        made = 0
        for chosen, rejected in pairs:
            if chosen.score == rejected.score:
                if self._layout.ties:
                    self._drop_tie(where, "two answers are rated alike")
            elif self._layout.gather == "file" and made == MAX_PAIRS:
                self.dropped[f"pairs beyond {MAX_PAIRS} of one prompt"] += 1
            else:
                made += 1
                yield pair_of(ranking, chosen, rejected)

    def _drop_tie(self, where: str, reason: str) -> None:
        if self._choices.ties is None:
            raise DataError(
                f"{where}: expected a better answer, found a tie ({reason}); pass ties='drop' to leave ties out"
            )
        self.dropped["tie"] += 1

    def drop_unfit(self, where: str, reason: Unfit | Unreadable) -> None:
        """Count a row that cannot be used, or raise DataError where the caller did not say to drop such rows."""
        found, hint = str(reason), "mend the row"
        if isinstance(reason, Unreadable):
            found, hint = reason.found, reason.hint
        if self._choices.unfit is None:
            raise DataError(f"{where}: {found}; {hint}, or leave such rows out with unfit='drop'")
        self.dropped[re.sub(r"\[\d+\]", "[*]", found)] += 1


def _prompt(placed: Placed) -> str:
    """Return what the answers to one prompt have in common."""
    found = placed[1]
    return json.dumps([found.prompt, found.tools], sort_keys=True, default=repr)
