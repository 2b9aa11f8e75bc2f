"""The rule on length: truncation, of the sample."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from preftune.pairs.finding import Problem
from preftune.pairs.pair import Message, PreferencePair, message_text, shared_prefix
from preftune.pairs.tokens import Budget


def truncation(pair: PreferencePair, budget: Budget) -> Iterator[Problem]:
    """Find a side over its budget of tokens, whose end is cut off, and pairs of which the cut leaves no difference."""
    room = budget.tokens_per_side
    if room is None or _most_tokens(pair) < room:  # no tokenizer makes more tokens than bytes
        return
    context = sum(map(budget.message, pair.prompt)) + budget.tools(pair.tools)
    sides = {key: context + budget.message(answer) for key, answer in _sides(pair)}
    over = {key: tokens for key, tokens in sides.items() if tokens > room}
    if not over:
        return
    about = "an estimated " if budget.estimated else ""
    if not budget.estimated:
        hopeless = list(_hopeless(pair, budget, room, context, len(over)))
        if hopeless:
            yield from hopeless
            return
    for key, tokens in over.items():
        message = f"{key} with its context has {about}{tokens:,} tokens; a side has room for {room:,}"
        hint = "shorten the context or the answer, or train with a longer context"
        yield Problem("truncation", "warning", key, message, hint)


def _hopeless(pair: PreferencePair, budget: Budget, room: int, context: int, sides_over: int) -> Iterator[Problem]:
    """Find a pair that the cut leaves without answers, or with two answers that are the same."""
    if context >= room:
        hint = "shorten the context: it fills the side by itself"
        yield Problem(
            "truncation", "error", "", f"the cut at {room:,} tokens a side leaves nothing of the answers", hint
        )
        return
    same = shared_prefix(message_text(pair.chosen), message_text(pair.rejected))
    # what a template writes before an answer varies: rather a warning too many than a false error
    if sides_over > 1 and budget.count(same) >= room - context:
        hint = "shorten the context, or drop the pair: what differs is cut away"
        yield Problem(
            "truncation", "error", "", f"the cut at {room:,} tokens a side leaves both answers the same", hint
        )


def _sides(pair: PreferencePair) -> tuple[tuple[str, Message], tuple[str, Message]]:
    return ("preferred_output", pair.chosen), ("non_preferred_output", pair.rejected)


def _most_tokens(pair: PreferencePair) -> int:
    """Return more bytes than one side can have tokens."""
    if pair.tools or any("tool_calls" in message for message in (*pair.prompt, pair.chosen, pair.rejected)):
        return sys.maxsize
    answers = max(len(message_text(answer)) for _, answer in _sides(pair))
    characters = sum(len(message_text(message)) for message in pair.prompt) + answers
    return 4 * characters + 8 * (len(pair.prompt) + 1)
