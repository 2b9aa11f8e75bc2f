"""LMSYS arena: two models' conversations and a vote on them, as published and as in the Kaggle competition."""

from __future__ import annotations

from typing import Any

from preftune.pairs.formats.fields import assistant, json_value, messages, one_of, rest, shared_context, text, user
from preftune.pairs.formats.judged import TIE, verdict
from preftune.pairs.formats.layout import PRIME, Layout, Row, Tie, Unfit
from preftune.pairs.jsonl import shown
from preftune.pairs.pair import PreferencePair


def _read_arena(row: Row) -> PreferencePair:
    """Answers differ in every turn, so that only a first turn, or a last one after the same ones, is a pair."""
    better = verdict("winner", {"model_a": 0, "model_b": 1, "tie": TIE, "tie (bothbad)": TIE}, row)
    keys = ("conversation_a", "conversation_b")
    prompt, *answers = shared_context(messages(row[keys[0]], keys[0]), messages(row[keys[1]], keys[1]), keys)
    meta = {{"question_id": "id"}.get(k, k): v for k, v in rest(row, *keys, "winner", "model_a", "model_b").items()}
    return PreferencePair(prompt, answers[better], answers[1 - better], meta=meta | _models(row, better))


def _read_kaggle(row: Row) -> PreferencePair:
    """Source: the LMSYS Kaggle competition's data page; prompts and responses are JSON lists in text."""
    keys = ("winner_model_a", "winner_model_b", "winner_tie")
    won = [one_of(row, key, 0, 1) for key in keys]
    if sum(won) != 1:
        raise Unfit(f"{', '.join(keys)} are {won}; expected one 1")
    if won[2]:
        raise Tie("winner_tie is 1")
    said = {}
    for key in ("prompt", "response_a", "response_b"):
        turns = json_value(text(row, key), key)
        if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], str):
            raise Unfit(f"{key} is {shown(row[key])}; expected the JSON list of one text, since later turns differ")
        said[key] = turns[0]
    better = won.index(1)
    answers = [assistant(said["response_a"]), assistant(said["response_b"])]
    meta = rest(row, *said, *keys, "model_a", "model_b") | _models(row, better)
    return PreferencePair([user(said["prompt"])], answers[better], answers[1 - better], meta=meta)


def _models(row: Row, better: int) -> dict[str, Any]:
    models = [row.get("model_a"), row.get("model_b")]
    return rest({"model_chosen": models[better], "model_rejected": models[1 - better]})


_QUESTION = {"role": "user", "content": PRIME}
LAYOUTS = (
    Layout(
        name="lmsys",
        title="LMSYS arena conversations",
        keys=("conversation_a", "conversation_b", "winner"),
        read=_read_arena,
        ties=True,
        example=(
            {
                "conversation_a": [_QUESTION, {"role": "assistant", "content": "7"}],
                "conversation_b": [_QUESTION, {"role": "assistant", "content": "9"}],
                "winner": "model_a",
            },
        ),
    ),
    Layout(
        name="lmsys-kaggle",
        title="LMSYS arena, Kaggle competition",
        keys=("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b", "winner_tie"),
        read=_read_kaggle,
        ties=True,
        example=(
            {
                "prompt": f'["{PRIME}"]',
                "response_a": '["9"]',
                "response_b": '["7"]',
                "winner_model_a": 0,
                "winner_model_b": 1,
                "winner_tie": 0,
            },
        ),
    ),
)
