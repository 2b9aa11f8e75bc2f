"""TRL: `prompt`, `chosen`, `rejected` as texts or as lists of messages; the prompt may stand inside both answers.

What others write the same way is read here too: OpenRLHF, NeMo-RL's binary form, Axolotl's implicit and prompt_pairs
forms, and UltraFeedback's and distilabel's with scores. Source: the TRL documentation, dataset formats.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from preftune.pairs.formats.fields import answer, messages, number, rest, shared_context, system, tools, user
from preftune.pairs.formats.layout import PRIME, Layout, Row, Tie, Unfit, Unrated
from preftune.pairs.jsonl import shown
from preftune.pairs.pair import Message, PreferencePair, message_text

_SCORES = (  # UltraFeedback of H4, distilabel, Argilla
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"),
)
_NAMES = {  # in meta
    "prompt_id": "id",
    "chosen_model": "model_chosen",
    "rejected_model": "model_rejected",
    "chosen-model": "model_chosen",
    "rejected-model": "model_rejected",
}


def read_mapped(keys: Mapping[str, str], row: Row) -> PreferencePair:
    """Return the pair of a row whose prompt, chosen, rejected, system, tools and weight stand under these keys."""
    prompt, chosen, rejected = _parts(keys, row)
    weight = number(row, keys["weight"]) if "weight" in keys else None
    if weight is not None and not 0 <= weight <= sys.float_info.max:
        raise Unfit(f"{keys['weight']} is {shown(weight)}; expected a finite number of at least 0")
    said = {name: row.get(key) for name, key in keys.items()}
    prompt = [*system(said.get("system"), keys.get("system", "")), *prompt]
    declared = tools(said.get("tools"), keys.get("tools", ""))
    return PreferencePair(prompt, chosen, rejected, declared, weight=weight, meta=rest(row, *keys.values()))


read = partial(read_mapped, {name: name for name in ("prompt", "chosen", "rejected", "system", "tools")})


def write(pair: PreferencePair) -> Row:
    """Return the conversational row for a pair; parallel_tool_calls, weight and meta have no place in it."""
    row: Row = {"prompt": list(pair.prompt), "chosen": [pair.chosen], "rejected": [pair.rejected]}
    return row if pair.tools is None else row | {"tools": pair.tools}


def lost(pair: PreferencePair) -> Iterator[str]:
    """Yield the name of each thing beside meta that a written row does not hold."""
    if pair.parallel_tool_calls is not None:
        yield "parallel_tool_calls"
    if pair.weight is not None:
        yield "weight"


def _read_scored(row: Row) -> PreferencePair:
    """Return the pair of a row that says how good each answer is, under the names that meta has for it."""
    pair = read(row)
    better, worse = next(keys for keys in _SCORES if keys[0] in row)
    scores = number(row, better), number(row, worse)
    if None in scores:
        raise Unrated
    if scores[0] == scores[1]:
        raise Tie(f"{better} and {worse} are both {shown(scores[0])}")
    if scores[0] is not None and scores[1] is not None and scores[0] < scores[1]:
        raise Unfit(f"{better} is {shown(scores[0])}, less than {worse}, {shown(scores[1])}; expected the better first")
    meta = {_NAMES.get(key, key): value for key, value in pair.meta.items() if key not in (better, worse)}
    meta |= {"score_chosen": scores[0], "score_rejected": scores[1]}
    return replace(pair, meta=meta)


def _parts(keys: Mapping[str, str], row: Row) -> tuple[Sequence[Message], Message, Message]:
    """Return prompt and answers, whether or not the answers repeat the prompt."""
    names = keys["chosen"], keys["rejected"]
    sides = [row.get(name) for name in names]
    prompt = row.get(keys["prompt"]) if "prompt" in keys else None
    if prompt is None and not all(isinstance(side, list) for side in sides):
        raise Unfit("the row has no prompt, and where it ends in two texts cannot be told; expected a prompt")
    asked = (
        [user(prompt)] if isinstance(prompt, str) else messages(prompt, keys["prompt"]) if prompt is not None else []
    )
    if asked and not any(isinstance(side, list) and len(side) > 1 for side in sides):
        return asked, answer(sides[0], names[0]), answer(sides[1], names[1])
    conversations = [messages(side, name) for side, name in zip(sides, names, strict=True)]
    context, chosen, rejected = shared_context(conversations[0], conversations[1], names)
    if asked and context != asked and not (isinstance(prompt, str) and _asks(context, prompt)):
        raise Unfit(f"{names[0]} holds {len(context) + 1} messages, but not the prompt; expected one answer")
    return context, chosen, rejected


def _asks(context: list[Message], prompt: str) -> bool:
    """Tell whether a user's turn of a conversation is the prompt's text."""
    return any(said["role"] == "user" and message_text(said).strip() == prompt.strip() for said in context)


def _scores(row: Row) -> bool:
    return any(better in row and worse in row for better, worse in _SCORES)


_QUESTION = {"role": "user", "content": PRIME}
LAYOUT = Layout(
    name="trl",
    title="TRL, OpenRLHF, NeMo-RL binary, Axolotl implicit",
    keys=("chosen", "rejected"),
    read=read,
    example=(
        {
            "prompt": [_QUESTION],
            "chosen": [{"role": "assistant", "content": "7"}],
            "rejected": [{"role": "assistant", "content": "9"}],
        },
    ),
)
SCORED_LAYOUT = Layout(
    name="ultrafeedback-binarized",
    title="UltraFeedback binarized (H4, Argilla), distilabel formatted",
    keys=("chosen", "rejected"),
    when=_scores,
    read=_read_scored,
    ties=True,
    example=(
        {
            "prompt": PRIME,
            "prompt_id": "p1",
            "chosen": [_QUESTION, {"role": "assistant", "content": "7"}],
            "rejected": [_QUESTION, {"role": "assistant", "content": "9"}],
            "score_chosen": 8.5,
            "score_rejected": 3.0,
        },
    ),
)
