import json
import math
import random
from unicodedata import east_asian_width

import numpy as np
import pytest

from preftune import DPO
from preftune.api.models import MetricRow
from preftune.losses import sensitivity
from preftune.pairs import PreferencePair
from preftune.recipes.rehearsal import Case, Judge, Rehearsal

N = 16
ONES = np.ones(N)
COIN = np.tile([1.0, -1.0], N // 2)


def pair(prompt="Q?", chosen="yes", rejected="no"):
    said = [{"role": "assistant", "content": text} for text in (chosen, rejected)]
    return PreferencePair([{"role": "user", "content": prompt}], *said)


def logps(gain=ONES, length=10.0):
    """Return log-probabilities of pairs of which the chosen answer gained so many nats on the rejected one."""
    return {
        "policy_chosen_logps": -20 + gain,
        "reference_chosen_logps": -20 * ONES,
        "policy_rejected_logps": -30 * ONES,
        "reference_rejected_logps": -30 * ONES,
        "chosen_lengths": length * ONES,
        "rejected_lengths": 10 * ONES,
    }


def without_reference(given):
    return {name: array for name, array in given.items() if not name.startswith("reference")}


def rehearsal(**changes):
    """Return the rehearsal of 16 pairs in 2 folds, which all judges but length tell apart, and without faults."""
    given = {
        "name": "pairs.jsonl",
        "total": N,
        "dropped": {},
        "cut": 0,
        "method": DPO(),
        "folds": 2,
        "cases": tuple(Case(f"pairs.jsonl:{number}", "Q?", "yes", "no") for number in range(1, N + 1)),
        "logps": logps(),
        "longer": True,
        "by_length": COIN,
        "by_words": ONES,
        "seconds": 1.26,
        "trained": logps(),
        "bits": 2.04,
    }
    return Rehearsal(**(given | changes))


def of_ones_own(**changes):
    """Return the rehearsal of 16 pairs under a caller's own model."""
    return rehearsal(**({"folds": 0, "trained": None, "bits": None} | changes))


def judged(model, **changes):
    """Return a rehearsal of which every judge but length and words has these margins' signs."""
    said = {
        "policy_chosen_logps": -30 + 2 * model,
        "reference_chosen_logps": -30 + model,
        "policy_rejected_logps": -30 * ONES,
        "reference_rejected_logps": -30 * ONES,
        "chosen_lengths": 10 * ONES,
        "rejected_lengths": 10 * ONES,
    }
    return rehearsal(**({"logps": said} | changes))


def at(values, default=1.0):
    """Return (16,) numbers that are the default but where stated."""
    found = np.full(N, default)
    for place, value in values.items():
        found[place] = value
    return found


def flat(found):
    """Return the text without its line breaks."""
    return " ".join(str(found).split())


def columns(line):
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in line)


# Cases


def test_a_case_is_the_place_and_how_the_texts_begin():
    assert Case.of("row 1", pair("What  of\nit?", "y" * 64, "n" * 65)) == Case(
        "row 1", "What of it?", "y" * 64, "n" * 63 + "…"
    )


def test_of_a_conversation_the_last_message_is_shown_and_without_one_nothing():
    asked = PreferencePair([{"role": "user", "content": text} for text in ("first", "last")], {}, {})
    assert Case.of("row 1", asked) == Case("row 1", "last", "", "")
    assert Case.of("row 1", PreferencePair([], {}, {})) == Case("row 1", "", "", "")


def test_wide_characters_are_cut_by_the_columns_they_take():
    case = Case.of("row 1", pair("章" * 32, "章" * 33, "a" + "鱼" * 40))
    assert (case.prompt, case.chosen, case.rejected) == ("章" * 32, "章" * 31 + "…", "a" + "鱼" * 31 + "…")
    assert columns(case.rejected) == 64


def test_what_a_terminal_would_obey_is_not_shown():
    assert Case.of("row 1", pair("\x1b[31mred\x07", "a\u202eb", "\ud800")) == Case("row 1", " [31mred ", "a b", " ")


# Judges


def judge(right, of=100):
    """Return a judge that is right on so many pairs."""
    return Judge("x", np.arange(of) < right)


def test_the_accuracy_of_a_judge_is_the_share_it_got_right_and_a_tie_is_half():
    assert Judge("x", np.array([1.0, 0.0, 0.5, 1.0])).accuracy == 0.625


def test_the_error_of_a_judge_is_the_binomial_one_and_never_nothing():
    assert judge(80).error == pytest.approx(math.sqrt(0.8 * 0.2 / 100))
    assert judge(100).error == pytest.approx(0.005)


def test_better_than_chance_is_two_standard_errors_of_a_coin():
    assert not judge(60).better_than_chance
    assert judge(61).better_than_chance
    assert not judge(22, of=36).better_than_chance


@pytest.mark.parametrize(
    ("one", "other", "beats"),
    [
        ([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0], True),  # 5 alone against 0: 5 / sqrt(5) > 2
        ([1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0], False),  # 4 / sqrt(4) = 2
        ([1] * 9 + [0] * 2, [0] * 9 + [1] * 2, True),  # 7 / sqrt(11) = 2.1
        ([1] * 8 + [0] * 2, [0] * 8 + [1] * 2, False),  # 6 / sqrt(10) = 1.9
        ([1] * 5, [0.5] * 5, True),  # a tie is half a pair, with a quarter of its variance
        ([1, 0, 1], [1, 0, 1], False),
        ([0] * 9, [1] * 9, False),
    ],
)  # fmt: skip
def test_a_judge_beats_another_by_two_standard_errors_of_the_pairs_they_differ_on(one, other, beats):
    agreed = [1.0] * 50
    assert Judge("x", np.array(one + agreed)).beats(Judge("y", np.array(other + agreed))) is beats


def test_the_judges_by_hand():
    gain = at({0: -1.0, 1: -1.0, 2: 0.0, 3: 0.0})
    found = rehearsal(logps=logps(gain, length=25.0), by_words=at({0: -1.0}))
    # before: -20 and -30 nats, -0.8 and -3 a token; after, rewards of 0.1 times the gain, two wrong and two ties
    assert [(judge.name, judge.right.tolist()) for judge in found.judges] == [
        ("length alone (longer is better, says this set itself)", [1, 0] * 8),
        ("a bag of words alone", [0, *[1] * 15]),
        ("log-probability of the engine tuned on chosen answers", [1] * 16),
        ("log-probability per token of the engine tuned on chosen answers", [1] * 16),
        ("reward of the engine after preference tuning", [0, 0, 0.5, 0.5, *[1] * 12]),
    ]
    assert found.judges[-1].accuracy == 13 / 16
    assert found.margins == pytest.approx(0.1 * gain)


def test_log_probability_is_judged_per_token_too():
    found = rehearsal(logps=logps() | {"chosen_lengths": 5 * ONES})
    assert [judge.accuracy for judge in found.judges[2:4]] == [1.0, 0.0]  # -20 over -30; -4 over -3 a token


@pytest.mark.parametrize(("longer", "word"), [(True, "longer"), (False, "shorter")])
def test_the_direction_of_length_is_told(longer, word):
    length, *_ = rehearsal(longer=longer, by_length=at({0: -1.0})).judges
    assert (length.name, length.accuracy) == (f"length alone ({word} is better, says this set itself)", 15 / 16)


def test_a_model_of_ones_own_is_named_so():
    found = of_ones_own()
    names = ["log-probability of your model", "log-probability per token of your model", "reward of your model"]
    assert [judge.name for judge in found.judges[2:]] == names


def test_without_a_reference_margins_are_per_token_and_no_knob_is_turned():
    found = of_ones_own(logps=without_reference(logps(length=20.0)))
    assert found.margins == pytest.approx(at({}, -19 / 20 + 30 / 10))
    assert len(found.judges) == 4
    assert found.knobs is None
    assert found.to_dict()["knobs"] is None
    assert "Margins, nats per token: 10 % +2.05, median +2.05, 90 % +2.05" in str(found)
    assert "beta would make" not in str(found)


def test_a_method_without_a_reference_has_rewards_without_one():
    method = DPO(simpo_gamma=0.5, dpo_beta=2)
    found = of_ones_own(logps=without_reference(logps()), method=method)
    assert found.margins == pytest.approx(at({}, 2 * (-19 + 30) / 10))
    assert found.knobs.to_dict() == sensitivity(found.logps, method=method).to_dict()


# Pairs that stand out


def test_the_hardest_moved_clearly_the_wrong_way_and_come_worst_first():
    # the root mean square of the moves is sqrt((12 + 0.25 + 9 + 0.01) / 16) = 1.153
    found = rehearsal(trained=logps(at({4: -0.5, 9: -3.0, 11: 0.0, 12: -0.1})))
    assert [(case.place, margin) for case, margin in found.hardest] == [
        ("pairs.jsonl:10", -3.0),
        ("pairs.jsonl:5", -0.5),
    ]


def test_the_hardest_are_those_of_training_and_where_nothing_was_trained_none():
    assert rehearsal(logps=logps(-ONES)).hardest == ()
    assert of_ones_own(logps=logps(-ONES)).hardest == ()


def test_a_move_is_of_both_sides():
    # pair 1: the chosen answer gained a nat, the rejected one three
    trained = logps() | {"policy_rejected_logps": at({0: -27.0}, -30.0)}
    assert [(case.place, margin) for case, margin in rehearsal(trained=trained).hardest] == [("pairs.jsonl:1", -2.0)]


def test_suspicious_is_what_model_and_words_both_speak_against_the_loudest_first():
    gain, words = at({2: -1.0, 5: -2.0, 7: -1.0}), at({2: -1.0, 5: -1.0, 8: -1.0})
    found = rehearsal(logps=logps(gain), by_words=words)
    rms = math.sqrt((15 + 4) / 16)
    assert [case.place for case, _ in found.suspicious] == ["pairs.jsonl:6", "pairs.jsonl:3"]
    assert [score for _, score in found.suspicious] == pytest.approx([-(2 / rms + 1) / 2, -(1 / rms + 1) / 2])


def test_judges_no_better_than_a_coin_make_nothing_suspicious():
    assert rehearsal(by_words=COIN, logps=logps(at({1: -1.0}))).suspicious == ()
    assert rehearsal(by_words=at({1: -1.0}), logps=logps(COIN)).suspicious == ()
    assert len(rehearsal(by_words=at({1: -1.0}), logps=logps(at({1: -1.0}))).suspicious) == 1


def test_of_many_three_are_shown_and_it_is_told_of_how_many():
    found = rehearsal(trained=logps(-5 - np.arange(1.0, N + 1)))
    assert [margin for _, margin in found.hardest] == [-5 - float(number) for number in range(16, 0, -1)]
    assert len(found.to_dict()["hardest"]) == 16
    title, count, *shown = next(part for part in str(found).split("\n\n") if part.startswith("Trained on")).splitlines()
    assert (title, count) == (
        "Trained on, and yet moved the wrong way: the hardest",
        "  (the first 3 of 16; to_dict() and --json have all)",
    )
    assert shown[::4] == [f"  pairs.jsonl:{number}  {-5 - number}.00 nats" for number in (16, 15, 14)]


def test_of_three_all_are_shown_without_a_count():
    found = rehearsal(trained=logps(at({1: -1.0, 2: -1.0, 3: -1.0})))
    assert len(found.hardest) == 3
    assert "the first" not in str(found)


# Knobs


def test_the_knobs_are_turned_on_the_pairs_that_were_trained_on():
    found = rehearsal(trained=logps(at({}, 40.0)))
    assert found.knobs.to_dict() == sensitivity(logps(at({}, 40.0)), method=DPO()).to_dict()
    assert "What other values of beta would make of the pairs as training left them" in str(found)


def test_without_training_the_knobs_are_turned_on_the_callers_own_numbers():
    found = of_ones_own()
    assert found.knobs.to_dict() == sensitivity(logps(), method=DPO()).to_dict()
    assert "What other values of beta would make of these log-probabilities" in str(found)


# A run that diverged


@pytest.fixture(params=[math.nan, math.inf, -math.inf], ids=str)
def diverged(request):
    """Return a rehearsal whose numbers are as a run that diverged leaves them."""
    broken = logps(at({3: request.param, 4: request.param}))
    lost = {"bits": math.nan, "course": (0.7, math.nan, math.inf)}
    return rehearsal(logps=broken, trained=logps(math.nan * ONES), rows=ROWS, dropped={"no rating": 1}, **lost)


def test_a_run_that_diverged_says_so_and_nothing_else(diverged):
    assert diverged.diverged
    assert (diverged.judges, diverged.hardest, diverged.suspicious, diverged.knobs) == ((), (), (), None)
    assert (
        str(diverged)
        == """\
pairs.jsonl: 16 pairs in 1.3 s, each judged by models that saw neither it nor
its prompt (2 folds). Method: DPO, beta 0.1.
Left out: 1 (no rating).

The run diverged: 2 of 16 margins are no finite numbers. Lower the rate, or the
knob that is out of scale."""
    )


def test_a_run_that_diverged_has_no_number_in_json_that_is_none(diverged):
    told = json.loads(json.dumps(diverged.to_dict(), allow_nan=False))
    assert told == {
        "name": "pairs.jsonl",
        "pairs": 16,
        "total": 16,
        "dropped": {"no rating": 1},
        "cut": 0,
        "method": DPO().model_dump(),
        "folds": 2,
        "diverged": True,
        "judges": [],
        "margins": None,
        "course": [0.7, None, None],
        "hardest": [],
        "suspicious": [],
        "knobs": None,
        "bits_per_byte": None,
        "seconds": 1.26,
    }


def test_a_run_that_did_not_is_not_said_to_have():
    assert not rehearsal().diverged
    assert "diverged" not in str(rehearsal())


# Text

ROWS = (
    MetricRow(step=1, split="train", epoch=0.5, loss=0.693, accuracy=0.0),
    MetricRow(step=1, split="eval", epoch=0.5, loss=0.6, accuracy=0.75),
    MetricRow(step=2, split="train", epoch=1.0, loss=0.5, accuracy=1.0),
    MetricRow(step=2, split="eval", epoch=1.0, loss=0.4, accuracy=0.875),
)
WHOLE = """\
pairs.jsonl: 16 pairs of 20 in 1.3 s, each judged by models that saw neither it
nor its prompt (2 folds). Method: DPO, beta 0.1.
Left out: 1,200 (prompt is empty), 1 (no rating).
The budget cut an answer of 2 pairs short.

Who tells chosen from rejected (a coin: 50.0%; ± one standard error)
  length alone (longer is better, says this set itself)            50.0%  ±12.5
  a bag of words alone                                             93.8%  ±6.1
  log-probability of the engine tuned on chosen answers           100.0%  ±3.1
  log-probability per token of the engine tuned on chosen answers 100.0%  ±3.1
  reward of the engine after preference tuning                     93.8%  ±6.1

The log-probability of the engine tuned on chosen answers and a bag of words
alone cannot be told apart on so many pairs (alone right on 1 pair, against 0):
what is learned here may be no more than vocabulary and style.
1 pair with a label that model and words both speak against is worth a look
before a job is paid for.

Margins of unseen pairs, rewards: 10 % +0.10, median +0.10, 90 % +0.10
Loss on unseen pairs while the engines learned (nothing learned: 0.693): 0.600
0.400
Approximate KL to the start: chosen 0.5, rejected 0.0

Trained on, and yet moved the wrong way: the hardest
  pairs.jsonl:3  -0.25 nats
    asked     Q?
    chosen    yes
    rejected  no

Model and words both speak against the label: suspicious (1 is a usual margin)
  pairs.jsonl:2  -1.0
    asked     Q?
    chosen    yes
    rejected  no

What other values of beta would make of the pairs as training left them
KNOBS

What this cannot tell
The engine is a small byte-level model: it needs 2.0 bits for each byte of a
chosen answer that is new to it (8 is knowing nothing). It learns spelling,
words and style, not meaning, facts or reasoning: that it learns a preference
shows how little is needed for it; that it does not shows nothing about a large
model. Its rates are scaled, so steps, KL and the size of margins do not carry
over."""


@pytest.fixture
def whole():
    return rehearsal(
        total=20,
        dropped={"prompt is empty": 1200, "no rating": 1},
        cut=2,
        logps=logps(at({1: -1.0})),
        by_words=at({1: -1.0}),
        trained=logps(at({2: -0.25})),
        course=(0.6, 0.4),
        rows=ROWS,
    )


def test_the_text_holds_each_part(whole):
    assert str(whole) == WHOLE.replace("KNOBS", str(whole.knobs))


def test_parts_without_anything_to_tell_are_left_out():
    titles = ("Left out", "budget", "Loss on unseen", "Approximate KL", "Trained on", "speak against", " of 16")
    assert [title for title in titles if title in str(rehearsal())] == []


@pytest.mark.parametrize(
    "method",
    [
        DPO(),
        DPO(simpo_gamma=0.25, dpo_beta=2.5, rpo_alpha=0.25),
        DPO(dpo_normalize_logratios_by_length=True, dpo_reference_free=True, rpo_alpha=0.125),
    ],
    ids=lambda method: method.label,
)
def test_the_text_fits_80_columns_whatever_is_in_it(method):
    cases = tuple(Case.of(f"一.jsonl:{number}", pair(*["章鱼 " * 90] * 3)) for number in range(N))
    gain = at({1: -1.0})
    found = rehearsal(
        name="a rather long name of a file.jsonl", method=method, cases=cases, course=(12.345,) * 9, cut=9_999,
        dropped={"a reason of some words": 12_345} | {f"reason {number}": 2 for number in range(20)},
        logps=logps(1e4 * gain), by_words=gain, trained=logps(-1e4 * at({0: -1.0})),
    )  # fmt: skip
    assert [line for line in str(found).splitlines() if columns(line) > 80] == []


# What the numbers are said to mean


@pytest.mark.parametrize(("folds", "blind"), [(2, "a model this small"), (0, "your model")])
def test_where_nothing_beats_a_coin_it_is_said_so_and_no_label_is_doubted(folds, blind):
    found = judged(COIN, by_words=COIN, folds=folds)
    assert (
        f"With 16 pairs, nothing that was tried beats a coin. Either the sides differ in what {blind} does not see, "
        "such as meaning or facts, or the labels are noise: judge some pairs yourself, the labels hidden."
    ) in flat(found)
    assert "speak against" not in str(found)


def test_a_model_that_tells_more_than_the_best_shortcut_is_said_so_with_the_pairs_it_alone_gets():
    for changes, shortcut in (({"by_words": COIN}, "length alone"), ({"by_length": -ONES}, "a bag of words alone")):
        found = judged(at({0: -1.0}), **({"by_words": COIN} | changes))
        told = "The log-probability of the engine tuned on chosen answers tells more than"
        assert f"{told} {shortcut} does: alone right on 8 pairs, against 1." in flat(found)


def test_a_shortcut_that_tells_more_than_any_model_is_said_so_with_what_the_pairs_then_teach():
    words, length = judged(COIN), judged(COIN, by_words=COIN, by_length=ONES)
    for found, shortcut, surface in (
        (words, "a bag of words alone", "vocabulary and style"),
        (length, "length alone", "length"),
    ):
        assert (
            f"No model here tells as much as {shortcut} does (the best one: alone right on 0 pairs, against 8). On the "
            f"surface these pairs teach {surface}: if that is not what you want to teach, pair answers that are equal "
            "in it."
        ) in flat(found)


def test_a_model_and_a_shortcut_that_luck_may_part_are_not_told_apart():
    # words are right on one pair more of 16, which is no difference
    found = judged(at({0: -1.0, 1: -1.0}), by_words=at({2: -1.0}))
    assert (
        "The log-probability of the engine tuned on chosen answers and a bag of words alone cannot be told apart on so "
        "many pairs (alone right on 1 pair, against 2): what is learned here may be no more than vocabulary and style."
    ) in flat(found)
    equal = judged(ONES, by_words=COIN, by_length=ONES)
    assert "(alone right on 0 pairs, against 0): what is learned here may be no more than length." in flat(equal)


@pytest.mark.parametrize("seed", range(24))
def test_what_is_said_of_model_and_shortcuts_never_contradicts_the_table(seed):
    dice = random.Random(seed)
    margins = [np.array([1.0 if dice.random() < share else -1.0 for _ in range(N)])
               for share in dice.choices((0.4, 0.6, 0.8, 0.95), k=3)]  # fmt: skip
    found = judged(margins[0], by_words=margins[1], by_length=margins[2])
    model, shortcut = (max(float(np.mean(each > 0)) for each in some) for some in (margins[:1], margins[1:]))
    text, beyond = flat(found), 0.5 + 1 / math.sqrt(N)  # a coin's two standard errors
    said = [
        "nothing that was tried beats a coin" in text,
        "tells more than" in text,
        "No model here tells as much as" in text,
        "cannot be told apart" in text,
    ]
    assert sum(said) == 1
    assert said[0] == (max(model, shortcut) <= beyond)
    assert not said[1] or model > max(shortcut, beyond)
    assert not said[2] or shortcut > max(model, beyond)
    assert ("By length alone" in text) == (np.mean(margins[2] > 0) > beyond)


def test_length_that_tells_is_told_with_what_to_do():
    assert (
        "By length alone 94% are right, which is easy to learn: compare answers' lengths before and after tuning, or "
        "normalise by length."
    ) in flat(rehearsal(by_length=at({0: -1.0})))
    assert "By length alone" not in flat(rehearsal())


@pytest.mark.parametrize(("wrong", "told"), [({1: -1.0}, "1 pair"), ({1: -1.0, 2: -1.0}, "2 pairs")])
def test_suspicious_pairs_are_said_to_be_worth_a_look(wrong, told):
    found = rehearsal(logps=logps(at(wrong)), by_words=at(wrong))
    verb = "is" if told == "1 pair" else "are"
    sentence = f"{told} with a label that model and words both speak against {verb} worth a look before a job is paid"
    assert sentence in flat(found)


# While the engines learned

ABOVE = "It ends above that of nothing learned: what is learned does not carry over."
RISEN = "It has risen again: fewer epochs, or the checkpoint of the best evaluation."


@pytest.mark.parametrize(
    ("course", "method", "told"),
    [
        ((0.65, 0.6), DPO(), []),
        ((0.6, 0.612), DPO(), []),  # within 2 % of the lowest
        ((0.6, 0.613), DPO(), [RISEN]),
        ((0.6, 0.8, 0.5), DPO(), []),
        ((0.6, 0.69), DPO(), [RISEN]),
        ((0.6, 0.694), DPO(), [ABOVE]),
        ((0.9, 0.8), DPO(), [ABOVE]),
        # where nothing learned is not at ln 2, only a rise says something
        ((0.9, 0.8), DPO(rpo_alpha=0.5), []),
        ((0.8, 0.9), DPO(rpo_alpha=0.5), [RISEN]),
        ((0.9, 0.8), DPO(dpo_reference_free=True), []),
        ((1.6, 1.9), DPO(simpo_gamma=0.5, dpo_beta=2), [RISEN]),
    ],
    ids=str,
)
def test_a_loss_on_unseen_pairs_that_does_not_stay_down_is_told(course, method, told):
    text = flat(rehearsal(course=course, method=method))
    assert [sentence for sentence in (ABOVE, RISEN) if sentence in text] == told
    assert ("(nothing learned: 0.693)" in text) == (method == DPO())
    assert ": " + " ".join(f"{loss:.3f}" for loss in course) in text


def test_answers_that_the_budget_cut_are_told():
    assert "The budget cut an answer of 1 pair short." in str(rehearsal(cut=1))
    assert "The budget cut an answer of 1,200 pairs short." in str(rehearsal(cut=1200))


# A model of one's own


def test_a_model_of_ones_own_is_told_what_was_not_done():
    found = of_ones_own()
    assert flat(found).startswith(
        "pairs.jsonl: 16 pairs in 1.3 s, judged by your model; nothing was trained. Method: DPO, beta 0.1."
    )
    assert "What training would do: your model was asked once" in flat(found)
    assert "Margins, rewards: 10 % +0.10" in str(found)


# Plain values, HTML


def test_to_dict_is_json_of_everything_but_the_arrays(whole):
    told = json.loads(json.dumps(whole.to_dict(), allow_nan=False))
    judges, knobs = told.pop("judges"), told.pop("knobs")
    assert told == {
        "name": "pairs.jsonl",
        "pairs": 16,
        "total": 20,
        "dropped": {"prompt is empty": 1200, "no rating": 1},
        "cut": 2,
        "method": DPO().model_dump(),
        "folds": 2,
        "diverged": False,
        "margins": {"p10": pytest.approx(0.1), "median": pytest.approx(0.1), "p90": pytest.approx(0.1)},
        "course": [0.6, 0.4],
        "hardest": [{"place": "pairs.jsonl:3", "prompt": "Q?", "chosen": "yes", "rejected": "no", "margin": -0.25}],
        "suspicious": [{"place": "pairs.jsonl:2", "prompt": "Q?", "chosen": "yes", "rejected": "no", "score": -1.0}],
        "bits_per_byte": 2.04,
        "seconds": 1.26,
    }
    assert judges[1] == {
        "name": "a bag of words alone",
        "accuracy": 15 / 16,
        "pairs": 16,
        "error": pytest.approx(0.0605, abs=1e-4),
    }
    assert knobs == whole.knobs.to_dict()


def test_html_is_two_pictures_and_the_text_escaped(whole):
    page = rehearsal(rows=ROWS, name="<b>&.jsonl")._repr_html_()
    assert page.count("<svg") == page.count("</svg>") == 2
    assert ">loss</text>" in page
    assert ">reward accuracy</text>" in page
    assert "&lt;b&gt;&amp;.jsonl: 16 pairs" in page
    assert "<b>" not in page


def test_html_without_rows_has_no_picture():
    page = rehearsal()._repr_html_()
    assert page.startswith("<div></div><pre>pairs.jsonl: 16 pairs")
