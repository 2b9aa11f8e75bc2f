"""Several answers to one prompt with ratings or ranks; which of them make pairs is the caller's choice.

A rating of null is none. Where the scale begins at 1, neither is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from preftune.pairs.formats.fields import (
    answer,
    assistant,
    is_list_of,
    messages,
    number,
    objects,
    rest,
    system,
    text,
    user,
)
from preftune.pairs.formats.layout import CLASSED, PRIME, SCORED, Answer, Layout, Ranking, Row, Unfit
from preftune.pairs.formats.transcripts import is_transcript, split_template, split_transcript
from preftune.pairs.jsonl import json_kind
from preftune.pairs.pair import Message

_HELPSTEER = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")  # 0 to 4
_STEERLM = ("quality", "toxicity", "humor", "creativity", *_HELPSTEER)  # Source: NeMo-Aligner, SteerLM attributes
_NOT_LABELLED = -100  # the same


def _read_ultrafeedback(score: str, row: Row) -> Ranking:
    """Source: the data card of UltraFeedback."""
    answers = []
    for index, each in enumerate(objects(row, "completions")):
        path = f"completions[{index}]."
        rating = number(each, score, path) or None
        extra = _scored(rating) | rest({"model": each.get("model")})
        answers.append(Answer(assistant(text(each, "response", path)), rating, extra))
    return Ranking([user(text(row, "instruction"))], answers, meta=rest(row, "instruction", "completions"))


def _read_generations(row: Row) -> Ranking:
    """Source: the distilabel documentation, UltraFeedback task."""
    key = "instruction" if "instruction" in row else "prompt"
    said, ratings = row["generations"], row["ratings"]
    if not isinstance(said, list) or not isinstance(ratings, list) or len(said) != len(ratings):
        raise Unfit("generations and ratings are no two lists of one length; expected a rating for each generation")
    models = row.get("generation_models")
    models = models if isinstance(models, list) and len(models) == len(said) else [None] * len(said)
    answers = []
    for index, model in enumerate(models):
        rated, generated = f"ratings[{index}]", f"generations[{index}]"
        rating = number({rated: ratings[index]}, rated) or None
        content = text({generated: said[index]}, generated)
        answers.append(Answer(assistant(content), rating, _scored(rating) | rest({"model": model})))
    prompt = [*system(row.get("system_prompt"), "system_prompt"), user(text(row, key))]
    used = (key, "generations", "ratings", "generation_models", "system_prompt")
    return Ranking(prompt, answers, meta=rest(row, *used))


def _read_helpsteer(score: str, row: Row) -> Ranking:
    """Source: the data card of HelpSteer2."""
    extra = rest(row, "prompt", "response", score)
    rating = number(row, score)
    prompt = split_template(text(row, "prompt"), "prompt", cue=True)
    return Ranking(prompt, [Answer(assistant(text(row, "response")), rating, _scored(rating) | extra)])


def _read_steerlm(attribute: int, row: Row) -> Ranking:
    """Source: the NeMo-Aligner documentation, reward-model data of SteerLM."""
    *prompt, last = split_template(text(row, "text"), "text")
    if not prompt:
        raise Unfit("text is one turn alone; expected a conversation that ends in an answer")
    values = row["label"]
    if not isinstance(values, list) or len(values) != len(_STEERLM):
        raise Unfit(f"label is {json_kind(values)}; expected a list of {len(_STEERLM)} numbers")
    rating = number({"label": values[attribute]}, "label")
    rating = None if rating == _NOT_LABELLED else rating
    return Ranking(
        prompt, [Answer(answer([last], "the end of text"), rating, _scored(rating) | rest(row, "text", "label"))]
    )


def _read_nemo_rl(row: Row) -> Ranking:
    """Source: the NeMo-RL documentation, preference datasets; the lower rank is the better answer."""
    answers = []
    for index, each in enumerate(objects(row, "completions")):
        said = answer(
            messages(each.get("completion"), f"completions[{index}].completion"), f"completions[{index}].completion"
        )
        answers.append(_ranked(said, each, f"completions[{index}]."))
    return Ranking(messages(row["context"], "context"), answers, meta=rest(row, "context", "completions"))


def _read_nectar(row: Row) -> Ranking:
    """Source: the data card of Nectar; the lower rank is the better answer."""
    asked = text(row, "prompt")
    prompt = split_transcript(asked, "prompt", cue=True) if is_transcript(asked) else [user(asked)]
    answers = []
    for index, each in enumerate(objects(row, "answers")):
        said = assistant(text(each, "answer", f"answers[{index}]."))
        answers.append(_ranked(said, each, f"answers[{index}]."))
    return Ranking(prompt, answers, meta=rest(row, "prompt", "answers"))


def _read_rm_bench(row: Row) -> Ranking:
    """Source: the data card of RM-Bench: three right and three wrong answers, of like styles."""
    answers = []
    for key, score in (("chosen", 1), ("rejected", 0)):
        if not is_list_of(row[key], str):
            raise Unfit(f"{key} is {json_kind(row[key])}; expected a list of texts")
        answers += [Answer(assistant(said), score) for said in row[key]]
    return Ranking([user(text(row, "prompt"))], answers, meta=rest(row, "prompt", "chosen", "rejected"))


def _ranked(said: Message, row: Row, path: str) -> Answer:
    rank = number(row, "rank", path)
    extra = {"model": row.get("model"), "rank": rank}
    return Answer(said, None if rank is None else -rank, rest(extra))


def _scored(rating: float | None) -> dict[str, Any]:
    return rest({"score": rating})


def _list_with(key: str, inner: str) -> Callable[[Row], bool]:
    """Return a test of whether a key holds objects, the first of which has another key."""
    return lambda row: is_list_of(row[key], dict) and inner in row[key][0]


def _labelled(read: Callable[[Any, Row], Ranking], labels: Mapping[str, Any]) -> dict[str, Callable[[Row], Ranking]]:
    return {label: partial(read, argument) for label, argument in labels.items()}


LAYOUTS = (
    Layout(
        name="ultrafeedback",
        title="UltraFeedback, raw",
        keys=("instruction", "completions"),
        when=_list_with("completions", "response"),
        read=_labelled(_read_ultrafeedback, {key: key for key in ("overall_score", "fine-grained_score")}),
        pairings=SCORED,
        ties=True,
        example=(
            {
                "instruction": PRIME,
                "completions": [
                    {"model": "a", "response": "9", "overall_score": 2.0, "fine-grained_score": 1.5},
                    {"model": "b", "response": "7", "overall_score": 8.0, "fine-grained_score": 4.5},
                ],
            },
        ),
    ),
    Layout(
        name="nemo-rl",
        title="NeMo-RL ranked completions",
        keys=("context", "completions"),
        when=_list_with("completions", "rank"),
        read=_read_nemo_rl,
        pairings=SCORED,
        ties=True,
        example=(
            {
                "context": [{"role": "user", "content": PRIME}],
                "completions": [
                    {"rank": 0, "completion": [{"role": "assistant", "content": "7"}]},
                    {"rank": 1, "completion": [{"role": "assistant", "content": "9"}]},
                ],
            },
        ),
    ),
    Layout(
        name="nectar",
        title="Nectar (Axolotl zephyr.nectar)",
        keys=("prompt", "answers"),
        when=_list_with("answers", "rank"),
        read=_read_nectar,
        pairings=SCORED,
        ties=True,
        example=(
            {
                "prompt": f"\n\nHuman: {PRIME}\n\nAssistant: ",
                "answers": [{"answer": "7", "rank": 1}, {"answer": "9", "rank": 2}],
            },
        ),
    ),
    Layout(
        name="distilabel",
        title="Argilla, distilabel: generations and ratings",
        keys=("generations", "ratings"),
        read=_read_generations,
        pairings=SCORED,
        ties=True,
        example=({"instruction": PRIME, "generations": ["9", "7"], "ratings": [1, 5]},),
    ),
    Layout(
        name="helpsteer2",
        title="HelpSteer, HelpSteer2",
        keys=("prompt", "response", *_HELPSTEER),
        read=_labelled(_read_helpsteer, {key: key for key in _HELPSTEER}),
        pairings=SCORED,
        ties=True,
        gather="adjacent",
        example=(
            {"prompt": PRIME, "response": "9"} | dict.fromkeys(_HELPSTEER, 1),
            {"prompt": PRIME, "response": "7"} | dict.fromkeys(_HELPSTEER, 3),
        ),
    ),
    Layout(
        name="steerlm",
        title="NeMo-Aligner reward model (SteerLM attributes)",
        keys=("text", "label"),
        when=lambda row: isinstance(row["text"], str) and isinstance(row["label"], list),
        read=_labelled(_read_steerlm, {key: index for index, key in enumerate(_STEERLM)}),
        pairings=SCORED,
        ties=True,
        gather="adjacent",
        example=tuple(
            {"text": f"<extra_id_1>User\n{PRIME}\n<extra_id_1>Assistant\n{said}\n<extra_id_2>", "label": [rating] * 9}
            for said, rating in (("7", 4.0), ("9", 0.0))
        ),
    ),
    Layout(
        name="rm-bench",
        title="RM-Bench",
        keys=("prompt", "chosen", "rejected"),
        when=lambda row: is_list_of(row["chosen"], str) and is_list_of(row["rejected"], str),
        read=_read_rm_bench,
        pairings=CLASSED,
        example=({"prompt": PRIME, "chosen": ["7"], "rejected": ["9"]},),
    ),
)
