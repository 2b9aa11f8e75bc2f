import json
import math
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
        "method": DPO(),
        "folds": 2,
        "cases": tuple(Case(f"pairs.jsonl:{number}", "Q?", "yes", "no") for number in range(1, N + 1)),
        "logps": logps(),
        "by_length": np.tile([1.0, -1.0], N // 2),
        "by_words": ONES,
        "fitted": ONES,
        "bits": 2.04,
        "rows": (),
        "seconds": 1.26,
    }
    return Rehearsal(**(given | changes))


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


def test_the_error_of_a_judge_is_the_binomial_one_and_never_nothing():
    assert Judge("x", 0.8, 100).error == pytest.approx(math.sqrt(0.8 * 0.2 / 100))
    assert Judge("x", 1.0, 100).error == pytest.approx(0.005)


def test_better_than_chance_is_two_standard_errors_of_a_coin():
    assert not Judge("x", 0.6, 100).better_than_chance
    assert Judge("x", 0.61, 100).better_than_chance
    assert not Judge("x", 0.61, 36).better_than_chance


def test_the_judges_by_hand():
    gain = at({0: -1.0, 1: -1.0, 2: 0.0, 3: 0.0})
    found = rehearsal(logps=logps(gain, length=25.0), by_words=at({0: -1.0}))
    # before: -20 and -30 nats, -0.8 and -3 a token; after, rewards of 0.1 times the gain, two wrong and two ties
    assert [(judge.name, judge.accuracy, judge.pairs) for judge in found.judges] == [
        ("length alone (the longer answer)", 0.5, N),
        ("a bag of words alone", 15 / 16, N),
        ("log-probability of the engine tuned on chosen answers", 1.0, N),
        ("log-probability per token of the engine tuned on chosen answers", 1.0, N),
        ("reward of the engine after preference tuning", 13 / 16, N),
    ]
    assert found.margins == pytest.approx(0.1 * gain)


def test_log_probability_is_judged_per_token_too():
    found = rehearsal(logps=logps() | {"chosen_lengths": 5 * ONES})
    assert [judge.accuracy for judge in found.judges[2:4]] == [1.0, 0.0]  # -20 over -30; -4 over -3 a token


def test_the_direction_of_length_is_told():
    longer = logps() | {"chosen_lengths": at({0: 9.0}, 12.0)}
    shorter = logps() | {"chosen_lengths": at({0: 12.0}, 9.0)}
    for given, name in ((longer, "longer"), (shorter, "shorter")):
        found = rehearsal(logps=given, by_length=at({0: -1.0}))
        assert found.judges[0] == Judge(f"length alone (the {name} answer)", 15 / 16, N)


def test_a_model_of_ones_own_is_named_so():
    found = rehearsal(folds=0, fitted=None, bits=None)
    names = ["log-probability of your model", "log-probability per token of your model", "reward of your model"]
    assert [judge.name for judge in found.judges[2:]] == names


def test_without_a_reference_margins_are_per_token_and_no_knob_is_turned():
    found = rehearsal(folds=0, fitted=None, bits=None, logps=without_reference(logps(length=20.0)))
    assert found.margins == pytest.approx(at({}, -19 / 20 + 30 / 10))
    assert len(found.judges) == 4
    assert found.knobs is None
    assert found.to_dict()["knobs"] is None
    assert "Margins, nats per token: 10 % +2.05, median +2.05, 90 % +2.05" in str(found)
    assert "beta would make" not in str(found)


def test_a_method_without_a_reference_has_rewards_without_one():
    method = DPO(simpo_gamma=0.5, dpo_beta=2)
    found = rehearsal(folds=0, logps=without_reference(logps()), method=method)
    assert found.margins == pytest.approx(at({}, 2 * (-19 + 30) / 10))
    assert found.knobs.to_dict() == sensitivity(found.logps, method=method).to_dict()


# Pairs that stand out


def test_the_hardest_moved_the_wrong_way_and_come_worst_first():
    found = rehearsal(fitted=at({4: -0.5, 9: -3.0, 11: 0.0}))
    assert [(case.place, margin) for case, margin in found.hardest] == [
        ("pairs.jsonl:10", -3.0),
        ("pairs.jsonl:5", -0.5),
    ]
    assert rehearsal(fitted=None).hardest == ()


def test_suspicious_is_what_model_and_words_both_speak_against_the_loudest_first():
    gain, words = at({2: -1.0, 5: -2.0, 7: -1.0}), at({2: -1.0, 5: -1.0, 8: -1.0})
    found = rehearsal(logps=logps(gain), by_words=words)
    rms = math.sqrt((15 + 4) / 16)
    assert [case.place for case, _ in found.suspicious] == ["pairs.jsonl:6", "pairs.jsonl:3"]
    assert [score for _, score in found.suspicious] == pytest.approx([-(2 / rms + 1) / 2, -(1 / rms + 1) / 2])


def test_judges_no_better_than_a_coin_make_nothing_suspicious():
    coin = np.tile([1.0, -1.0], N // 2)
    assert rehearsal(by_words=coin, logps=logps(at({1: -1.0}))).suspicious == ()
    assert rehearsal(by_words=at({1: -1.0}), logps=logps(coin)).suspicious == ()
    assert len(rehearsal(by_words=at({1: -1.0}), logps=logps(at({1: -1.0}))).suspicious) == 1


def test_of_many_ten_are_kept_and_three_are_shown():
    found = rehearsal(fitted=-np.arange(1.0, N + 1))
    assert [margin for _, margin in found.hardest] == [-float(number) for number in range(16, 6, -1)]
    assert [line for line in str(found).splitlines() if line.endswith(" nats")] == [
        f"  pairs.jsonl:{number}  -{number}.00 nats" for number in (16, 15, 14)
    ]


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

Who tells chosen from rejected (a coin: 50.0%; ± one standard error)
  length alone (the longer answer)                                 50.0%  ±12.5
  a bag of words alone                                             93.8%  ±6.1
  log-probability of the engine tuned on chosen answers           100.0%  ±3.1
  log-probability per token of the engine tuned on chosen answers 100.0%  ±3.1
  reward of the engine after preference tuning                     93.8%  ±6.1

Log-probability of the engine tuned on chosen answers tells more than length
and words do (with 16 pairs, differences below 6.2 points are noise).
Model and words both speak against the label of the pairs below. A few wrong
labels in a hundred are common; to read 1 pair costs less than a job.

Margins of unseen pairs, rewards: 10 % +0.10, median +0.10, 90 % +0.10
Loss on unseen pairs while the first fold learned (nothing learned: 0.693):
0.600 0.400
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

What other values of beta would make of these log-probabilities, held fixed
KNOBS

What this cannot tell
The engine is a small byte-level model: it needs 2.0 bits for each byte of a
chosen answer that is new to it (8 is knowing nothing). It learns spelling,
words and style, not meaning, facts or reasoning. A preference that it learns,
a large model most likely learns too; one it does not, a large one may. Its
rates are scaled, so steps, KL and the size of margins do not carry over: read
the order of the pairs and what beats the shortcuts."""


@pytest.fixture
def whole():
    return rehearsal(
        total=20,
        dropped={"prompt is empty": 1200, "no rating": 1},
        logps=logps(at({1: -1.0})),
        by_words=at({1: -1.0}),
        fitted=at({2: -0.25}),
        rows=ROWS,
    )


def test_the_text_holds_each_part(whole):
    assert str(whole) == WHOLE.replace("KNOBS", str(whole.knobs))


def test_a_loss_with_a_likelihood_term_is_not_held_against_one_without():
    found = rehearsal(rows=ROWS, method=DPO(rpo_alpha=0.5))
    assert "(nothing learned: 0.693, plus the likelihood term): 0.600 0.400" in flat(found)


def test_parts_without_anything_to_tell_are_left_out():
    titles = ("Left out", "Loss on unseen", "Trained on", "speak against", " of 16")
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
        name="a rather long name of a file.jsonl", method=method, cases=cases, rows=ROWS * 9,
        dropped={"a reason of some words": 12_345} | {f"reason {number}": 2 for number in range(20)},
        logps=logps(1e4 * gain), by_words=gain, fitted=1e4 * gain,
    )  # fmt: skip
    assert [line for line in str(found).splitlines() if columns(line) > 80] == []


def test_nothing_that_beats_a_coin_is_said_so_and_no_label_is_doubted():
    coin = np.tile([1.0, -1.0], N // 2)
    same = logps(coin) | {"reference_rejected_logps": -20 - coin, "policy_rejected_logps": -20 - coin}
    told = "Nothing that was tried beats a coin (with 16 pairs, differences below 25.0 points are noise)."
    for folds, blind in ((2, "a model as small"), (0, "your model")):
        found = rehearsal(logps=same, by_words=coin, folds=folds, bits=2.0)
        assert told in flat(found)
        assert f"differ in what {blind} does not see" in flat(found)
        assert "speak against" not in str(found)


def test_words_that_do_as_well_as_the_model_are_said_so():
    coin = {"reference_chosen_logps": -30 + np.tile([1.0, -1.0], N // 2)}
    found = rehearsal(logps=logps(at({1: -1.0})) | coin)
    assert "A bag of words alone does as well as the model" in flat(found)
    assert "Length alone gets" not in flat(found)


def test_length_that_tells_is_told_with_what_to_do():
    found = rehearsal(by_length=at({0: -1.0}), logps=logps() | {"chosen_lengths": at({}, 12.0)})
    assert "Length alone gets 94% right. A tuned model learns such a habit first" in flat(found)


def test_a_model_of_ones_own_is_told_what_was_not_done():
    found = rehearsal(folds=0, fitted=None, bits=None)
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
        "method": DPO().model_dump(),
        "folds": 2,
        "margins": {"p10": pytest.approx(0.1), "median": pytest.approx(0.1), "p90": pytest.approx(0.1)},
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
