import re

import pytest

from preftune.pairs import PreferencePair
from preftune.pairs.formats.layout import Tie, Unfit, Unrated
from preftune.pairs.formats.table import LAYOUTS

USER = {"role": "user", "content": "Q?"}
CHOSEN, REJECTED = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
HELPSTEER3 = {"context": [USER], "response1": "a", "response2": "b", "overall_preference": -2}
HELPSTEER2 = {"prompt": "Q?", "response_1": "b", "response_2": "a", "preference_strength": 1}
PANDALM = {
    "instruction": "Q?", "input": "", "response1": "a", "response2": "b",
    "annotator1": 1, "annotator2": 1, "annotator3": 2,
}  # fmt: skip
ALPACA_EVAL = {"instruction": "Q?", "output_1": "a", "output_2": "b", "preference": 1}
PKU = {
    "prompt": "Q?", "response_0": "a", "response_1": "b", "is_response_0_safe": True, "is_response_1_safe": False,
    "better_response_id": 0, "safer_response_id": 1,
}  # fmt: skip
SHP = {
    "post_id": "p", "history": "Q?", "human_ref_A": "a", "human_ref_B": "b", "labels": 1, "score_A": 9, "score_B": 2,
    "score_ratio": 4.5,
}  # fmt: skip
AUTO_J = {"prompt": "Q?", "response 1": "a", "response 2": "b", "label": 0}
JUDGEBENCH = {"pair_id": "p", "question": "Q?", "response_A": "b", "response_B": "a", "label": "B>A", "source": "x"}
LLMBAR = {"input": "Q?", "output_1": "b", "output_2": "a", "label": 2}


@pytest.mark.parametrize(
    ("name", "row", "meta"),
    [
        ("helpsteer3", HELPSTEER3, {"margin": 2}),
        (
            "helpsteer3",
            HELPSTEER3 | {"context": "Q?", "domain": "code", "individual_preference": [{"score": -2}]},
            {"domain": "code", "annotators": [{"score": -2}], "margin": 2},
        ),
        ("helpsteer3", HELPSTEER3 | {"response1": "b", "response2": "a", "overall_preference": 1}, {"margin": 1}),
        ("helpsteer2-preference", HELPSTEER2 | {"split": "train"}, {"split": "train", "margin": 1}),
        ("pandalm", PANDALM, {"annotators": [1, 1, 2]}),
        ("pandalm", PANDALM | {"annotator2": 0, "annotator3": 1}, {"annotators": [1, 0, 1]}),
        ("pandalm", PANDALM | {"annotator2": None, "annotator3": None}, {"annotators": [1, None, None]}),
        ("alpaca-eval", ALPACA_EVAL, {}),
        ("alpaca-eval", ALPACA_EVAL | {"output_1": "b", "output_2": "a", "preference": 1.98}, {}),
        (
            "alpaca-eval",
            ALPACA_EVAL | {"generator_1": "m", "generator_2": "n", "dataset": "koala"},
            {"source": "koala", "model_chosen": "m", "model_rejected": "n"},
        ),
        ("shp", SHP, {"id": "p", "score_ratio": 4.5, "score_chosen": 9, "score_rejected": 2}),
        ("auto-j", AUTO_J, {}),
        ("auto-j", AUTO_J | {"response 1": "b", "response 2": "a", "label": 1}, {}),
        ("judgebench", JUDGEBENCH, {"id": "p", "source": "x"}),
        ("llmbar", LLMBAR, {}),
        ("llmbar", LLMBAR | {"output_1": "a", "output_2": "b", "label": 1}, {}),
    ],
)
def test_a_verdict_chooses_between_two_answers(layouts, name, row, meta):
    assert layouts[name].read(row) == PreferencePair([USER], CHOSEN, REJECTED, meta=meta)


def test_pku_reads_the_label_that_is_asked_for_and_keeps_the_other_as_meta(layouts):
    read = layouts["pku"].read
    safe = {"is_safe_chosen": True, "is_safe_rejected": False}
    assert read["better"](PKU) == PreferencePair([USER], CHOSEN, REJECTED, meta={"safer_response_id": 1} | safe)
    safe = {"is_safe_chosen": False, "is_safe_rejected": True}
    assert read["safer"](PKU) == PreferencePair([USER], REJECTED, CHOSEN, meta={"better_response_id": 0} | safe)


def test_pandalm_puts_the_input_below_the_instruction(layouts):
    pair = layouts["pandalm"].read(PANDALM | {"input": "x"})
    assert pair.prompt == [{"role": "user", "content": "Q?\nx"}]


def test_helpsteer2_splits_the_turns_of_a_prompt(layouts):
    row = HELPSTEER2 | {"prompt": "Q?\n<extra_id_1>Assistant\na\n<extra_id_1>User\nQ?\n"}
    assert layouts["helpsteer2-preference"].read(row).prompt == [USER, CHOSEN, USER]


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("helpsteer3", HELPSTEER3 | {"overall_preference": 0}, "overall_preference is 0"),
        ("helpsteer2-preference", HELPSTEER2 | {"preference_strength": 0}, "preference_strength is 0"),
        ("pandalm", PANDALM | {"annotator1": 0, "annotator2": 0}, "the annotators say 0, 0, 2"),
        ("pandalm", PANDALM | {"annotator2": 2, "annotator3": 0}, "the annotators say 1, 2, 0"),
        ("alpaca-eval", ALPACA_EVAL | {"preference": 1.5}, "preference is 1.5"),
        ("alpaca-eval", ALPACA_EVAL | {"preference": 0}, "preference is 0"),
        ("auto-j", AUTO_J | {"label": 2}, "label is 2"),
        ("judgebench", JUDGEBENCH | {"label": "A=B"}, "label is 'A=B'"),
    ],
)
def test_a_verdict_may_be_a_tie(layouts, name, row, reason):
    assert layouts[name].ties
    with pytest.raises(Tie, match=f"^{re.escape(reason)}$"):
        layouts[name].read(row)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("helpsteer3", HELPSTEER3 | {"overall_preference": None}),
        ("pandalm", PANDALM | dict.fromkeys(["annotator1", "annotator2", "annotator3"])),
        ("alpaca-eval", ALPACA_EVAL | {"preference": None}),
        ("llmbar", LLMBAR | {"label": None}),
    ],
)
def test_a_row_that_nobody_judged_has_no_rating(layouts, name, row):
    with pytest.raises(Unrated):
        layouts[name].read(row)


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("llmbar", LLMBAR | {"label": 3}, "label is 3; expected 1 or 2"),
        ("llmbar", LLMBAR | {"label": True}, "label is true; expected 1 or 2"),
        ("llmbar", LLMBAR | {"input": None}, "input is null; expected text"),
        ("llmbar", LLMBAR | {"output_2": ["a"]}, "output_2 is a list; expected text"),
        ("alpaca-eval", ALPACA_EVAL | {"preference": 3}, "preference is 3; expected 1 to 2, or 0"),
        (
            "alpaca-eval",
            ALPACA_EVAL | {"preference": 10**400},
            f"preference is {'1' + 56 * '0'}...; expected 1 to 2, or 0",
        ),
        ("helpsteer3", HELPSTEER3 | {"overall_preference": "1"}, "overall_preference is '1'; expected a number"),
        ("helpsteer3", HELPSTEER3 | {"context": []}, "context is empty; expected a list of messages"),
        ("pandalm", PANDALM | {"annotator1": 3}, "annotator1 is 3; expected 0 or 1 or 2"),
    ],
)
def test_a_row_without_a_verdict_is_refused(layouts, name, row, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        layouts[name].read(row)


def test_only_what_can_say_so_is_marked_as_having_ties():
    assert [layout.name for layout in LAYOUTS if layout.name in {"pku", "shp", "llmbar"} and layout.ties] == []
