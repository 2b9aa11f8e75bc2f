"""Splits a conversation written as one text into its turns, by the markers that stand before each.

Never by a common prefix of two transcripts: it misplaces the boundary where both answers begin alike. A marker that
someone wrote within a turn cannot be told from a turn; mostly it makes an empty turn or the same speaker twice, which
are refused.
"""

from __future__ import annotations

import re
from itertools import pairwise

from preftune.pairs.formats.layout import Unfit
from preftune.pairs.pair import Message

_MARKER = re.compile(r"\n\n(Human|Assistant):")  # Source: Anthropic HH-RLHF, data card
_BEGINNING = re.compile(r"\s*(Human|Assistant):")
_TOKEN = re.compile(r"<extra_id_[01]>")  # Source: NeMo-Aligner, prompt template: 0 before the system, 1 before a turn
_ATTRIBUTES = re.compile(r"<extra_id_2>[^\n]*\n?")  # the same: the labels that the answer was conditioned on
_ROLES = {"Human": "user", "Assistant": "assistant", "User": "user", "System": "system"}


def is_transcript(value: object) -> bool:
    """Tell whether a value is a text that begins with a speaker's marker."""
    return isinstance(value, str) and bool(_BEGINNING.match(value))


def split_transcript(content: str, path: str, *, cue: bool = False) -> list[Message]:
    """Return the turns of a text of `Human:` and `Assistant:`; with `cue`, an empty last turn is where to answer.

    White space around a turn belongs to the markers.
    """
    content = "\n\n" + content.lstrip()
    before, *parts = _MARKER.split(content)
    if before.strip():
        raise Unfit(f"{path} does not begin with a turn; expected Human: or Assistant: before its first text")
    turns = [(_ROLES[role], said.strip()) for role, said in zip(parts[::2], parts[1::2], strict=True)]
    return _messages(turns, path, cue=cue)


def split_template(content: str, path: str, *, cue: bool = False) -> list[Message]:
    """Return the turns of a text with NeMo's tokens; text before the first of them is the user's."""
    first, *parts = _TOKEN.split(_ATTRIBUTES.sub("", content))
    if not parts:
        return _messages([("user", content)], path, cue=cue)
    turns = [("user", first.strip())] if first.strip() else []
    for part in parts if parts[-1].strip() else parts[:-1]:  # a last token only ends the turn before it
        name, _, said = part.partition("\n")
        if name not in _ROLES:
            raise Unfit(f"{path} has a turn of {name[:20]!r}; expected System, User or Assistant")
        turns.append((_ROLES[name], said.strip()))
    return _messages([turn for turn in turns if turn != ("system", "")], path, cue=cue)


def template_answer(content: str, path: str) -> str:
    """Return an answer without the token that ends it."""
    said = _ATTRIBUTES.sub("", content)
    before, *after = _TOKEN.split(said)
    if any(part.strip() for part in after):
        raise Unfit(f"{path} goes on after the end of its turn; expected one answer")
    return before.strip() if after else said


def _messages(turns: list[tuple[str, str]], path: str, *, cue: bool) -> list[Message]:
    if cue and turns and turns[-1] == ("assistant", ""):
        turns = turns[:-1]
    for number, (role, said) in enumerate(turns, start=1):
        if not said.strip():
            raise Unfit(f"{path}: turn {number}, the {role}'s, is empty; expected text in every turn")
    for number, (before, after) in enumerate(pairwise(turns), start=2):
        if before[0] == after[0]:
            raise Unfit(f"{path}: turns {number - 1} and {number} are both the {after[0]}'s; expected turns by turns")
    if not turns:
        raise Unfit(f"{path} holds no turn; expected a conversation")
    return [{"role": role, "content": said} for role, said in turns]
