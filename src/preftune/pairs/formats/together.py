"""The hosted API's own layout, which is OpenAI's: `input.messages`, `preferred_output`, `non_preferred_output`."""

from __future__ import annotations

from typing import Any

from preftune.pairs.formats.fields import answer, messages, rest
from preftune.pairs.formats.layout import PRIME, Layout, Row, Unfit
from preftune.pairs.jsonl import json_kind
from preftune.pairs.pair import PreferencePair

_KEYS = ("input", "preferred_output", "non_preferred_output")


def read(row: Row) -> PreferencePair:
    """Return the pair that a row without schema errors holds, every message as it came."""
    given = row["input"]
    meta = rest(row, *_KEYS, "weight")
    meta |= {f"input.{key}": value for key, value in rest(given, "messages", "tools", "parallel_tool_calls").items()}
    return PreferencePair(
        prompt=given["messages"],
        chosen=row["preferred_output"][0],
        rejected=row["non_preferred_output"][0],
        tools=given.get("tools"),
        parallel_tool_calls=given.get("parallel_tool_calls"),
        weight=row.get("weight"),
        meta=meta,
    )


def _read_strictly(row: Row) -> PreferencePair:
    """Return the pair of any row; raise Unfit when it holds none."""
    given = row["input"]
    if not isinstance(given, dict):
        raise Unfit(f"input is {json_kind(given)}; expected an object with messages")
    messages(given.get("messages"), "input.messages")
    for key in _KEYS[1:]:
        if not isinstance(row[key], list):
            raise Unfit(f"{key} is {json_kind(row[key])}; expected a list of one message")
        answer(row[key], key)
    return read(row)


def write(pair: PreferencePair) -> Row:
    """Return the row for a pair; `meta` has no place in it."""
    given: dict[str, Any] = {"messages": list(pair.prompt)}
    if pair.tools is not None:
        given["tools"] = pair.tools
    if pair.parallel_tool_calls is not None:
        given["parallel_tool_calls"] = pair.parallel_tool_calls
    row = {"input": given, "preferred_output": [pair.chosen], "non_preferred_output": [pair.rejected]}
    return row if pair.weight is None else row | {"weight": pair.weight}


LAYOUT = Layout(
    name="together",
    title="Together, OpenAI, Azure OpenAI, Fireworks",
    keys=_KEYS,
    read=_read_strictly,
    example=(
        {
            "input": {"messages": [{"role": "user", "content": PRIME}]},
            "preferred_output": [{"role": "assistant", "content": "7"}],
            "non_preferred_output": [{"role": "assistant", "content": "9"}],
        },
    ),
)
