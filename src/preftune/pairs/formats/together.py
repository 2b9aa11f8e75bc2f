"""The hosted API's own layout, which is OpenAI's: `input.messages`, `preferred_output`, `non_preferred_output`."""

from __future__ import annotations

from typing import Any

from preftune.pairs.pair import PreferencePair

KEYS = frozenset({"input", "preferred_output", "non_preferred_output"})
_INPUT_KEYS = {"messages", "tools", "parallel_tool_calls"}


def matches(row: dict[str, Any]) -> bool:
    """Tell whether a row is in this layout."""
    return row.keys() >= KEYS


def read(row: dict[str, Any]) -> PreferencePair:
    """Return the pair that a row without schema errors holds."""
    given = row["input"]
    meta = {key: value for key, value in row.items() if key not in KEYS | {"weight"}}
    meta |= {f"input.{key}": value for key, value in given.items() if key not in _INPUT_KEYS}
    return PreferencePair(
        prompt=given["messages"],
        chosen=row["preferred_output"][0],
        rejected=row["non_preferred_output"][0],
        tools=given.get("tools"),
        parallel_tool_calls=given.get("parallel_tool_calls"),
        weight=row.get("weight"),
        meta=meta,
    )


def write(pair: PreferencePair) -> dict[str, Any]:
    """Return the row for a pair; `meta` has no place in it."""
    given: dict[str, Any] = {"messages": list(pair.prompt)}
    if pair.tools is not None:
        given["tools"] = pair.tools
    if pair.parallel_tool_calls is not None:
        given["parallel_tool_calls"] = pair.parallel_tool_calls
    row = {"input": given, "preferred_output": [pair.chosen], "non_preferred_output": [pair.rejected]}
    return row if pair.weight is None else row | {"weight": pair.weight}
