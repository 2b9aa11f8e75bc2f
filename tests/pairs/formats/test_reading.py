import re
from itertools import product

import pytest

from preftune.errors import DataError
from preftune.pairs import PreferencePair
from preftune.pairs.formats.pairing import MAX_PAIRS
from preftune.pairs.formats.reading import Choices, Reading
from preftune.pairs.jsonl import Unreadable

USER = {"role": "user", "content": "Q?"}
A, B, C = ({"role": "assistant", "content": text} for text in "abc")
TRL = {"prompt": "Q?", "chosen": "a", "rejected": "b"}


def kto(text, label, prompt="Q?"):
    return {"prompt": prompt, "completion": text, "label": label}


def rated(**ratings):
    return {"instruction": "Q?", "generations": list(ratings), "ratings": list(ratings.values())}


def helpsteer(prompt, response, rating):
    other = dict.fromkeys(["correctness", "coherence", "complexity", "verbosity"], 1)
    return {"prompt": prompt, "response": response, "helpfulness": rating} | other


@pytest.fixture
def reading(layouts):
    """Return a function that reads rows, and gives the reading, its texts as chosen>rejected, and their places."""

    def read(name, *rows, **choices):
        done = Reading(
            [(f"r:{number}", row) for number, row in enumerate(rows, start=1)], layouts[name], Choices(**choices)
        )
        pairs = list(done)
        return done, [f"{pair.chosen_text}>{pair.rejected_text}" for _, pair in pairs], [where for where, _ in pairs]

    return read


def refuses(reading, message, name, *rows, **choices):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        reading(name, *rows, **choices)


def test_a_pair_comes_with_its_place(layouts):
    done = Reading([("r:1", TRL), ("r:2", TRL)], layouts["trl"], Choices())
    assert list(done) == [("r:1", PreferencePair([USER], A, B)), ("r:2", PreferencePair([USER], A, B))]
    assert (done.rows, done.dropped) == (2, {})


# Rows that cannot be read

KEYS = "the row has the keys prompt, chosen; expected chosen, rejected"


@pytest.mark.parametrize(
    ("row", "found", "hint"),
    [
        ({"prompt": "Q?", "chosen": "a"}, KEYS, "mend the row"),
        ({}, "the row has the keys none; expected chosen, rejected", "mend the row"),
        (TRL | {"chosen": 1}, "chosen is a number; expected a message", "mend the row"),
        (Unreadable("line", "NaN is no JSON", "write null"), "NaN is no JSON", "write null"),
    ],
)
def test_a_row_that_cannot_be_read_is_an_error_or_dropped_with_its_reason(reading, row, found, hint):
    refuses(reading, f"r:2: {found}; {hint}, or leave such rows out with unfit='drop'", "trl", TRL, row)
    done, pairs, _ = reading("trl", row, TRL, unfit="drop")
    assert (pairs, done.rows, done.dropped) == (["a>b"], 2, {found: 1})


def test_reasons_that_differ_in_an_index_are_counted_as_one(reading):
    rows = [{"chosen": messages, "rejected": messages} for messages in ([1], [USER, 1])]
    done, *_ = reading("trl", *rows, unfit="drop")
    assert done.dropped == {"chosen[*] is a number; expected a message": 2}


# Ties and ratings


def test_a_tie_is_a_question_until_the_caller_says_to_drop_ties(reading):
    tie = {"prompt": "Q?", "response 1": "a", "response 2": "b", "label": 2}
    message = "r:2: expected a better answer, found a tie (label is 2); pass ties='drop' to leave ties out"
    refuses(reading, message, "auto-j", tie | {"label": 0}, tie)
    done, pairs, _ = reading("auto-j", tie | {"label": 0}, tie, ties="drop")
    assert (pairs, done.dropped) == (["a>b"], {"tie": 1})


def test_two_answers_rated_alike_are_a_tie(reading):
    message = (
        "r:1: expected a better answer, found a tie (two answers are rated alike); pass ties='drop' to leave ties out"
    )
    refuses(reading, message, "distilabel", rated(a=2, b=2))
    done, pairs, _ = reading("distilabel", rated(a=2, b=2), rated(a=1, b=2), ties="drop")
    assert (pairs, done.dropped) == (["b>a"], {"tie": 1})


def test_answers_without_a_rating_are_left_out_and_counted(reading):
    rows = [rated(a=1, b=None), rated(a=1, b=0, c=3), rated(a=1)]
    done, pairs, _ = reading("distilabel", *rows)
    dropped = {"no rating": 1, "an answer without a rating": 1, "only one answer to its prompt": 1}
    assert (pairs, done.dropped) == (["c>a"], dropped)


def test_a_row_that_nobody_judged_is_counted(reading):
    row = {"instruction": "Q?", "output_1": "a", "output_2": "b", "preference": None}
    done, pairs, _ = reading("alpaca-eval", row)
    assert (pairs, done.dropped) == ([], {"no rating": 1})


# Which of several answers


def test_more_than_two_answers_are_a_question_until_the_caller_says_which(reading):
    message = "r:1: expected two answers to a prompt, found 3; pass pairing= one of 'best-worst', 'best-random', 'all'"
    row = rated(a=1, b=2, c=3)
    refuses(reading, message, "distilabel", row)
    assert reading("distilabel", row, pairing="best-worst")[1] == ["c>a"]
    assert reading("distilabel", row, pairing="all")[1] == ["b>a", "c>a", "c>b"]
    assert reading("distilabel", row, pairing="best-random")[1][0] in {"c>a", "c>b"}


def test_a_tie_among_all_pairs_is_dropped_alone(reading):
    done, pairs, _ = reading("distilabel", rated(a=1, b=2, c=2), pairing="all", ties="drop")
    assert (pairs, done.dropped) == (["b>a", "c>a"], {"tie": 1})


def test_the_answers_of_one_row_to_two_classes_are_paired_without_ties(reading):
    row = {"prompt": "Q?", "chosen": ["a", "b"], "rejected": ["c", "d"]}
    assert reading("rm-bench", row, pairing="all")[1] == ["a>c", "a>d", "b>c", "b>d"]
    assert reading("rm-bench", row, pairing="first")[1] == ["a>c"]


# Answers spread over rows


def test_adjacent_rows_of_one_prompt_are_one_ranking(reading):
    rows = [helpsteer("Q?", "a", 1), helpsteer("Q?", "b", 3), helpsteer("P?", "c", 1), helpsteer("Q?", "d", 4)]
    done, pairs, places = reading("helpsteer2", *rows, label="helpfulness")
    assert (pairs, places, done.rows) == (["b>a"], ["r:1"], 4)
    assert done.dropped == {"only one answer to its prompt": 2}


def test_adjacent_rows_without_a_rating_are_counted_as_rows(reading):
    rows = [helpsteer("Q?", "a", None), helpsteer("Q?", "b", 3)]
    done, pairs, _ = reading("helpsteer2", *rows, label="helpfulness")
    assert (pairs, done.dropped) == ([], {"no rating": 2})


def test_good_and_bad_answers_of_a_file_meet_wherever_they_stand(reading):
    rows = [kto("a", True), kto("x", True, "P?"), kto("y", True, "P?"), kto("z", False, "R?"), kto("b", False)]
    done, pairs, places = reading("trl-unpaired", *rows)
    assert (pairs, places) == (["a>b"], ["r:1"])
    assert done.dropped == {"answers of one class alone": 2, "only one answer to its prompt": 1}


def test_answers_under_other_tools_do_not_meet(reading):
    rows = [kto("a", True) | {"tools": [{"type": "function", "function": {"name": "f"}}]}, kto("b", False)]
    done, pairs, _ = reading("trl-unpaired", *rows)
    assert (pairs, done.dropped) == ([], {"only one answer to its prompt": 2})


def test_all_pairs_of_one_prompt_are_capped_and_the_rest_counted(reading):
    rows = [kto(text, True) for text in "abc"] + [kto(text, False) for text in "xyz"]
    message = "r:1: expected two answers to a prompt, found 6; pass pairing= one of 'all', 'first'"
    refuses(reading, message, "trl-unpaired", *rows)
    assert reading("trl-unpaired", *rows, pairing="first")[1] == ["a>x"]
    done, pairs, _ = reading("trl-unpaired", *rows, pairing="all")
    assert pairs == [f"{good}>{bad}" for good, bad in product("abc", "xyz")][:MAX_PAIRS]
    assert done.dropped == {"pairs beyond 5 of one prompt": 4}
