"""Metric rows on disk: one JSON object a line, the server's own row, so that nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from preftune.api.models import MetricRow, metric_rows
from preftune.errors import DataError


def save(rows: Iterable[MetricRow], path: str | Path) -> int:
    """Write rows as JSONL, as the server sent them, and return how many objects were written."""
    unique = {json.dumps(dict(row.raw), ensure_ascii=False): None for row in rows}  # one object may hold both splits
    Path(path).write_text("".join(f"{line}\n" for line in unique), encoding="utf-8")
    return len(unique)


def load(path: str | Path) -> list[MetricRow]:
    """Return the rows of a file that `save` wrote, or of a JSON document with the list under "rows" or "metrics".

    Raises DataError when the file holds neither.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        raw = _objects(text)
    except (OSError, ValueError) as error:
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
