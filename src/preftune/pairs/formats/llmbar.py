"""LLMBar, an evaluation set: `input`, `output_1`, `output_2`, and `label`, the number of the better output."""

from __future__ import annotations

from typing import Any

from preftune.pairs.jsonl import json_kind
from preftune.pairs.pair import PreferencePair

KEYS = frozenset({"input", "output_1", "output_2", "label"})


def matches(row: dict[str, Any]) -> bool:
    """Tell whether a row is in this layout."""
    return row.keys() >= KEYS


def read(row: dict[str, Any]) -> PreferencePair:
    """Return the pair of a row; raise ValueError, saying what is wrong, when it holds none."""
    if isinstance(row["label"], bool) or row["label"] not in (1, 2):
        raise ValueError(f"label is {row['label']!r}; expected 1 or 2")
    for key in ("input", "output_1", "output_2"):
        if not isinstance(row[key], str):
            raise ValueError(f"{key} is {json_kind(row[key])}; expected text")  # noqa: TRY004 - the caller turns it into DataError
    answers = [{"role": "assistant", "content": row[key]} for key in ("output_1", "output_2")]
    chosen, rejected = answers if row["label"] == 1 else reversed(answers)
    meta = {key: value for key, value in row.items() if key not in KEYS}
    return PreferencePair([{"role": "user", "content": row["input"]}], chosen, rejected, meta=meta)
