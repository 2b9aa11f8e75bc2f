"""The fast path: plain rows, which are nearly all rows of nearly all files, read without asking each rule.

Invariant: what is returned has no problem that any rule on lines or rows would find; None says nothing about a row but
that it must be looked at with care. So a rule stands once, in `rules`; this file only knows where none applies.

Decoders let a key pass that stands twice in an object. Two things rule it out here: a line made of just the pieces that
a JSON library writes around the texts, or the number of quotation marks.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import msgspec

from preftune.pairs.jsonl import MAX_LINE_BYTES
from preftune.pairs.pair import PreferencePair
from preftune.pairs.rules import schema


class Plain(msgspec.Struct, gc=False):
    """A row of nothing but texts, and perhaps a weight."""

    roles: tuple[str, ...]  # of the prompt's messages
    texts: list[str]  # of the prompt's messages
    chosen: str
    rejected: str
    weight: float | None = None

    def pair(self) -> PreferencePair:
        """Return the pair that the row holds."""
        prompt = [{"role": role, "content": text} for role, text in zip(self.roles, self.texts, strict=True)]
        chosen, rejected = ({"role": "assistant", "content": text} for text in (self.chosen, self.rejected))
        return PreferencePair(prompt, chosen, rejected, weight=self.weight)


def read_plain(raw: bytes) -> Plain | None:
    """Return the row of a line, with its line break, when it is plain and without fault; else None."""
    if len(raw) > MAX_LINE_BYTES:
        return None
    try:
        row = _read_as_written(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return row if row and _is_faultless(row) else None


class _Pieces(NamedTuple):
    """What a JSON library writes around the texts of a row with its keys in the usual order."""

    opening: bytes = b'{"input": {"messages": [{"role": "'
    content: bytes = b'", "content": '
    turn: bytes = b'}, {"role": "'
    chosen: bytes = b'}]}, "preferred_output": [{"role": "assistant", "content": '
    rejected: bytes = b'}], "non_preferred_output": [{"role": "assistant", "content": '
    closing: bytes = b"}]}\n"


_SPACED = _Pieces()
_COMPACT = _Pieces(*(piece.replace(b": ", b":").replace(b", ", b",") for piece in _SPACED))
_ROLES = {role.encode(): role for role in schema.ROLES}
_decode_text = msgspec.json.Decoder(str).decode


def _read_as_written(raw: bytes) -> Plain | None:
    """Return the row of a line that is made of the pieces and of texts between them.

    No piece can stand within a text, where a quotation mark follows a backslash; and what lies between two pieces is
    decoded as one text, which fails if another key stands there.
    """
    opening, content, turn, to_chosen, to_rejected, closing = _SPACED if raw.startswith(_SPACED[0]) else _COMPACT
    chosen = raw.find(to_chosen)
    rejected = raw.find(to_rejected, chosen)
    if chosen < 0 or rejected < 0 or not (raw.startswith(opening) and raw.endswith(closing)):
        return _read_typed(raw)
    turns = [turn.partition(content) for turn in raw[len(opening) : chosen].split(turn)]
    roles = tuple([_ROLES.get(role, "") for role, _, _ in turns])
    if not _take_turns(roles):
        return None
    return Plain(
        roles,
        [_decode_text(text) for _, _, text in turns],
        _decode_text(raw[chosen + len(to_chosen) : rejected]),
        _decode_text(raw[rejected + len(to_rejected) : -len(closing)]),
    )


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: str
    content: str


class _Input(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: list[_Message]


class _Row(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    input: _Input
    preferred_output: tuple[_Message]
    non_preferred_output: tuple[_Message]
    weight: float | msgspec.UnsetType = msgspec.UNSET


_decode_row = msgspec.json.Decoder(_Row).decode
_KEYS = 4  # input, messages, preferred_output, non_preferred_output


def _read_typed(raw: bytes) -> Plain | None:
    """Return the row of a line with its keys in any order, and perhaps a weight."""
    if raw.endswith(b"\r\n"):
        return None
    row = _decode_row(raw)
    messages = (*row.input.messages, *row.preferred_output, *row.non_preferred_output)
    chosen, rejected = messages[-2:]
    weight = None if isinstance(row.weight, msgspec.UnsetType) else row.weight
    within = sum([message.content.count('"') for message in messages])
    expected = 2 * (_KEYS + (weight is not None) + 4 * len(messages)) + within
    if chosen.role != "assistant" or rejected.role != "assistant" or raw.count(b'"') != expected:
        return None
    if within and b"\\u0022" in raw:  # a quotation mark without its byte could make up for a key too many
        return None
    prompt = row.input.messages
    roles = tuple([message.role for message in prompt])
    if not _take_turns(roles):
        return None
    return Plain(roles, [message.content for message in prompt], chosen.content, rejected.content, weight)


def _is_faultless(row: Plain) -> bool:
    chosen, rejected, weight = row.chosen, row.rejected, row.weight
    if not chosen or not rejected or chosen.isspace() or rejected.isspace():
        return False
    return weight is None or 0 < weight < float("inf")


@lru_cache(maxsize=4096)
def _take_turns(roles: tuple[str, ...]) -> bool:
    """Tell whether the rules on rows have nothing to say about a plain row of such messages."""
    answer = [{"role": "assistant", "content": "."}]
    messages = [{"role": role, "content": "."} for role in roles]
    row = {"input": {"messages": messages}, "preferred_output": answer, "non_preferred_output": answer}
    return not any(schema.check_row(row))
