"""From any known layout to any other, row by row, with what is lost on the way counted and named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from preftune.errors import DataError
from preftune.pairs.finding import plural
from preftune.pairs.formats import llmbar, sharegpt, together, trl
from preftune.pairs.jsonl import BOM, Unreadable, decode, existing_file, json_kind, parse, read_lines
from preftune.pairs.pair import PreferencePair
from preftune.pairs.rules.schema import check_row

Row = dict[str, Any]
_DETECTION_ROWS, _AGREEMENT = 200, 0.95
_FORMATS = {"together": together, "sharegpt": sharegpt, "llmbar": llmbar, "trl": trl}  # most telling keys first
WRITERS: dict[str, Callable[[PreferencePair], Row]] = {
    "together": together.write,
    "trl": trl.write,
    "sharegpt": sharegpt.write,
}
_KEPT = {  # what each target can hold beside prompt and answers
    "together": {"tools", "parallel_tool_calls", "weight", "message fields", "content other than text"},
    "trl": {"tools", "message fields", "content other than text"},
    "sharegpt": set(),
}


@dataclass(frozen=True)
class Conversion:
    """What a conversion did: where it wrote, how many pairs, and what had no place in the target."""

    path: Path
    source: str
    pairs: int
    lost: dict[str, int]  # what was lost, and in how many pairs

    def __str__(self) -> str:
        lost = "; lost: " + ", ".join(f"{name} ({count})" for name, count in self.lost.items()) if self.lost else ""
        return f"{self.path.name}: {plural(self.pairs, 'pair')} read as {self.source}{lost}"


def convert(src: str | Path, dst: str | Path, *, source: str = "auto", target: str = "together") -> Conversion:
    """Write the pairs of `src` to `dst` as JSONL in the target layout, and return what was done.

    Sources: together, trl, sharegpt, llmbar; targets: together, trl, sharegpt. `src` is .jsonl or a .json list.
    Raises DataError, naming the row, for one that cannot be read; nothing is left at `dst` then.
    """
    write = _known(WRITERS, target, "target")
    src, dst = existing_file(src), Path(dst)
    name = _detect(src) if source == "auto" else source
    lost: Counter[str] = Counter()
    count = 0
    part = dst.with_name(dst.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            for pair in read(src, source=name):
                count += 1
                lost.update(_losses(pair, target))
                file.write(json.dumps(write(pair), ensure_ascii=False) + "\n")
        part.replace(dst)
    finally:
        part.unlink(missing_ok=True)
    return Conversion(dst, name, count, dict(lost))


def read(path: str | Path, *, source: str = "auto") -> Iterator[PreferencePair]:
    """Yield the pairs of a file in the given layout, or in the one that its keys show.

    Raises DataError, naming the row, for one that cannot be read, and for a file whose layout cannot be told.
    """
    path = existing_file(path)
    layout = _known(_FORMATS, _detect(path) if source == "auto" else source, "source")
    for where, row in _rows(path):
        yield _read_row(layout, where, row)


def _read_row(layout: Any, where: str, row: Row) -> PreferencePair:
    fault = _fault(layout, row)
    if fault is None:
        try:
            return layout.read(row)  # type: ignore[no-any-return]
        except ValueError as reason:
            fault = str(reason)
    raise DataError(f"{where}: {fault}; mend or drop the row")


def _fault(layout: Any, row: Row) -> str | None:
    """Return why a row is not in a layout, or None."""
    if layout is together:
        return next((problem.message for problem in check_row(row) if problem.severity == "error"), None)
    if layout.matches(row):
        return None
    return f"the row has the keys {', '.join(row) or 'none'}; expected {', '.join(sorted(layout.KEYS))}"


def _detect(path: Path) -> str:
    """Return the name of the layout on which the first rows agree."""
    rows = [row for _, row in islice(_rows(path), _DETECTION_ROWS)]
    votes = Counter(next((name for name, layout in _FORMATS.items() if layout.matches(row)), "") for row in rows)
    name, count = votes.most_common(1)[0] if votes else ("", 0)
    if not rows:
        raise DataError(f"{path}: expected preference rows, found an empty file; write one JSON object a line")
    if not name or count < _AGREEMENT * len(rows):
        keys = ", ".join(rows[0]) or "none"
        raise DataError(
            f"{path}: expected rows of one known layout, found the keys {keys} in the first; "
            f"say which it is: source= one of {', '.join(_FORMATS)}"
        )
    return name


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield each row with the words for its place: of a JSONL file, or of one JSON list."""
    if path.suffix.lower() == ".json":
        yield from _rows_of_list(path)
        return
    if path.suffix.lower() != ".jsonl":
        raise DataError(
            f"{path}: expected a .jsonl or .json file, found {path.suffix or 'no extension'!r}; rename or convert it"
        )
    for line in read_lines(path):
        raw = line.raw.removeprefix(BOM) if line.number == 1 else line.raw
        if not raw.strip():
            continue
        where = f"{path.name}:{line.number}"
        try:
            yield where, decode(raw)
        except Unreadable as reason:
            raise DataError(f"{where}: {reason.found}; {reason.hint}") from None


def _rows_of_list(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        values = parse(path.read_bytes().removeprefix(BOM) or b"[]", whole="file")
    except Unreadable as reason:
        raise DataError(f"{path.name}: {reason.found}; {reason.hint}") from None
    if not isinstance(values, list):
        raise DataError(f"{path.name}: expected a list of rows, found {json_kind(values)}; wrap the rows in a list")
    for index, row in enumerate(values, start=1):
        if not isinstance(row, dict):
            raise DataError(
                f"{path.name}: row {index}: expected an object, found {json_kind(row)}; mend or drop the row"
            )
        yield f"{path.name}: row {index}", row


def _losses(pair: PreferencePair, target: str) -> Iterator[str]:
    """Yield the name of each thing in a pair that the target has no place for."""
    messages = (*pair.prompt, pair.chosen, pair.rejected)
    present = {
        "tools": bool(pair.tools),
        "parallel_tool_calls": pair.parallel_tool_calls is not None,
        "weight": pair.weight is not None,
        "message fields": any(message.keys() - {"role", "content"} for message in messages),
        "content other than text": any(not isinstance(message.get("content") or "", str) for message in messages),
    }
    yield from (name for name, there in present.items() if there and name not in _KEPT[target])
    yield from pair.meta


def _known(table: dict[str, Any], name: str, argument: str) -> Any:
    if name not in table:
        raise DataError(f"{argument}={name!r}: expected one of {', '.join(table)}; choose one of them")
    return table[name]
