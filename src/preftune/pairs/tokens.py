"""How many tokens a text has: by the caller's tokenizer, or by a labelled estimate."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from preftune.errors import DataError
from preftune.pairs.pair import Message, message_text

Tokenizer: TypeAlias = Any  # the path of a file, a tokenizer object, or a callable: see `token_counter`

# Around each message, as ChatML writes it: <|im_start|>, role, line break, <|im_end|>, line break. Other templates
# take 3 to 7; the answer's own message counts too.
MESSAGE_TOKENS = 5
# Characters of each script that make one token, measured with a vocabulary of 131,072 (mistral-common's Tekken) on
# English and Chinese preference data, and rounded down so that the estimate is rather too high.
ASCII_CHARACTERS, TWO_BYTE_CHARACTERS, WIDE_CHARACTERS = 4.2, 2.2, 1.3


@dataclass(frozen=True)
class Budget:
    """What one side of a pair may hold, and how it is counted."""

    count: Callable[[str], int]
    tokens_per_side: int | None = None
    estimated: bool = False

    def message(self, message: Message) -> int:
        """Return the tokens of a message with what a chat template writes around it."""
        return self.count(message_text(message)) + MESSAGE_TOKENS


def budget(tokenizer: Tokenizer | None, *, max_seq_length: int | None, tokens_per_side: int | None) -> Budget:
    """Return the budget of one side: `tokens_per_side`, else half of `max_seq_length`, else none.

    Half the context serves each response when LoRA trains on a long context. Source: the hosted documentation.
    """
    for name, value in (("max_seq_length", max_seq_length), ("tokens_per_side", tokens_per_side)):
        if value is not None and value < 1:
            raise DataError(f"{name}={value!r}: expected a positive number of tokens; give the model's limit")
    half = None if max_seq_length is None else max_seq_length // 2
    per_side = half if tokens_per_side is None else tokens_per_side
    if tokenizer is None:
        return Budget(estimate_tokens, per_side, estimated=True)
    return Budget(token_counter(tokenizer), per_side)


def token_counter(tokenizer: Tokenizer) -> Callable[[str], int]:
    """Return a function from a text to its number of tokens, special ones left out.

    Takes the path of a `tokenizers` JSON file, a tokenizer object of tokenizers, transformers or mistral-common, or
    any callable from a text to a number or to a list of tokens. Raises DataError for anything else.
    """
    if isinstance(tokenizer, str | Path):
        return token_counter(_from_file(Path(tokenizer)))
    if hasattr(tokenizer, "instruct_tokenizer"):  # mistral-common
        inner = tokenizer.instruct_tokenizer.tokenizer
        return lambda text: len(inner.encode(text, bos=False, eos=False))
    if hasattr(tokenizer, "encode"):  # transformers gives ids, tokenizers an object of their length
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False))
    if callable(tokenizer):
        return lambda text: _as_count(tokenizer(text))
    kinds = "the path of a tokenizer.json, a tokenizer object, or a function from a text to its number of tokens"
    raise DataError(f"tokenizer={tokenizer!r}: expected {kinds}; pass one of them")


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a large vocabulary makes of a text, from its scripts alone."""
    narrow = len(text.encode("ascii", "ignore"))
    others = len(text) - narrow
    if not others:
        return round(narrow / ASCII_CHARACTERS)
    bytes_each = (len(text.encode("utf-8", "surrogatepass")) - narrow) / others
    per_token = TWO_BYTE_CHARACTERS if bytes_each < 2.5 else WIDE_CHARACTERS  # noqa: PLR2004 - two or three bytes
    return round(narrow / ASCII_CHARACTERS + others / per_token)


def _from_file(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer as Fast  # noqa: PLC0415 - an extra, needed here alone
    except ImportError:
        raise DataError(f"tokenizer={str(path)!r}: reading it needs a package; pip install tokenizers") from None
    try:
        return Fast.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the package raises bare Exception for whatever is wrong
        raise DataError(f"tokenizer={str(path)!r}: expected a tokenizer.json, found: {error}; check the path") from None


def _as_count(result: object) -> int:
    if isinstance(result, int):
        return result
    if isinstance(result, Sized):
        return len(result)
    found = type(result).__name__
    raise DataError(f"tokenizer: expected a number or a list of tokens from the function, found {found}; return one")
