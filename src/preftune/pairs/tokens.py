"""How many tokens a text has: by the caller's tokenizer, or by a labelled estimate."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sized
from copy import deepcopy
from dataclasses import dataclass
from inspect import Parameter, signature
from numbers import Integral
from pathlib import Path
from typing import Any, TypeAlias

from preftune.errors import DataError
from preftune.pairs.pair import Message, message_text

Tokenizer: TypeAlias = Any  # the path of a file, a tokenizer object, or a callable: see `token_counter`

# Around each message, as ChatML writes it: <|im_start|>, role, line break, <|im_end|>, line break. Other templates
# take 3 to 7; the answer's own message counts too.
MESSAGE_TOKENS = 5
# Characters that make one token, by the bytes that UTF-8 writes them with. Measured with a vocabulary of 131,072
# (mistral-common's Tekken of July 2024): 4.8 on English (LLaMA-Factory's 300 pairs, LLMBar's 419) and 3.5 on the ASCII
# within Chinese; Russian 3.2, Arabic 2.9, Greek 2.5, Hebrew 2.1 (a paragraph each); 1.03 on Chinese (300 pairs of
# LLaMA-Factory, 500 of MedicalGPT), Japanese 1.4, Korean 1.6. Chosen so that the estimate over a set of English, of
# Chinese or of the first three together is 5 to 6 % too high; source code, at 2.7, is estimated too low.
ASCII_CHARACTERS, TWO_BYTE_CHARACTERS, WIDE_CHARACTERS = 4.5, 2.7, 0.95


@dataclass(frozen=True)
class Budget:
    """What one side of a pair may hold, and how it is counted."""

    count: Callable[[str], int]
    tokens_per_side: int | None = None
    estimated: bool = False

    def message(self, message: Message) -> int:
        """Return the tokens of a message: its text, its tool calls as JSON, what a chat template writes around it."""
        return self.count(message_text(message)) + self.tools(message.get("tool_calls")) + MESSAGE_TOKENS

    def tools(self, written: object) -> int:
        """Return the tokens of tools or tool calls, written as JSON."""
        return self.count(json.dumps(written, ensure_ascii=False)) if written else 0


def budget(tokenizer: Tokenizer | None, *, max_seq_length: int | None, tokens_per_side: int | None) -> Budget:
    """Return the budget of one side: `tokens_per_side`, else half of `max_seq_length`, else none.

    Half the context serves each response when LoRA trains on a long context. Source: the hosted documentation.
    """
    for name, value in (("max_seq_length", max_seq_length), ("tokens_per_side", tokens_per_side)):
        if value is not None and value < 1:
            raise DataError(f"{name}={value!r}: expected a positive number of tokens; give the model's limit")
    half = None if max_seq_length is None else max_seq_length // 2
    per_side = half if tokens_per_side is None else tokens_per_side
    if per_side == 0:
        raise DataError("max_seq_length=1: expected at least 2, one token for each side; give the model's limit")
    if tokenizer is None:
        return Budget(estimate_tokens, per_side, estimated=True)
    return Budget(token_counter(tokenizer), per_side)


def token_counter(tokenizer: Tokenizer) -> Callable[[str], int]:
    """Return a function from a text to its number of tokens, special ones left out.

    Takes the path of a `tokenizers` JSON file, a tokenizer object of tokenizers, transformers, tiktoken or
    mistral-common, or any callable from a text to a number or to a list of tokens. Raises DataError for anything else.
    """
    if isinstance(tokenizer, str | Path):
        return token_counter(_from_file(Path(tokenizer)))
    if hasattr(tokenizer, "instruct_tokenizer"):  # mistral-common's, around its Tekkenizer
        return token_counter(tokenizer.instruct_tokenizer.tokenizer)
    if hasattr(tokenizer, "encode_ordinary"):  # tiktoken
        return lambda text: len(tokenizer.encode_ordinary(text))
    if hasattr(tokenizer, "no_truncation") and (tokenizer.truncation or tokenizer.padding):  # as many files set it
        return token_counter(_uncut(tokenizer))
    if hasattr(tokenizer, "encode"):  # transformers gives ids, tokenizers an object of their length
        bare = _without_specials(tokenizer.encode)
        return lambda text: len(tokenizer.encode(text, **bare))
    if callable(tokenizer):
        return lambda text: _as_count(tokenizer(text))
    kinds = "the path of a tokenizer.json, a tokenizer object, or a function from a text to its number of tokens"
    raise DataError(f"tokenizer={tokenizer!r}: expected {kinds}; pass one of them")


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a large vocabulary makes of a text, from its scripts alone."""
    narrow = len(text.encode("ascii", "ignore"))
    others = len(text) - narrow
    third_bytes = len(text.encode("utf-8", "surrogatepass")) - narrow - 2 * others
    wide = min(others, third_bytes)  # a character of four bytes has two beyond the second
    return round(narrow / ASCII_CHARACTERS + (others - wide) / TWO_BYTE_CHARACTERS + wide / WIDE_CHARACTERS)


def _from_file(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer as Fast  # noqa: PLC0415 - an extra, needed here alone
    except ImportError:
        raise DataError(f"tokenizer={str(path)!r}: reading it needs a package; pip install tokenizers") from None
    try:
        return Fast.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the package raises bare Exception for whatever is wrong
        raise DataError(f"tokenizer={str(path)!r}: expected a tokenizer.json, found: {error}; check the path") from None


def _uncut(tokenizer: Any) -> Any:
    """Return a copy that gives every token of a text and no more, neither cut off nor filled up to some length."""
    copy = deepcopy(tokenizer)
    copy.no_truncation()
    copy.no_padding()
    return copy


def _without_specials(encode: Callable[..., Any]) -> dict[str, bool]:
    """Return the arguments that leave special tokens out, as far as the function takes any."""
    try:
        parameters = signature(encode).parameters
    except (TypeError, ValueError):  # a function in C may not say
        return {}
    if "bos" in parameters:  # mistral-common's Tekkenizer
        return {"bos": False, "eos": False}
    takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters.values())
    return {"add_special_tokens": False} if takes_all or "add_special_tokens" in parameters else {}


def _as_count(result: object) -> int:
    if isinstance(result, Integral):
        return int(result)
    if isinstance(result, Sized) and not isinstance(result, str | Mapping):  # of a mapping, len is that of its keys
        return len(result)
    found = type(result).__name__
    raise DataError(f"tokenizer: expected a number or a list of tokens from the function, found {found}; return one")
