"""The rule on length: truncation, of the sample."""

from __future__ import annotations

from collections.abc import Iterator

from preftune.pairs.finding import Problem
from preftune.pairs.pair import Message, PreferencePair, message_text, shared_prefix
from preftune.pairs.tokens import Budget

_HINT = "shorten the context or the answer, or train with a longer context"


def truncation(pair: PreferencePair, budget: Budget) -> Iterator[Problem]:
    """Find a side over its budget of tokens, whose end is cut off, and pairs of which the cut leaves no difference."""
    room = budget.tokens_per_side
    if room is None or _bytes(pair) < room:  # no tokenizer makes more tokens than bytes
        return
    context = sum(map(budget.message, pair.prompt))
    sides = {key: context + budget.message(answer) for key, answer in _sides(pair)}
    over = {key: tokens for key, tokens in sides.items() if tokens > room}
    if not over:
        return
    about = "an estimated " if budget.estimated else ""
    fault = None if budget.estimated else _hopeless(pair, budget, room - context, len(over))
    if fault:
        yield Problem("truncation", "error", "", f"the cut at {room:,} tokens a side leaves {fault}", _HINT)
        return
    for key, tokens in over.items():
        message = f"{key} with its context has {about}{tokens:,} tokens; a side has room for {room:,}"
        yield Problem("truncation", "warning", key, message, _HINT)


def _hopeless(pair: PreferencePair, budget: Budget, room: int, sides_over: int) -> str | None:
    """Return what makes the pair worthless once each side is cut to `room` tokens of answer, or None."""
    if room <= 0:
        return "nothing of the answers"
    same = shared_prefix(message_text(pair.chosen), message_text(pair.rejected))
    return "both answers the same" if sides_over > 1 and budget.count(same) >= room else None


def _sides(pair: PreferencePair) -> tuple[tuple[str, Message], tuple[str, Message]]:
    return ("preferred_output", pair.chosen), ("non_preferred_output", pair.rejected)


def _bytes(pair: PreferencePair) -> int:
    """Return more bytes than one side can have tokens."""
    answers = max(len(message_text(answer)) for _, answer in _sides(pair))
    characters = sum(len(message_text(message)) for message in pair.prompt) + answers
    return 4 * characters + 8 * (len(pair.prompt) + 1)
