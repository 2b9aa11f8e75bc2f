"""From messages to what the model reads: hashed contexts of every answer byte, and the words of the prompt.

A byte is a token here. An answer is its bytes and an end mark, unless the budget cuts it: then what fits, unmarked.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preftune.pairs.pair import PreferencePair, message_text

ORDERS = (1, 2, 3, 5)  # how many preceding bytes each embedding sees; measured against 1 2 3 4 and 2 3 4 6
TABLE_BITS = 16  # rows of one embedding table: ids fit uint16, which NumPy sorts by radix
END = 256  # the end mark, after the 256 bytes
VOCABULARY = 257
_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)  # odd 64-bit constants
_WORD = re.compile(r"\w+")

Ids = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Encoded:
    """One prompt with one answer, ready for the model."""

    contexts: Ids  # (len(ORDERS), T) hashed preceding bytes of every answer token
    targets: NDArray[np.int32]  # (T,) the answer tokens
    prompt: Ids  # (W,) hashed words of the prompt, each once


@dataclass(frozen=True, eq=False)
class EncodedPair:
    """One preference, ready for the model."""

    chosen: Encoded
    rejected: Encoded
    weight: float = 1.0


@dataclass(frozen=True)
class Cut:
    """What the budget did to an answer."""

    context: bytes
    answer: bytes
    whole: bool
    role: bytes = b"a"  # the first letter of who speaks: the assistant, unless inputs are learned too


def render(messages: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a conversation as bytes, each message behind a mark with its role."""
    return b"".join(b"\x01%s\x02%s" % (str(m["role"])[:1].encode(), answer_bytes(m)) for m in messages)


def answer_bytes(message: Mapping[str, Any]) -> bytes:
    """Return a message as bytes: its text, and its tool calls as they stand."""
    calls = message.get("tool_calls")
    return (message_text(message) + (str(calls) if calls else "")).encode("utf-8", "replace")


def cut(context: bytes, answer: bytes, budget: int, role: bytes = b"a") -> Cut:
    """Return context and answer shortened to `budget` bytes together: the end of the answer goes first."""
    room = budget - len(context) - 1  # one for the end mark
    if len(answer) <= room:
        return Cut(context, answer, whole=True, role=role)
    return Cut(context[:budget], answer[: max(0, budget - len(context))], whole=False, role=role)


def encode(piece: Cut) -> Encoded:
    """Return the model's view of an answer after its context."""
    tokens = np.frombuffer(piece.answer, np.uint8).astype(np.int32)
    if piece.whole:
        tokens = np.append(tokens, np.int32(END))
    longest = max(ORDERS)
    head = (b"\0" * longest + piece.context + b"\x01%s\x02" % piece.role)[-longest:]
    stream = np.frombuffer(head + piece.answer, np.uint8).astype(np.uint64)  # (longest + T,)
    contexts = np.empty((len(ORDERS), tokens.size), np.uint16)
    for row, (order, mix) in enumerate(zip(ORDERS, _MIX, strict=True)):
        key = np.zeros(tokens.size, np.uint64)
        for back in range(1, order + 1):
            start = longest - back
            key |= stream[start : start + tokens.size] << np.uint64(8 * (back - 1))
        contexts[row] = (key + np.uint64(1)) * np.uint64(mix) >> np.uint64(64 - TABLE_BITS)
    return Encoded(contexts, tokens, _prompt_words(piece.context))


def cut_pair(pair: PreferencePair, budget: int) -> tuple[Cut, Cut]:
    """Return both answers of a pair after their prompt, each side cut to the budget."""
    context = render(pair.prompt)
    return cut(context, answer_bytes(pair.chosen), budget), cut(context, answer_bytes(pair.rejected), budget)


def encode_pair(sides: tuple[Cut, Cut], weight: float | None = None) -> EncodedPair | None:
    """Return the model's view of a pair, or None where the budget has left a side without an answer."""
    chosen, rejected = sides
    if not all(side.answer or side.whole for side in sides):
        return None
    return EncodedPair(encode(chosen), encode(rejected), 1.0 if weight is None else float(weight))


def join(pieces: Sequence[Encoded]) -> Encoded:
    """Return several answers of one conversation as one example, under the words that stood before the first."""
    return Encoded(
        np.concatenate([piece.contexts for piece in pieces], axis=1),
        np.concatenate([piece.targets for piece in pieces]),
        pieces[0].prompt,  # a later context holds the answers before it
    )


def _prompt_words(context: bytes) -> Ids:
    words = {word.lower() for word in _WORD.findall(context.decode("utf-8", "ignore"))}
    ids = {zlib.crc32(word.encode()) >> (32 - TABLE_BITS) for word in words}
    return np.array(sorted(ids), np.uint16)
