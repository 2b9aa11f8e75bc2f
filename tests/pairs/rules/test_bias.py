import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import check
from preftune.pairs.finding import Gathering
from preftune.pairs.rules import bias, similar
from preftune.pairs.rules.catalog import pair_line
from preftune.pairs.rules.style import FEATURES
from preftune.pairs.survey import Survey


def surveyed(count=200, **measured):
    """Return the survey of pairs that differ in nothing but what is given."""
    same = np.full(count, 50)
    plain = {
        "problems": Gathering(),
        "prompts": np.arange(count, dtype=np.uint64),
        "signatures": np.zeros((count, similar.SLOTS), dtype=np.uint32),
        "overlapping": np.zeros(count, dtype=bool),
        "turns": np.ones(count, dtype=int),
        "prompt_characters": same,
        "chosen_characters": same,
        "rejected_characters": same,
        "tokens": same,
        "features": np.zeros((count, 2, len(FEATURES)), dtype=bool),
        "closed": np.ones((count, 2), dtype=bool),
        "echoes": np.zeros(count, dtype=bool),
        "heads": ([f"{number} chosen" for number in range(count)], [f"{number} rejected" for number in range(count)]),
        "tails": ([f"{number} nesohc" for number in range(count)], [f"{number} detcejer" for number in range(count)]),
    }
    return Survey(**(plain | measured))


def longer_in(count, *, of=200, apart=10):
    """Return the survey of pairs whose chosen answer is longer in so many of them, and shorter in the others."""
    return surveyed(of, chosen_characters=np.array([100 + apart] * count + [100] * (of - count)), rejected_characters=np.array([100] * count + [100 + apart] * (of - count)))  # noqa: E501 # fmt: skip


def with_feature(name, chosen, rejected, *, of=200):
    """Return the survey of pairs where so many chosen and so many other rejected answers have a feature."""
    features = np.zeros((of, 2, len(FEATURES)), dtype=bool)
    features[:chosen, 0, FEATURES.index(name)] = True
    features[chosen : chosen + rejected, 1, FEATURES.index(name)] = True
    return surveyed(of, features=features)


def told(rule, survey):
    return [(problem.severity, problem.path, problem.message) for problem in rule(survey)]


# balance


@pytest.mark.parametrize(
    ("differences", "share", "z"),
    [
        ([], 0.5, 0.0),
        ([0, 0, 0], 0.5, 0.0),
        ([1, -1], 0.5, 0.0),
        ([1, 1, 1, -1], 0.75, 1.0),  # 2 / sqrt 4
        ([5, 0, 9, 1, 1, 0], 1.0, 2.0),
        ([-3] * 100, 0.0, -10.0),
        ([1] * 60 + [-1] * 40, 0.6, 2.0),
        ([True, True, False], 1.0, math.sqrt(2)),
    ],
)
def test_balance_is_the_share_of_positive_differences_and_its_distance_from_half(differences, share, z):
    assert bias.balance(np.array(differences)) == (pytest.approx(share), pytest.approx(z))


@given(st.lists(st.integers(-(10**12), 10**12)))
def test_balance_turns_round_with_the_sides(differences):
    share, z = bias.balance(np.array(differences, dtype=np.int64))
    assert bias.balance(-np.array(differences, dtype=np.int64)) == (pytest.approx(1 - share), -z)


@pytest.mark.parametrize(
    ("share", "z", "off"),
    [(0.61, 3.1, True), (0.39, -3.1, True), (0.6, 9, False), (0.4, -9, False), (0.9, 3.0, False), (0.1, -2.9, False)],
)
def test_off_balance_is_far_from_half_and_not_by_chance(share, z, off):
    assert bias.is_off_balance(share, z) is off


# area under the curve


@pytest.mark.parametrize(
    ("higher", "lower", "area"),
    [([2], [1], 1.0), ([1], [2], 0.0), ([1], [1], 0.5), ([1, 3], [2, 2], 0.5), ([1, 2, 3], [2], 0.5)],
)  # fmt: skip
def test_area_under_curve_of_small_sets(higher, lower, area):
    assert bias.area_under_curve(np.array(higher), np.array(lower)) == area


@given(st.lists(st.integers(0, 20), min_size=1, max_size=20), st.lists(st.integers(0, 20), min_size=1, max_size=20))
def test_area_under_curve_is_what_counting_all_pairs_gives(higher, lower):
    counted = sum((a > b) + 0.5 * (a == b) for a in higher for b in lower) / (len(higher) * len(lower))
    assert bias.area_under_curve(np.array(higher), np.array(lower)) == pytest.approx(counted)


# the probe


def noise(rows, columns, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns))


def test_the_probe_guesses_a_separable_set():
    differences = noise(500, 4)
    differences[:, 2] = np.abs(differences[:, 2]) + 1
    assert bias.probe_accuracy(differences) == 1.0


def test_the_probe_guesses_by_several_features_together():
    differences = noise(1_000, 3)
    differences *= np.sign(differences @ [1.0, -2.0, 0.5])[:, None]
    assert bias.probe_accuracy(differences) > 0.97


@pytest.mark.parametrize("seed", range(5))
def test_the_probe_guesses_a_random_set_in_about_half(seed):
    assert bias.probe_accuracy(noise(2_000, 11, seed)) == pytest.approx(0.5, abs=0.05)


def test_the_probe_does_not_know_which_side_is_which():
    differences = np.random.default_rng(0).choice([-1.0, 1.0], size=(2_000, 2))
    assert bias.probe_accuracy(differences) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("columns", [0, 1, 5])
def test_the_probe_tosses_a_coin_where_nothing_differs(columns):
    assert bias.probe_accuracy(np.zeros((100, columns))) == 0.5


def test_the_probe_counts_a_pair_without_a_difference_half():
    differences = np.array([[1.0], [0.0]] * 100)
    assert bias.probe_accuracy(differences) == 0.75


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 1_000), st.floats(1e-9, 1e9))
def test_the_probe_says_the_same_every_time_and_on_any_scale(seed, scale):
    differences = noise(120, 3, seed)
    assert bias.probe_accuracy(differences) == bias.probe_accuracy(differences.copy())
    assert bias.probe_accuracy(differences * scale) == pytest.approx(bias.probe_accuracy(differences), abs=0.02)


# the rules


def test_whole_set_finds_what_each_of_its_rules_finds():
    answers = [f"As a careful person: {number}" for number in range(200)]
    survey = surveyed(
        chosen_characters=np.full(200, 60),
        features=with_feature("code", 150, 0).features,
        closed=closed(100, 0).closed,
        echoes=np.ones(200, dtype=bool),
        heads=(answers, [str(number) for number in range(200)]),
    )
    assert [problem.rule for problem in bias.whole_set(survey)] == [
        "length-bias", "format-bias", "shortcut", "side-constant", "cut-off", "echo",
    ]  # fmt: skip
    assert list(bias.whole_set(surveyed())) == []


def test_length_bias_begins_above_ten_points():
    assert told(bias.length_bias, longer_in(600, of=1_000)) == []
    message = (
        "the chosen answer is the longer one in 60.1% of pairs, far more often than not "
        "(z = +6.4; length alone tells the sides apart with an AUC of 0.60)"
    )
    assert told(bias.length_bias, longer_in(601, of=1_000)) == [("warning", "", message)]


def test_length_bias_is_silent_by_chance():
    assert told(bias.length_bias, longer_in(65, of=100)) == []  # z = 3.0
    assert len(told(bias.length_bias, longer_in(66, of=100))) == 1  # z = 3.2


def test_length_bias_tells_of_the_shorter_answers_and_what_to_add():
    (problem,) = bias.length_bias(longer_in(20, of=200))
    assert (
        "the chosen answer is the shorter one in 90.0% of pairs, nearly always: the label is its length"
        in problem.message
    )
    assert "AUC of 0.90" in problem.message
    assert problem.hint.startswith("add pairs where the longer answer is chosen")


@pytest.mark.parametrize(("count", "words"), [(800, "far more often than not"), (801, "nearly always")])
def test_length_bias_is_told_more_strongly_above_eighty_in_a_hundred(count, words):
    (problem,) = bias.length_bias(longer_in(count, of=1_000))
    assert words in problem.message


def test_length_bias_leaves_ties_out():
    assert told(bias.length_bias, surveyed()) == []


@pytest.mark.parametrize("name", FEATURES)
def test_format_bias_tells_of_each_feature_and_its_side(name):
    (problem,) = bias.format_bias(with_feature(name, 40, 10))
    assert (problem.rule, problem.severity, problem.path) == ("format-bias", "warning", name)
    assert problem.message == (
        f"where one answer has {name}, it is the chosen one in 80% "
        "(20% of chosen, 5% of rejected answers; z = +4.2)"
    )  # fmt: skip
    (problem,) = bias.format_bias(with_feature(name, 10, 40))
    assert f"where one answer has {name}, it is the rejected one in 80% (5% of chosen, 20% of" in problem.message


@pytest.mark.parametrize(
    ("chosen", "rejected", "count"), [(600, 400, 0), (601, 399, 1), (9, 0, 0), (10, 0, 1), (0, 10, 1), (0, 0, 0)]
)
def test_format_bias_begins_above_ten_points_and_not_by_chance(chosen, rejected, count):
    assert len(told(bias.format_bias, with_feature("a list", chosen, rejected, of=1_000))) == count


def test_format_bias_leaves_pairs_out_where_both_answers_have_the_feature():
    assert told(bias.format_bias, surveyed(features=np.ones((200, 2, len(FEATURES)), dtype=bool))) == []


def test_shortcut_begins_above_seventy_in_a_hundred():
    assert told(bias.shortcut, longer_in(700, of=1_000)) == []
    assert told(bias.shortcut, longer_in(710, of=1_000)) == [
        ("warning", "", "length and form alone guess the chosen answer in 71% of held-out pairs")
    ]


def test_shortcut_sees_form_and_endings_too():
    assert len(told(bias.shortcut, with_feature("code", 150, 0))) == 1
    assert len(told(bias.shortcut, surveyed(closed=np.tile([True, False], (200, 1))))) == 1
    assert told(bias.shortcut, surveyed()) == []


def with_edge(edge, chosen, rejected, *, of=200, place="heads"):
    """Return the survey of pairs where so many chosen and rejected answers begin, or end, with a text."""
    texts = tuple([f"{edge if at < count else ''}{at} {side}" for at in range(of)] for side, count in (("c", chosen), ("r", rejected)))  # noqa: E501 # fmt: skip
    return surveyed(of, **{place: texts})


@pytest.mark.parametrize(
    ("edge", "chosen", "rejected", "count"),
    [
        ("As a person:", 190, 0, 1),
        ("As a person:", 189, 0, 0),
        ("As a person:", 200, 99, 1),
        ("As a person:", 200, 100, 0),
        ("As a perso:", 200, 0, 0),
        ("As a person:", 0, 200, 1),
        ("As a person:", 200, 200, 0),
    ],
)
@pytest.mark.parametrize("place", ["heads", "tails"])
def test_side_constant_begins_at_its_thresholds(edge, chosen, rejected, count, place):
    assert len(told(bias.side_constant, with_edge(edge, chosen, rejected, place=place))) == count


def test_side_constant_tells_how_long_the_text_is_where_and_of_which_side():
    assert told(bias.side_constant, with_edge("Dear reader, ", 196, 3)) == [
        ("warning", "chosen begins", "the same 13 characters or more begin 98% of the chosen answers")
    ]
    assert told(bias.side_constant, with_edge(" ,reader raeD", 0, 200, place="tails")) == [
        ("warning", "rejected ends", "the same 13 characters or more end 100% of the rejected answers")
    ]


def test_side_constant_tells_of_both_ends_of_one_side(tmp_path):
    path = tmp_path / "pairs.jsonl"
    lines = [pair_line(f"What is {n}?", f"Dear reader, it is {n}. Kind regards, I.", f"{n} it is.") for n in range(100)]
    path.write_bytes(b"\n".join(lines))
    found = [finding.message for finding in check(path).findings if finding.rule == "side-constant"]
    assert found == [
        "the same 19 characters or more begin 100% of the chosen answers",
        "the same 18 characters or more end 100% of the chosen answers",
    ]


def test_side_constant_finds_a_constant_among_others_that_sort_around_it():
    heads = ["!" * 64, *["Dear reader, hello."] * 196, "z", "zz", "zzz"]
    assert len(told(bias.side_constant, surveyed(heads=(heads, [str(n) for n in range(200)])))) == 1


def closed(chosen, rejected, *, of=200):
    return surveyed(of, closed=np.array([[at >= chosen, at >= rejected] for at in range(of)]))


@pytest.mark.parametrize(
    ("chosen", "rejected", "count"), [(20, 0, 0), (21, 0, 1), (0, 21, 1), (200, 200, 0), (200, 179, 1)]
)
def test_cut_off_begins_above_ten_points_of_difference(chosen, rejected, count):
    assert len(told(bias.cut_off, closed(chosen, rejected))) == count


def test_cut_off_tells_both_shares():
    assert told(bias.cut_off, closed(10, 100)) == [
        ("warning", "", "5% of chosen and 50% of rejected answers end without closing punctuation")
    ]


@pytest.mark.parametrize(
    ("count", "messages"), [(100, []), (101, ["50% of the pairs repeat the prompt at the start of an answer"])]
)
def test_echo_begins_above_half(count, messages):
    survey = surveyed(echoes=np.arange(200) < count)
    assert [message for _, _, message in told(bias.echo, survey)] == messages
