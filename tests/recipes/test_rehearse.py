import json
import os
import random
import re

import numpy as np
import pytest

import preftune as pt
from preftune.errors import ConfigError, DataError
from preftune.local.engine.encode import END
from preftune.pairs import PreferencePair
from preftune.recipes import folds as module
from preftune.recipes.folds import Fold

WORDS = ("red", "blue", "green", "plain", "round", "small", "large", "quick", "warm", "cold", "bright", "dark")


def row(number, chosen="Sure, take shelf {}.", rejected="Well, that shelf {}."):
    """Return a row whose sides have marks of their own and one length."""
    return {"prompt": f"Where is {number}?", "chosen": chosen.format(number), "rejected": rejected.format(number)}


def marked(count, flipped=()):
    """Return rows of marked sides, some with their labels exchanged."""
    rows = [row(number) for number in range(10, 10 + count)]
    for at in flipped:
        rows[at] |= {"chosen": rows[at]["rejected"], "rejected": rows[at]["chosen"]}
    return rows


def at_random(count):
    """Return rows whose sides differ in nothing but chance."""
    dice = random.Random(5)
    said = [" ".join(dice.choices(WORDS, k=6)) for _ in range(2 * count)]
    return [row(number, said[2 * number], said[2 * number + 1]) for number in range(count)]


def pair(row):
    messages = ({"role": "assistant", "content": row[side]} for side in ("chosen", "rejected"))
    return PreferencePair([{"role": "user", "content": row["prompt"]}], *messages)


def refuses(message, error=DataError):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


def flat(found):
    return " ".join(str(found).split())


@pytest.fixture
def in_process(monkeypatch):
    """Run the folds in this process, which is quicker for a few pairs."""
    monkeypatch.setattr(module, "startable", lambda: False)


@pytest.fixture
def folds(monkeypatch, in_process):
    """Return the arguments of each fold that is run, and run none."""
    given = []

    def run_fold(seen, unseen, sft, dpo):
        given.append((seen, unseen, sft, dpo))
        return Fold(np.zeros((2, len(unseen), 2)), np.zeros((2, len(seen), 2)), [])

    monkeypatch.setattr(module, "run_fold", run_fold)
    return given


# Who judges


def said(encoded):
    """Return the chosen answers of encoded pairs."""
    return [bytes(byte for byte in each.chosen.targets if byte != END).decode() for each in encoded]


def test_every_pair_is_judged_once_by_a_model_that_saw_neither_it_nor_its_prompt(folds):
    rows = [row(number, f"{number} {again}") for number in range(11) for again in range(1 + number % 3)]
    asked = {each["chosen"]: each["prompt"] for each in rows}
    pt.rehearse(rows, folds=3)
    judged = []
    for seen, unseen, *_ in folds:
        learned, held_out = said(seen), said(unseen)
        assert sorted(learned + held_out) == sorted(asked)
        assert {asked[each] for each in learned} & {asked[each] for each in held_out} == set()
        judged += held_out
    assert sorted(judged) == sorted(asked)


def test_prompts_that_differ_in_spaces_or_case_are_one(folds):
    ways = ("Where is {}?", " where  IS\t{}? ", "WHERE IS {}?")
    rows = [row(number) | {"prompt": way.format(number)} for number in range(8) for way in ways]
    pt.rehearse(rows, folds=2)
    for _, unseen, *_ in folds:
        assert len(unseen) == 12
        assert sorted(said(unseen)) == sorted(3 * list(dict.fromkeys(said(unseen))))


def test_a_pair_that_stands_twice_but_for_a_space_is_not_known_by_its_words(folds):
    dice = random.Random(5)  # words enough that a pair is known by its own alone
    soup = [" ".join(f"w{dice.randrange(2000)}" for _ in range(6)) for _ in range(600)]
    once = [row(number, soup[2 * number], soup[2 * number + 1]) for number in range(300)]
    again = [each | {"prompt": each["prompt"] + " "} for each in once]
    words = pt.rehearse([*once, *again], folds=2).judges[1]
    assert 0.4 < words.accuracy < 0.6


def test_what_the_folds_say_stands_with_its_pair(monkeypatch, in_process):
    called = []

    def run_fold(seen, unseen, sft, dpo):
        called.append(None)
        said_of = [np.array([[float(text), -float(text)] for text in said(some)]) for some in (unseen, seen)]
        unseen_now, seen_now = said_of
        return Fold(np.stack([unseen_now - 100, unseen_now]), np.stack([seen_now, len(called) * seen_now]), [])

    monkeypatch.setattr(module, "run_fold", run_fold)
    found = pt.rehearse([row(number, f"{number}") for number in range(12)], folds=3)
    numbers = np.arange(12.0)
    lengths = {
        "chosen_lengths": [len(f"{number}") + 1.0 for number in range(12)],  # an end mark each
        "rejected_lengths": [len(f"Well, that shelf {number}.") + 1.0 for number in range(12)],
    }
    assert (
        listed(found.logps)
        == {
            "policy_chosen_logps": numbers.tolist(),
            "policy_rejected_logps": (-numbers).tolist(),
            "reference_chosen_logps": (numbers - 100).tolist(),
            "reference_rejected_logps": (-numbers - 100).tolist(),
        }
        | lengths
    )
    after = found.trained["policy_chosen_logps"]
    # the mean of the two folds of three that trained on it: 1 and 2, 1 and 3, or 2 and 3 times the number
    assert set((after[1:] / numbers[1:]).tolist()) == {1.5, 2.0, 2.5}
    assert (
        listed(found.trained)
        == {
            "policy_chosen_logps": after.tolist(),
            "policy_rejected_logps": (-after).tolist(),
            "reference_chosen_logps": numbers.tolist(),
            "reference_rejected_logps": (-numbers).tolist(),
        }
        | lengths
    )
    assert found.bits == pytest.approx((1200 - 66) / 26 / np.log(2))  # -(0 + … + 11 - 1200) nats in 14 + 12 bytes


def listed(arrays):
    return {name: array.tolist() for name, array in arrays.items()}


def same(found):
    """Return the numbers of a rehearsal."""
    rows = [each.to_dict() if hasattr(each, "to_dict") else repr(each) for each in found.rows]
    return listed(found.logps), listed(found.trained), found.by_words.tolist(), found.bits, found.course, rows


def test_the_numbers_are_the_same_with_any_number_of_workers_and_on_a_second_call():
    rows, told = marked(12), []
    first = pt.rehearse(rows, folds=2, workers=1, progress=lambda *done: told.append(done))
    assert same(pt.rehearse(rows, folds=2, workers=2)) == same(first)
    assert told == [(1, 2), (2, 2)]


def test_a_second_call_gives_the_same_numbers_here_too(in_process):
    assert same(pt.rehearse(marked(12), folds=2)) == same(pt.rehearse(iter(marked(12)), folds=2))


# What is found


def test_a_mark_of_the_chosen_side_is_learned_by_engine_and_words(in_process):
    found = pt.rehearse(marked(16), folds=2)
    _, words, *_, reward = found.judges
    assert (words.accuracy, reward.accuracy) == (1.0, 1.0)
    assert (found.hardest, found.suspicious) == ((), ())
    assert len(found.course) == 3  # one look for each step there is
    assert found.course[-1] < found.course[0] < found.method.baseline
    assert [each.split for each in found.rows].count("eval") == 3
    assert (found.cut, found.dropped, found.diverged) == (0, {}, False)
    assert 0 < found.bits < 8


def test_random_labels_are_not_learned_and_it_is_said_so(in_process):
    found = pt.rehearse(at_random(64), folds=2)
    for judge in found.judges:
        assert 0.35 < judge.accuracy < 0.65
    assert "nothing that was tried beats a coin" in flat(found)
    assert found.suspicious == ()


@pytest.mark.parametrize("habit", ["longer", "shorter"])
def test_length_alone_is_found_with_its_direction(in_process, habit):
    rows = at_random(16)
    for number, each in enumerate(rows):
        each["chosen" if habit == "longer" else "rejected"] += " " + " ".join(WORDS[number % 3 :])
    found = pt.rehearse(rows, folds=2)
    assert (found.longer, found.judges[0].accuracy) == (habit == "longer", 1.0)
    assert found.judges[0].name == f"length alone ({habit} is better, says this set itself)"
    assert "By length alone 100% are right" in flat(found)


@pytest.mark.parametrize(
    ("name", "written", "places"),
    [
        ("pairs.jsonl", "\n".join, ["pairs.jsonl:4", "pairs.jsonl:16"]),
        ("pairs.json", lambda rows: f"[{','.join(rows)}]", ["pairs.json: row 4", "pairs.json: row 16"]),
    ],
)
def test_flipped_labels_in_a_set_that_is_learned_are_suspicious_by_their_place(
    in_process, tmp_path, name, written, places
):
    (tmp_path / name).write_text(written(map(json.dumps, marked(24, flipped=(3, 15)))))
    found = pt.rehearse(tmp_path / name, folds=2)
    assert sorted((case.place for case, _ in found.suspicious), key=len) == places
    assert {case.chosen[:5] for case, _ in found.suspicious} == {"Well,"}
    scores = [score for _, score in found.suspicious]
    assert scores == sorted(scores)
    assert scores[-1] < 0


def test_a_run_that_diverges_says_so_and_nothing_else(in_process):
    found = pt.rehearse(marked(12), pt.DPO(dpo_beta=1e308), folds=2)
    head, *more = str(found).split("\n\n")
    assert head.startswith("the rows: 12 pairs in ")
    assert [" ".join(part.split()) for part in more] == [
        "The run diverged: 12 of 12 margins are no finite numbers. Lower the rate, or the knob that is out of scale."
    ]
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["diverged"]
    assert found._repr_html_().endswith("out of scale.</pre>")


def test_the_hardest_are_negative_and_in_order(in_process):
    found = pt.rehearse(marked(24, flipped=(3, 15)), {"n_epochs": 1}, folds=2)
    margins = [margin for _, margin in found.hardest]
    assert {case.place for case, _ in found.hardest} == {"row 4", "row 16"}
    assert margins == sorted(margins)
    assert margins[-1] < 0


@pytest.mark.parametrize(
    "method",
    [
        pt.DPO(simpo_gamma=0.5, dpo_beta=2),
        pt.DPO(dpo_normalize_logratios_by_length=True, dpo_beta=5),
        pt.DPO(rpo_alpha=0.5),
        pt.DPO(dpo_reference_free=True),
    ],
    ids=lambda method: method.label,
)
def test_every_method_is_rehearsed(in_process, method):
    found = pt.rehearse(marked(16), method, folds=2)
    assert found.method == method
    assert found.judges[-1].accuracy == 1.0
    assert f"Method: {method.label}." in flat(found)
    assert {each.method.simpo_gamma for each in found.knobs.settings} == {method.simpo_gamma}


def test_text_of_any_script_is_rehearsed(in_process):
    rows = [row(number, "当然在第{}层架子上。", "也许吧谁知道{}呢。") for number in range(12)]
    found = pt.rehearse(rows, folds=2)
    assert found.judges[-1].accuracy == 1.0
    assert found.cases[3].chosen == "当然在第3层架子上。"
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["pairs"] == 12


def test_a_rehearsal_of_the_engine_draws_its_curves(in_process):
    assert pt.rehearse(marked(12), folds=2)._repr_html_().count("<svg") == 2


# Configurations


@pytest.mark.parametrize(
    "config",
    [
        {"n_epochs": 5, "dpo_beta": 0.3, "learning_rate": 1e-4},
        {"n_epochs": 5, "training_method": pt.DPO(dpo_beta=0.3), "learning_rate": 1e-4, "training_file": "file-1"},
        pt.JobConfig(model="m", n_epochs=5, training_method=pt.DPO(dpo_beta=0.3), learning_rate=1e-4),
    ],
    ids=["knobs", "a method", "JobConfig"],
)
def test_what_a_configuration_says_is_kept_and_the_rest_is_filled(folds, config):
    assert pt.rehearse(marked(8), config, sft={"n_epochs": 1}, folds=2).method == pt.DPO(dpo_beta=0.3)
    for _, _, sft, dpo in folds:
        assert (dpo.training_method, dpo.n_epochs, dpo.batch_size) == (pt.DPO(dpo_beta=0.3), 5, 8)
        assert dpo.learning_rate == 1e-4
        assert (sft.n_epochs, sft.batch_size, sft.training_type) == (1, 4, pt.FullFineTuning())


@pytest.mark.parametrize("config", [None, pt.DPO(dpo_beta=0.3)], ids=["None", "DPO"])
def test_what_is_not_said_is_chosen_for_the_engine(folds, config):
    pt.rehearse(marked(8), config, folds=2)
    for _, _, sft, dpo in folds:
        assert dpo.training_method == (config or pt.DPO())
        assert (dpo.n_epochs, dpo.batch_size) == (3, 8)
        assert (sft.n_epochs, sft.batch_size, sft.training_type) == (3, 4, pt.FullFineTuning())


def test_what_is_unwise_about_the_knobs_is_no_warning(folds):
    assert pt.rehearse(marked(8), {"dpo_beta": 50}, folds=2).method.dpo_beta == 50


def test_configurations_that_are_none_or_of_the_other_kind_are_refused():
    sentence = "dpo: expected a preference configuration, found training_method 'sft'; put it into sft="
    with refuses(sentence, ConfigError):
        pt.rehearse(marked(8), {"training_method": "sft"})
    with refuses("dpo: training_method.dpo_beta: must be greater than 0, found -1.0", ConfigError):
        pt.rehearse(marked(8), {"dpo_beta": -1})
    sentence = "sft: expected a supervised configuration, found training_method 'dpo'; put it into dpo="
    with refuses(sentence, ConfigError):
        pt.rehearse(marked(8), sft={"training_method": "dpo"})


def test_a_configuration_of_a_wrong_type_is_refused():
    with refuses("dpo: expected a JobConfig or its fields, found str; name the fields", ConfigError):
        pt.rehearse(marked(8), "dpo")
    with refuses("sft: expected a JobConfig or its fields, found DPO; name the fields", ConfigError):
        pt.rehearse(marked(8), sft=pt.DPO())


# A model of one's own


def by_mark(asked):
    """Return -1 nat for each word, and 9 more for those without the mark."""
    return [(-len(a["content"].split()) - 9 * (not a["content"].startswith("Sure")), 10) for _, a in asked]


def test_a_model_of_ones_own_is_asked_for_both_answers_and_nothing_is_trained(folds):
    asked = []

    def score(conversations):
        asked.extend(conversations)
        return by_mark(conversations)

    pairs = list(map(pair, marked(8)))
    found = pt.rehearse(pairs, score=score, folds=2)
    assert asked == [(each.prompt, answer) for each in pairs for answer in (each.chosen, each.rejected)]
    assert folds == []
    assert (found.folds, found.trained, found.bits, found.rows, found.course) == (0, None, None, (), ())
    assert found.margins == pytest.approx(np.full(8, 9 / 10))  # four words a side, ten tokens
    assert found.knobs is None
    assert listed(found.logps) == {
        "policy_chosen_logps": [-4.0] * 8,
        "policy_rejected_logps": [-13.0] * 8,
        "chosen_lengths": [10.0] * 8,
        "rejected_lengths": [10.0] * 8,
    }
    assert [case.place for case in found.cases[:2]] == ["pair 1", "pair 2"]
    assert str(found).startswith("the pairs: 8 pairs in ")


def test_with_a_reference_there_are_rewards_and_knobs():
    found = pt.rehearse(
        marked(8), pt.DPO(dpo_beta=0.2), score=by_mark, reference=lambda asked: [(-1.0, 10)] * len(asked)
    )
    assert found.margins == pytest.approx(np.full(8, 0.2 * 9))
    assert found.knobs.settings[0].accuracy == 1.0
    assert found.judges[-1].name == "reward of your model"


EXPECTED = "expected a log-probability and a number of tokens for each of 16 answers"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ([(-1.0, 3)], "found an array of shape (1, 2)"),
        ([(-1.0, 3, 4)] * 16, "found an array of shape (16, 3)"),
        ([], "found an array of shape (0,)"),
        ([-1.0] * 16, "found something else ('float' object is not iterable)"),
        (None, "found something else ('NoneType' object is not iterable)"),
        ([("much", 3)] * 16, "found something else (could not convert string to float: 'much')"),
    ],
)
def test_an_answer_of_another_shape_is_refused(answer, told):
    with refuses(f"score: {EXPECTED}, {told}; return one pair of numbers each"):
        pt.rehearse(marked(8), score=lambda _: answer, folds=2)
    with refuses(f"reference: {EXPECTED}, {told}; return one pair of numbers each"):
        pt.rehearse(marked(8), score=by_mark, reference=lambda _: answer, folds=2)


def test_an_error_of_the_callers_own_function_is_raised_as_it_is():
    def score(_):
        raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        pt.rehearse(marked(8), score=score, folds=2)


@pytest.mark.parametrize(
    ("at", "side", "answer", "told"),
    [
        (4, "chosen", (float("nan"), 3), "nan and 3"),
        (5, "rejected", (float("-inf"), 3), "-inf and 3"),
        (4, "chosen", (-1.0, 0), "-1 and 0"),
        (5, "rejected", (-1.0, float("nan")), "-1 and nan"),
    ],
)
def test_an_answer_that_cannot_be_compared_is_told_with_its_pair(at, side, answer, told):
    answers = [(-1.0, 3)] * 16
    answers[at] = answer
    expected = f"expected score to return a finite number and at least one token for the {side} answer"
    with refuses(f"row 3: {expected}, found {told}; leave such pairs out"):
        pt.rehearse(marked(8), score=lambda _: answers, folds=2)


def test_a_reference_alone_is_refused():
    with refuses("reference: expected score= beside it, found none; the engine has its own reference"):
        pt.rehearse(marked(8), reference=by_mark)


# What is read


def asked_of(data, **options):
    """Return the prompts of the pairs that were taken."""
    return [case.prompt for case in pt.rehearse(data, score=by_mark, folds=2, **options).cases]


def test_of_a_larger_set_so_many_are_taken_by_their_prompts_in_their_order():
    rows = marked(40)
    taken = asked_of(rows, pairs=12)
    assert len(taken) == 12
    assert taken == [each["prompt"] for each in rows if each["prompt"] in taken]
    assert taken != [each["prompt"] for each in rows[:12]]
    other = [each | {"chosen": "Sure."} for each in reversed(rows)]
    assert asked_of(other, pairs=12) == taken[::-1]
    assert set(taken) < set(asked_of(rows, pairs=20))


def test_prompts_are_taken_whole_but_for_the_last():
    rows = [row(number // 2, f"{number}") for number in range(40)]
    counts = [taken.count(prompt) for taken in [asked_of(rows, pairs=15)] for prompt in dict.fromkeys(taken)]
    assert sorted(counts) == [1, *[2] * 7]


def test_the_total_is_told():
    found = pt.rehearse(marked(20), score=by_mark, pairs=12)
    assert (len(found.cases), found.total) == (12, 20)
    assert "the rows: 12 pairs of 20 in" in str(found)


def test_rows_that_make_no_pair_are_left_out_and_counted(tmp_path):
    lines = [*map(json.dumps, marked(8)), "{broken", json.dumps(row(1) | {"chosen": 7})]
    (tmp_path / "pairs.jsonl").write_text("\n".join([*lines[:3], *lines[8:], *lines[3:8]]))
    found = pt.rehearse(tmp_path / "pairs.jsonl", score=by_mark, folds=2)
    assert (len(found.cases), sum(found.dropped.values())) == (8, 2)
    assert [case.place for case in found.cases[2:4]] == ["pairs.jsonl:3", "pairs.jsonl:6"]
    assert f"1 ({UNFIT})." in flat(found)


def test_pairs_come_from_any_iterable_and_from_a_path_as_text(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, marked(8))))
    prompts = [each["prompt"] for each in marked(8)]
    for data in (
        marked(8),
        iter(marked(8)),
        tuple(marked(8)),
        map(pair, marked(8)),
        os.fspath(tmp_path / "pairs.jsonl"),
    ):
        assert asked_of(data) == prompts


def test_rows_of_a_library_are_read_as_convert_reads_them():
    rows = type("Dataset", (list,), {"__module__": "datasets"})(each | {"system": None} for each in marked(8))
    assert len(asked_of(rows)) == 8


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ([], {}, "the rows: expected preference rows, found none; write one JSON object a line"),
        (7, {}, "the source: expected a path or rows, found int; pass a path, or a list of rows"),
        ({"train": []}, {}, "the source: expected a path or rows, found a mapping of train; pass one of its values"),
        (b"pairs.jsonl", {}, "the source: expected a path or rows, found bytes; pass a path, or a list of rows"),
        (marked(8), {"pairs": 0}, "pairs=0: expected at least 1; leave it out for 1,000"),
        (marked(8), {"workers": 0}, "workers=0: expected at least 1; leave it out for one a core"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(data, options, message):
    with refuses(message):
        pt.rehearse(data, **options)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    path = tmp_path / "pairs.jsonl"
    with refuses(f"{path}: expected a file, found nothing there; check the spelling and the current folder"):
        pt.rehearse(path)


FEW = "expected at least 2 folds and twice as many different prompts, found"
UNFIT = "chosen is a number; expected a message"


@pytest.mark.parametrize(
    ("rows", "folds", "found"),
    [
        (marked(8), 5, "8 prompts for 5 folds"),
        ([row(1, f"{number}") for number in range(20)], 2, "1 prompt for 2 folds"),
        (marked(8), 1, "8 prompts for 1 fold"),
        (marked(8), 0, "8 prompts for 0 folds"),
        ([*marked(3), row(1) | {"chosen": 7}], 2, f"3 prompts for 2 folds, 1 left out ({UNFIT})"),
    ],
)  # fmt: skip
def test_too_little_to_hold_some_of_it_out_is_refused(rows, folds, found):
    with refuses(f"the rows: {FEW} {found}; take more pairs or fewer folds"):
        pt.rehearse(rows, folds=folds)


def test_the_fewest_prompts_are_two_a_fold(folds):
    pt.rehearse(marked(4), folds=2)
    assert [(len(seen), len(unseen)) for seen, unseen, *_ in folds] == [(2, 2), (2, 2)]


def test_a_choice_that_the_data_leaves_is_to_be_made_by_converting():
    answers = {"prompt": "p", "response_0": "a", "response_1": "b", "better_response_id": 0, "safer_response_id": 1}
    sentence = "expected one label, found several in rows of pku; convert it first, with label='better' or 'safer'"
    with refuses(f"the rows: {sentence}"):
        pt.rehearse([answers] * 8)


NO_ANSWER = "the budget leaves no answer behind the prompt"


def long_ones():
    """Return rows of 36 bytes, but for one whose prompt alone has more than 64, and one whose answer is cut to fit."""
    rows = marked(9)
    rows[4]["prompt"] = "a long way to ask " * 4
    rows[6]["rejected"] += " And so on." * 4
    return rows


def test_a_pair_whose_answer_the_budget_cuts_away_is_left_out_and_what_it_cuts_is_counted(folds):
    found = pt.rehearse(long_ones(), {"max_seq_length": 64}, folds=2)
    assert (len(found.cases), found.total, found.dropped, found.cut) == (8, 9, {NO_ANSWER: 1}, 1)
    assert [case.place for case in found.cases[3:5]] == ["row 4", "row 6"]
    assert sorted(len(seen) + len(unseen) for seen, unseen, *_ in folds) == [8, 8]
    assert f"Left out: 1 ({NO_ANSWER}). The budget cut an answer of 1 pair short." in flat(found)
    at_most = 64 - len("\x01u\x02Where is 16?")
    assert max(each.rejected.targets.size for each in folds[0][0] + folds[0][1]) == at_most


def test_a_budget_that_nothing_fits_in_is_told_with_how_many_it_left_out():
    with refuses(f"the rows: {FEW} 0 prompts for 2 folds, 8 left out ({NO_ANSWER}); take more pairs or fewer folds"):
        pt.rehearse(marked(8), {"max_seq_length": 8}, folds=2)


def test_the_budget_of_the_engine_is_none_of_a_model_of_ones_own():
    found = pt.rehearse(long_ones(), {"max_seq_length": 64}, score=by_mark, folds=2)
    assert (len(found.cases), found.dropped, found.cut) == (9, {}, 0)
