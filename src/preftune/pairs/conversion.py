"""From any known layout to any other, row by row, with what is lost on the way counted and named."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import NoReturn

from preftune.errors import DataError
from preftune.pairs.finding import plural
from preftune.pairs.formats import sharegpt, together, trl
from preftune.pairs.formats.layout import Layout, Row, Unfit
from preftune.pairs.formats.reading import Choices, Reading
from preftune.pairs.formats.table import LAYOUTS, layout_of
from preftune.pairs.jsonl import Unreadable
from preftune.pairs.pair import PreferencePair
from preftune.pairs.rules.schema import check_row
from preftune.pairs.sources import Rows, Source, open_rows
from preftune.pairs.writing import jsonl_name, writing

_DETECTION_ROWS, _AGREEMENT = 200, 0.95
_MAPPED = ("prompt", "chosen", "rejected", "system", "tools", "weight")  # what a field map may name
_SHOWN_REASONS = 5
_SCORES = {"score_chosen", "score_rejected", "margin"}  # lost under one name
WRITERS: dict[str, Callable[[PreferencePair], Row]] = {
    "together": together.write,
    "trl": trl.write,
    "sharegpt": sharegpt.write,
}
_LOST: dict[str, Callable[[PreferencePair], Iterator[str]]] = {  # beside meta, of which no target holds anything
    "together": lambda _: iter(()),
    "trl": trl.lost,
    "sharegpt": sharegpt.lost,
}


@dataclass(frozen=True)
class Conversion:
    """What a conversion did: where it wrote, how many pairs, what had no place in the target, what was left out."""

    path: Path
    source: str  # the layout that the rows were read as
    rows: int
    pairs: int
    lost: dict[str, int]  # what was lost, and in how many pairs
    dropped: dict[str, int]  # why rows made no pair, and how many

    def __str__(self) -> str:
        head = f"{self.path.name}: {plural(self.pairs, 'pair')} from {plural(self.rows, 'row')} read as {self.source}"
        return head + _counts("; lost: ", self.lost, len(self.lost)) + _counts("; dropped: ", self.dropped)


def convert(
    src: Source,
    dst: str | Path,
    *,
    source: str | Mapping[str, str] = "auto",
    target: str = "together",
    label: str | None = None,
    pairing: str | None = None,
    ties: str | None = None,
    unfit: str | None = None,
) -> Conversion:
    """Write the pairs of `src` to `dst` as JSONL in the target layout, and return what was done.

    `src` is a .jsonl, .json or .parquet file (the first two also with .gz) or an iterable of mappings; `target` is
    together, trl or sharegpt. `source` and the choices are those of `read`. Raises DataError, naming the row, for one
    that cannot be read, and where no pair is found; nothing is left at `dst` then.
    """
    if target not in WRITERS:
        raise DataError(f"target={target!r}: expected one of {', '.join(WRITERS)}; choose one of them")
    dst = jsonl_name(dst)
    name, layout, reading = _open(src, source, Choices(label, pairing, ties, unfit))
    lost: Counter[str] = Counter()
    with writing(dst, *([src] if isinstance(src, str | os.PathLike) else [])) as file:
        pairs = 0
        for line in _lines(name, reading, target, lost):
            file.write(line)
            pairs += 1
    return Conversion(dst, layout.name, reading.rows, pairs, dict(lost), dict(reading.dropped))


def read(
    src: Source,
    *,
    source: str | Mapping[str, str] = "auto",
    label: str | None = None,
    pairing: str | None = None,
    ties: str | None = None,
    unfit: str | None = None,
) -> Iterator[PreferencePair]:
    """Return the pairs of a file, or of an iterable of mappings, in the given layout or the one that its keys show.

    `source` may map prompt, chosen, rejected, system, tools and weight to their keys in the file. Where the data leaves
    a choice, it has no default: `label` names the label that decides, `pairing` says which of several answers make
    pairs (best-worst, best-random, all; first or all for good and bad ones), `ties="drop"` leaves ties out,
    `unfit="drop"` rows that cannot be read. Raises DataError for the arguments, and for a source that is absent or of
    no known layout; while it is iterated over, naming the row, for one that cannot be read.
    """
    *_, reading = _open(src, source, Choices(label, pairing, ties, unfit))
    return (pair for _, pair in reading)


def read_placed(src: Source, *, unfit: str | None = None) -> tuple[str, Reading]:
    """Return what messages call the source, and its pairs with the words for their place; otherwise as `read`."""
    name, _, reading = _open(src, "auto", Choices(unfit=unfit))
    return name, reading


def _open(src: Source, source: str | Mapping[str, str], choices: Choices) -> tuple[str, Layout, Reading]:
    layout = _layout(source) if source != "auto" else None
    name, rows = open_rows(src)
    if layout is None:
        layout, rows = _detected(name, rows)
    _refuse_choices(name, layout, choices)
    return name, layout, Reading(_checked(rows) if layout is together.LAYOUT else rows, layout, choices)


def _layout(source: str | Mapping[str, str]) -> Layout:
    """Return the layout that the caller names, or the one of a field map."""
    if isinstance(source, Mapping):
        named = all(isinstance(key, str) for key in source.values())
        if not (named and {"chosen", "rejected"} <= source.keys() <= set(_MAPPED)):
            raise DataError(
                f"source={dict(source)}: expected chosen, rejected and any of prompt, system, tools, weight, "
                "each with the key that holds it; name them so"
            )
        keys = tuple(source[name] for name in _MAPPED[:3] if name in source)
        return Layout("a field map", "a field map", keys, partial(trl.read_mapped, source), example=())
    for layout in LAYOUTS:
        if layout.name == source:
            return layout
    near = get_close_matches(source, [layout.name for layout in LAYOUTS], n=1)
    hint = f"did you mean {near[0]!r}?" if near else "choose one of them"
    raise DataError(f"source={source!r}: expected {_names()}; {hint}")


def _detected(name: str, rows: Rows) -> tuple[Layout, Rows]:
    """Return the layout on which the first rows agree, and all rows again."""
    head = list(islice(rows, _DETECTION_ROWS))
    votes = Counter(layout_of(row) for _, row in head if not isinstance(row, Unreadable))
    if not votes:
        _refuse_empty(name, head)
    layout, count = votes.most_common(1)[0]
    if layout is None or count < _AGREEMENT * votes.total():
        keys = next(", ".join(row) for _, row in head if not isinstance(row, Unreadable) and layout_of(row) is layout)
        found = f"the keys {keys or 'none'}"
        if len(votes) > 1:
            told = (f"{each.name if each else 'no known one'} in {times}" for each, times in votes.most_common())
            found = f"{', '.join(told)} of the first {votes.total()}"
        raise DataError(f"{name}: expected rows of one known layout, found {found}; pass source=, {_names()}")
    return layout, chain(head, rows)


def _refuse_empty(name: str, head: list[tuple[str, Row | Unreadable]]) -> NoReturn:
    reasons = [f"{where}: {row.found}; {row.hint}" for where, row in head if isinstance(row, Unreadable)]
    raise DataError(
        reasons[0] if reasons else f"{name}: expected preference rows, found none; write one JSON object a line"
    )


def _names() -> str:
    names = ", ".join(layout.name for layout in LAYOUTS)
    return f"""one of {names}, or a field map such as {{"prompt": "q", "chosen": "good", "rejected": "bad"}}"""


def _refuse_choices(name: str, layout: Layout, choices: Choices) -> None:
    """Raise DataError for a choice that the layout does not leave, for an unknown one, and for a label left open."""
    drop = ("drop",)
    for argument, known in (
        ("label", layout.labels),
        ("pairing", layout.pairings),
        ("ties", drop if layout.ties else ()),
        ("unfit", drop),
    ):
        value = getattr(choices, argument)
        if value is not None and not known:
            raise DataError(
                f"{argument}={value!r}: {name} is read as {layout.name}, which leaves no such choice; leave it out"
            )
        if value is not None and value not in known:
            raise DataError(f"{argument}={value!r}: expected {_either(known)}; choose one of them")
    if layout.labels and choices.label is None:
        raise DataError(
            f"{name}: expected one label, found several in rows of {layout.name}; pass label={_either(layout.labels)}"
        )


def _either(known: Sequence[str]) -> str:
    return " or ".join(map(repr, known))


def _checked(rows: Rows) -> Iterator[tuple[str, Row | Unreadable | Unfit]]:
    """Yield rows of the hosted layout, or why the hosted side would not take one."""
    for where, row in rows:
        fault = None if isinstance(row, Unreadable) else _refused(row)
        yield where, row if fault is None else Unfit(fault)


def _refused(row: Row) -> str | None:
    """Return what makes a preference row unfit for the hosted side, or None."""
    return next((problem.message for problem in check_row(row) if problem.severity == "error"), None)


def _lines(name: str, reading: Reading, target: str, lost: Counter[str]) -> Iterator[bytes]:
    """Yield each pair as a line, counting what it loses; raise DataError where there is none."""
    made = False
    for where, pair in reading:
        row = WRITERS[target](pair)
        fault = _refused(row) if target == "together" else None
        if fault:
            reading.drop_unfit(where, Unfit(f"as a preference row: {fault}"))
            continue
        try:
            line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        except (TypeError, ValueError, RecursionError) as error:  # rows of Python values may hold anything
            reading.drop_unfit(where, Unfit(f"the row holds what JSON cannot ({error})"))
            continue
        made = True
        lost.update(sorted(_losses(pair, target)))
        yield line
    if not made:
        dropped = _counts(" (dropped: ", reading.dropped)
        found = plural(reading.rows, "row") + (dropped + ")" if dropped else "")
        raise DataError(f"{name}: expected pairs, found none in {found}; look at why, and at the layout")


def _losses(pair: PreferencePair, target: str) -> set[str]:
    """Return the name of each thing in a pair that the target has no place for."""
    meta = {"scores" if key in _SCORES else key for key in pair.meta}
    return meta | set(_LOST[target](pair))


def _counts(head: str, counts: Mapping[str, int], shown: int = _SHOWN_REASONS) -> str:
    """Return names with their counts, the most frequent first; nothing where there are none."""
    if not counts:
        return ""
    first = Counter(counts).most_common(shown)
    more = len(counts) - len(first)
    return head + ", ".join(f"{name} ({count:,})" for name, count in first) + (f" and {more} more" if more else "")
