"""Metric rows on disk: one JSON object a line, the server's own row, so that nothing is lost; or a table for others."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preftune.api.models import MetricRow, metric_rows
from preftune.errors import DataError
from preftune.losses.rows import EPOCH, KEYS, STEP

if TYPE_CHECKING:
    from pandas import DataFrame

_COLUMNS = ("split", "step", "epoch", *KEYS)  # of a CSV


def wire_rows(rows: Iterable[MetricRow]) -> list[dict[str, Any]]:
    """Return rows as the server sent them; one of its objects may hold both splits."""
    unique = {json.dumps(dict(row.raw), ensure_ascii=False): dict(row.raw) for row in rows}
    return list(unique.values())


def save(rows: Iterable[MetricRow], path: str | Path) -> int:
    """Write rows and return how many: as JSONL, as the server sent them, or to a .csv with a column for each value."""
    given = list(rows)
    if Path(path).suffix.lower() == ".csv":
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(_COLUMNS)
            table.writerows([getattr(row, name) for name in _COLUMNS] for row in given)
        return len(given)
    lines = [json.dumps(row, ensure_ascii=False) for row in wire_rows(given)]
    Path(path).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return len(lines)


def to_pandas(rows: Iterable[MetricRow]) -> DataFrame:
    """Return rows as a pandas DataFrame with the columns of the CSV. Raises ModuleNotFoundError without pandas."""
    from pandas import DataFrame  # noqa: PLC0415 - of the user's own environment

    return DataFrame([{name: getattr(row, name) for name in _COLUMNS} for row in rows], columns=list(_COLUMNS))


def load(path: str | Path) -> list[MetricRow]:
    """Return the rows of a .jsonl or .csv that `save` wrote, or of a JSON document with them under "rows" or "metrics".

    Raises DataError when the file holds neither.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        raw = _of_table(text) if path.suffix.lower() == ".csv" else _objects(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error.strerror}; check the path") from None
    except ValueError as error:
        raise DataError(f"{path}: expected rows of metrics, found {error}; save them with preftune.runs.save") from None
    return [row for one in raw for row in metric_rows(one)]


def _objects(text: str) -> list[dict[str, object]]:
    try:
        whole = json.loads(text)
    except ValueError:
        whole = [json.loads(line) for line in text.split("\n") if line.strip()]
    if isinstance(whole, dict):
        whole = whole.get("rows") or whole.get("metrics") or [whole]
    if not isinstance(whole, list) or not all(isinstance(one, dict) for one in whole):
        raise ValueError("something else than a list of objects")
    return whole


def _of_table(text: str) -> list[dict[str, object]]:
    """Return the rows of a CSV under the names of the wire; an empty cell is no value."""
    table = csv.DictReader(text.splitlines())
    if not {"split", "step"} <= set(table.fieldnames or ()):
        raise ValueError("a table without the columns split and step")
    return [_of_line(line) for line in table]


def _of_line(line: dict[str, str]) -> dict[str, object]:
    names = {"step": STEP, "epoch": EPOCH} | {name: f"{line['split']}/{keys[0]}" for name, keys in KEYS.items()}
    return {wire: float(line[name]) for name, wire in names.items() if line.get(name)}
