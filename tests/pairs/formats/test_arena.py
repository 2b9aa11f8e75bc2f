import re

import pytest

from preftune.pairs import PreferencePair
from preftune.pairs.formats.layout import Tie, Unfit, Unrated

USER, MORE = {"role": "user", "content": "Q?"}, {"role": "user", "content": "And?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
LMSYS = {
    "question_id": "q", "conversation_a": [USER, CHOSEN], "conversation_b": [USER, REJECTED], "winner": "model_a",
    "model_a": "m", "model_b": "n", "turn": 1,
}  # fmt: skip
META = {"id": "q", "turn": 1, "model_chosen": "m", "model_rejected": "n"}
KAGGLE = {
    "id": 7, "prompt": '["Q?"]', "response_a": '["b"]', "response_b": '["a"]', "winner_model_a": 0,
    "winner_model_b": 1, "winner_tie": 0, "model_a": "n", "model_b": "m",
}  # fmt: skip


def test_a_vote_on_a_first_turn_is_a_pair(layouts):
    assert layouts["lmsys"].read(LMSYS) == PreferencePair([USER], CHOSEN, REJECTED, meta=META)
    swapped = {
        "conversation_a": LMSYS["conversation_b"],
        "conversation_b": LMSYS["conversation_a"],
        "winner": "model_b",
    }
    meta = META | {"model_chosen": "n", "model_rejected": "m"}
    assert layouts["lmsys"].read(LMSYS | swapped) == PreferencePair([USER], CHOSEN, REJECTED, meta=meta)


def test_a_vote_on_later_turns_is_a_pair_only_after_the_same_context(layouts):
    row = LMSYS | {"conversation_a": [USER, CHOSEN, MORE, CHOSEN], "conversation_b": [USER, CHOSEN, MORE, REJECTED]}
    assert layouts["lmsys"].read(row) == PreferencePair([USER, CHOSEN, MORE], CHOSEN, REJECTED, meta=META)
    reason = "conversation_a and conversation_b differ before their last message; expected one context"
    with pytest.raises(Unfit, match=f"^{reason}$"):
        layouts["lmsys"].read(row | {"conversation_b": [USER, REJECTED, MORE, REJECTED]})


@pytest.mark.parametrize("winner", ["tie", "tie (bothbad)"])
def test_a_vote_may_be_a_tie_or_missing(layouts, winner):
    with pytest.raises(Tie, match=f"^winner is '{re.escape(winner)}'$"):
        layouts["lmsys"].read(LMSYS | {"winner": winner})
    with pytest.raises(Unrated):
        layouts["lmsys"].read(LMSYS | {"winner": None})


def test_kaggle_rows_hold_json_lists_in_text(layouts):
    meta = {"id": 7, "model_chosen": "m", "model_rejected": "n"}
    assert layouts["lmsys-kaggle"].read(KAGGLE) == PreferencePair([USER], CHOSEN, REJECTED, meta=meta)
    with pytest.raises(Tie, match=r"^winner_tie is 1$"):
        layouts["lmsys-kaggle"].read(KAGGLE | {"winner_model_b": 0, "winner_tie": 1})


ONE = "expected the JSON list of one text, since later turns differ"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"winner_model_b": 0},
            "winner_model_a, winner_model_b, winner_tie are [0, 0, 0]; expected one 1",
        ),
        ({"winner_tie": "no"}, "winner_tie is 'no'; expected 0 or 1"),
        ({"prompt": "Q?"}, "prompt is 'Q?'; expected JSON in text"),
        ({"prompt": "\ud800"}, "prompt is '\\ud800'; expected JSON in text"),
        ({"prompt": '"Q?"'}, f"prompt is '\"Q?\"'; {ONE}"),
        ({"response_a": "[null]"}, f"response_a is '[null]'; {ONE}"),
        ({"response_b": '["a", "b"]'}, f'response_b is \'["a", "b"]\'; {ONE}'),
    ],
)
def test_kaggle_refuses(layouts, changes, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        layouts["lmsys-kaggle"].read(KAGGLE | changes)
