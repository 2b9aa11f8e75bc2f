"""Two answers and a verdict on which is better: the judges' sets, and preferences between two columns.

One reader serves them all; a layout says where its parts stand and what its verdicts mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from preftune.pairs.formats.fields import (
    assistant,
    messages,
    number,
    one_of,
    rest,
    text,
    user,
)
from preftune.pairs.formats.layout import PRIME, Layout, Row, Tie, Unfit, Unrated
from preftune.pairs.formats.transcripts import split_template
from preftune.pairs.jsonl import shown
from preftune.pairs.pair import Message, PreferencePair

_ANNOTATORS = ("annotator1", "annotator2", "annotator3")
TIE = None  # what a verdict maps to where both are equally good


@dataclass(frozen=True)
class Judged:
    """Reads a row of two answers: the prompt, the answers' keys, and which of them (0 or 1) is the better one."""

    prompt: Callable[[Row], list[Message]]
    used: tuple[str, ...]  # the keys that prompt and verdict are made of
    answers: tuple[str, str]
    better: Callable[[Row], int]
    sides: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # a fact for each answer, such as its model
    names: Mapping[str, str] = field(default_factory=dict)  # keys that have a name of their own in meta
    margin: str = ""  # the key whose size says how much better

    def __call__(self, row: Row) -> PreferencePair:
        """Return the pair of a row."""
        prompt = self.prompt(row)
        first, second = (assistant(text(row, key)) for key in self.answers)
        better = self.better(row)
        meta = self._meta(row, better)
        return PreferencePair(prompt, *((second, first) if better else (first, second)), meta=meta)

    def _meta(self, row: Row, better: int) -> dict[str, Any]:
        aside = {key for keys in self.sides.values() for key in keys}
        left = rest(row, *self.used, *self.answers, *aside)
        meta = {self.names.get(key, key): value for key, value in left.items()}
        for name, keys in self.sides.items():
            for side, key in (("chosen", keys[better]), ("rejected", keys[1 - better])):
                if row.get(key) is not None:
                    meta[f"{name}_{side}"] = row[key]
        if self.margin:
            meta["margin"] = abs(meta.pop(self.margin))
        return meta


def verdict(key: str, meanings: Mapping[Any, int | None], row: Row) -> int:
    """Return which answer the value under a key says is better."""
    if row.get(key) is None:
        raise Unrated
    value = one_of(row, key, *meanings)
    better = meanings[value]
    if better is None:
        raise Tie(f"{key} is {shown(value)}")
    return better


def _strength(key: str, row: Row) -> int:
    """Return which answer a strength says is better: below 0 the first, above 0 the second."""
    strength = number(row, key)
    if strength is None:
        raise Unrated
    if strength == 0:
        raise Tie(f"{key} is 0")
    return int(strength > 0)


def _alpaca_eval(row: Row) -> int:
    """Return what `preference` says: 1 or 2, a share of both in between, 1.5 or 0 for neither.

    Source: the AlpacaEval documentation.
    """
    preference = number(row, "preference")
    if preference is None:
        raise Unrated
    if preference in (0, 1.5):
        raise Tie(f"preference is {shown(preference)}")
    if not 1 <= preference <= 2:  # noqa: PLR2004 - the numbers of the two outputs
        raise Unfit(f"preference is {shown(preference)}; expected 1 to 2, or 0")
    return int(preference > 1.5)  # noqa: PLR2004 - halfway between them


def _majority(row: Row) -> int:
    """Return what most of PandaLM's three annotators say: 1 or 2, or 0 for neither."""
    votes = Counter(one_of(row, key, 0, 1, 2) for key in _ANNOTATORS if row.get(key) is not None)
    if not votes:
        raise Unrated
    (first, count), *others = votes.most_common()
    if first == 0 or (others and others[0][1] == count):
        raise Tie(f"the annotators say {', '.join(shown(row.get(key)) for key in _ANNOTATORS)}")
    return int(first) - 1


def _asked(key: str) -> Callable[[Row], list[Message]]:
    return lambda row: [user(text(row, key))]


def instructed(row: Row) -> list[Message]:
    """Return the user's message of an instruction and, below it, its input where there is one."""
    given = text(row, "input") if row.get("input") is not None else ""
    return [user(text(row, "instruction") + (f"\n{given}" if given else ""))]


def _context(row: Row) -> list[Message]:
    context = row["context"]
    return [user(context)] if isinstance(context, str) else messages(context, "context")


def _template_prompt(row: Row) -> list[Message]:
    return split_template(text(row, "prompt"), "prompt", cue=True)


def _read_pandalm(row: Row) -> PreferencePair:
    used = ("instruction", "input", *_ANNOTATORS)
    pair = Judged(instructed, used, ("response1", "response2"), _majority)(row)
    return replace(pair, meta={**pair.meta, "annotators": [row.get(key) for key in _ANNOTATORS]})


_RESPONSES = ("response_1", "response_2")
_PKU = {
    label: Judged(
        _asked("prompt"), ("prompt", key), ("response_0", "response_1"), partial(verdict, key, {0: 0, 1: 1}),
        sides={"is_safe": ("is_response_0_safe", "is_response_1_safe")},
    )
    for label, key in (("better", "better_response_id"), ("safer", "safer_response_id"))
}  # fmt: skip

LAYOUTS = (
    Layout(
        name="pku",
        title="PKU SafeRLHF",
        keys=("prompt", "response_0", "response_1", "better_response_id", "safer_response_id"),
        read=_PKU,
        example=(
            {"prompt": PRIME, "response_0": "9", "response_1": "7", "better_response_id": 1, "safer_response_id": 0},
        ),
    ),
    Layout(
        name="shp",
        title="Stanford Human Preferences (SHP)",
        keys=("history", "human_ref_A", "human_ref_B", "labels"),
        read=Judged(
            _asked("history"), ("history", "labels"), ("human_ref_A", "human_ref_B"),
            partial(verdict, "labels", {1: 0, 0: 1}),
            sides={"score": ("score_A", "score_B")}, names={"post_id": "id"},
        ),
        example=({"history": PRIME, "human_ref_A": "7", "human_ref_B": "9", "labels": 1},),
    ),
    Layout(
        name="helpsteer3",
        title="HelpSteer3 preference",
        keys=("context", "response1", "response2", "overall_preference"),
        read=Judged(
            _context, ("context",), ("response1", "response2"), partial(_strength, "overall_preference"),
            names={"individual_preference": "annotators"}, margin="overall_preference",
        ),
        ties=True,
        example=(
            {
                "context": [{"role": "user", "content": PRIME}],
                "response1": "7",
                "response2": "9",
                "overall_preference": -2,
            },
        ),
    ),
    Layout(
        name="helpsteer2-preference",
        title="HelpSteer2 preference",
        keys=("prompt", "response_1", "response_2", "preference_strength"),
        read=Judged(
            _template_prompt, ("prompt",), _RESPONSES, partial(_strength, "preference_strength"),
            margin="preference_strength",
        ),
        ties=True,
        example=({"prompt": PRIME, "response_1": "9", "response_2": "7", "preference_strength": 3},),
    ),
    Layout(
        name="pandalm",
        title="PandaLM test set",
        keys=("instruction", "response1", "response2", "annotator1"),
        read=_read_pandalm,
        ties=True,
        example=(
            {
                "instruction": PRIME,
                "input": "",
                "response1": "9",
                "response2": "7",
                "annotator1": 2,
                "annotator2": 1,
                "annotator3": 2,
            },
        ),
    ),
    Layout(
        name="auto-j",
        title="Auto-J pairwise test set",
        keys=("prompt", "response 1", "response 2", "label"),
        read=Judged(
            _asked("prompt"), ("prompt", "label"), ("response 1", "response 2"),
            partial(verdict, "label", {0: 0, 1: 1, 2: TIE}),
        ),
        ties=True,
        example=({"prompt": PRIME, "response 1": "7", "response 2": "9", "label": 0},),
    ),
    Layout(
        name="judgebench",
        title="JudgeBench",
        keys=("question", "response_A", "response_B", "label"),
        read=Judged(
            _asked("question"), ("question", "label"), ("response_A", "response_B"),
            partial(verdict, "label", {"A>B": 0, "B>A": 1, "A=B": TIE}), names={"pair_id": "id"},
        ),
        ties=True,
        example=({"question": PRIME, "response_A": "7", "response_B": "9", "label": "A>B"},),
    ),
    Layout(
        name="alpaca-eval",
        title="AlpacaEval annotations",
        keys=("instruction", "output_1", "output_2", "preference"),
        read=Judged(
            _asked("instruction"), ("instruction", "preference"), ("output_1", "output_2"), _alpaca_eval,
            sides={"model": ("generator_1", "generator_2")}, names={"dataset": "source"},
        ),
        ties=True,
        example=({"instruction": PRIME, "output_1": "9", "output_2": "7", "preference": 2},),
    ),
    Layout(
        name="llmbar",
        title="LLMBar",
        keys=("input", "output_1", "output_2", "label"),
        read=Judged(
            _asked("input"), ("input", "label"), ("output_1", "output_2"), partial(verdict, "label", {1: 0, 2: 1})
        ),
        example=({"input": PRIME, "output_1": "7", "output_2": "9", "label": 1},),
    ),
)  # fmt: skip
