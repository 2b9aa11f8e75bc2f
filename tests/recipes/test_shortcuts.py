import random

import numpy as np
import pytest

from preftune.pairs import PreferencePair
from preftune.recipes.shortcuts import by_length, by_words, right


def pair(chosen, rejected):
    said = [{"role": "assistant", "content": text} for text in (chosen, rejected)]
    return PreferencePair([{"role": "user", "content": "Q?"}], *said)


def of_lengths(*differences):
    """Return pairs whose chosen answers are so much longer than the rejected ones."""
    return [pair("x" * (10 + difference), "x" * 10) for difference in differences]


def length_of(*differences):
    """Return whether longer is better, and the margins, as plain values."""
    longer, margins = by_length(of_lengths(*differences))
    return longer, margins.tolist()


def test_the_longer_or_the_shorter_answer_is_taken_whichever_is_right_more_often():
    assert length_of(3, -2, 0, 1, 5, -1) == (True, [3, -2, 0, 1, 5, -1])
    assert length_of(3, -2, 0, -1, -5, 1, -9) == (False, [-3, 2, 0, 1, 5, -1, 9])


def test_one_very_long_answer_makes_no_habit():
    assert length_of(90, -1, -2) == (False, [-90, 1, 2])


def test_where_neither_is_right_more_often_the_longer_one_is_taken():
    assert length_of(4, -1) == (True, [4, -1])


def test_answers_of_one_length_say_nothing():
    assert length_of(0, 0) == (True, [0, 0])


def test_words_are_weighed_as_the_other_folds_have_them():
    pairs = [
        pair("yes", "no"),
        pair("yes", "no"),
        pair("no", "yes"),
        pair("quite other words", "nothing in common"),
        pair("the same", "the same"),
    ]
    margins = by_words(pairs, np.array([0, 1, 1, 1, 1]))
    # fold 1 knows the first pair alone, a vector f of length 1: its weights are f / (f @ f + 1) = f / 2
    assert margins[1:] == pytest.approx([0.5, -0.5, 0, 0])


def test_what_separates_the_sides_is_found_on_pairs_not_seen():
    pairs = [pair(f"certainly {i} then", f"hardly {i} then") for i in range(8)]
    assert right(by_words(pairs, np.arange(8) % 2)).tolist() == [1] * 8
    flipped = [*pairs[:7], pair("hardly 7 then", "certainly 7 then")]
    assert (by_words(flipped, np.arange(8) % 2) > 0).tolist() == [True] * 7 + [False]


def test_words_of_a_pair_itself_are_not_known_when_it_is_judged():
    pairs = [pair(f"a{i} b{i}", f"c{i} d{i}") for i in range(4)]
    assert by_words(pairs, np.arange(4) % 2).tolist() == [0, 0, 0, 0]


def test_words_of_no_meaning_are_a_coin_over_many_sets():
    dice, found = random.Random(3), []
    for _ in range(40):
        pairs = [pair(*(" ".join(dice.choices("abcdefghijkl", k=6)) for _ in range(2))) for _ in range(32)]
        found.append(right(by_words(pairs, np.arange(32) % 2)).mean())
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)  # three standard errors, by how far one set is from the next


def test_a_pair_is_right_or_wrong_and_a_tie_is_half_of_both():
    assert right(np.array([1.0, -1.0, 0.0, -0.0, 2.0])).tolist() == [1, 0, 0.5, 0.5, 1]
