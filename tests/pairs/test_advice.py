import json

import pytest

from preftune.errors import DataError
from preftune.pairs import advise, check
from preftune.pairs.advice import Advice, Reason

RANKED = "Is there something ranked, and enough of it?"
MODEL = "Does the model you start from already give acceptable answers to such prompts?"
FAILURE = "Is there a failure to remove, paired against what is wanted?"
UNKNOWN = (
    "A file cannot tell. If it does, DPO on what you have saves the first job; if not, or if you do not know, the "
    "supervised job comes first."
)
ALIKE = "Nothing of form or length sets the sides apart: the difference lies in what they say."
WORDS = ("red", "blue", "green", "plain", "round", "small", "large", "quick", "old", "new")


def row(number, chosen, rejected):
    return {
        "input": {"messages": [{"role": "user", "content": f"What of the {WORDS[number % 10]} {number}?"}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }


def balanced(count):
    """Return pairs whose sides differ in nothing of form or length."""
    answers = [f"It is {WORDS[number % 10]} {number:04}." for number in range(count)]
    return [row(number, answer, f"{answer[:-5]}{9999 - number}.") for number, answer in enumerate(answers)]


@pytest.fixture
def advised(write_rows):
    """Return a function that checks rows and advises on them."""

    def advised(*rows, works=None, **options):
        return advise(check(write_rows(*rows), **options), works=works)

    return advised


# The three answers


@pytest.mark.parametrize(
    ("works", "method", "answer"),
    [
        (None, "sft-then-dpo", UNKNOWN),
        (True, "dpo", "Yes, you say: DPO moves it from the rejected answers to the chosen ones."),
        (
            False,
            "sft-then-dpo",
            "No, you say: DPO lowers answers that the model would not give anyway; teach it the chosen ones first.",
        ),
    ],
)
def test_ranked_pairs_are_for_dpo_after_sft_unless_the_model_works(advised, works, method, answer):
    ranked = Reason(RANKED, "Yes: 120 of 120 pairs rank one answer over another.")
    reasons = (ranked, Reason(MODEL, answer), Reason(FAILURE, ALIKE))
    assert advised(*balanced(120), works=works) == Advice(method, reasons, ())


@pytest.mark.parametrize(("count", "found"), [(1, "1 pair"), (99, "99 pairs")])
def test_too_few_pairs_are_for_sft_whatever_the_model(advised, count, found):
    reason = Reason(RANKED, f"No: {found}, and preferences need 100 at the least.")
    for works in (None, True, False):
        assert advised(*balanced(count), works=works) == Advice("sft", (reason,), ())


def test_a_hundred_pairs_are_enough(advised):
    assert advised(*balanced(100), works=True).method == "dpo"


@pytest.mark.parametrize(("good", "same", "method"), [(101, 99, "dpo"), (100, 100, "sft")])
def test_pairs_that_rank_nothing_are_for_sft_when_they_are_half_of_all(advised, good, same, method):
    rows = [*balanced(good), *(row(1_000 + number, f"a{number}", f"a{number}") for number in range(same))]
    advice = advised(*rows, works=True)
    assert (advice.method, advice.first, advice.reasons[0].rules) == (method, ("identical",), ("identical",))
    told = {
        "dpo": "Yes: 101 of 200 pairs rank one answer over another.",
        "sft": "No: 100 of 200 pairs repeat an answer or another pair, or contradict one.",
    }
    assert advice.reasons[0].answer == told[method]


def test_a_pair_that_repeats_both_its_answer_and_another_pair_counts_once(advised):
    advice = advised(*[row(1, "a", "a")] * 120)
    assert advice.reasons == (
        Reason(
            RANKED,
            "No: 120 of 120 pairs repeat an answer or another pair, or contradict one.",
            ("identical", "duplicate"),
        ),
    )
    assert advice.first == ("identical",)


@pytest.mark.parametrize(("turned", "method", "told"), [(29, "dpo", "Yes: 91 of 149"), (40, "sft", "No: 80 of 160")])
def test_pairs_that_contradict_each_other_rank_nothing_on_either_side(advised, turned, method, told):
    rows = balanced(120)
    advice = advised(*rows, *(row(number, *reversed(texts(rows[number]))) for number in range(turned)), works=True)
    assert (advice.method, advice.reasons[0].rules) == (method, ("contradiction",))
    assert advice.reasons[0].answer.startswith(told)


@pytest.mark.parametrize("count", [1, 200])
def test_a_supervised_file_is_for_sft(advised, count):
    answer = {"messages": [{"role": "user", "content": "Q?"}, {"role": "assistant", "content": "a"}]}
    reason = Reason(RANKED, "No: the rows hold one answer each, and nothing to prefer it to.", ("mixed",))
    for works in (None, True):
        assert advised(*[answer] * count, works=works) == Advice("sft", (reason,), ("mixed",))


def test_a_few_pairs_among_supervised_rows_are_too_few(advised):
    advice = advised({"messages": [{"role": "user", "content": "Q?"}]}, *balanced(2))
    answer = "No: 2 pairs, and preferences need 100 at the least."
    assert advice == Advice("sft", (Reason(RANKED, answer, ("mixed",)),), ("mixed",))


# A failure to remove


@pytest.mark.parametrize(
    ("change", "rule", "told"),
    [
        (
            lambda text: f"{text} {'And more of it. ' * 20}",
            "length-bias",
            "the chosen answer is the shorter one in 100",
        ),
        (lambda text: f"**{text}**", "format-bias", "where one answer has bold text, it is the rejected one in 100%"),
        (lambda text: f"As a language model, {text}", "side-constant", "characters or more begin 100% of the rejected"),
        (lambda text: text[:-1] + " and", "cut-off", "0% of chosen and 100% of rejected answers end without closing"),
    ],
)
def test_what_sets_the_sides_apart_is_told(advised, change, rule, told):
    rows = [row(number, *(texts(pair)[0], change(texts(pair)[1]))) for number, pair in enumerate(balanced(150))]
    failure = advised(*rows).reasons[2]
    assert rule in failure.rules
    assert told in failure.answer
    assert failure.answer.startswith("The sides differ plainly: ")
    assert failure.answer.endswith(". Look whether that is the failure you mean.")


def texts(pair):
    return [pair[key][0]["content"] for key in ("preferred_output", "non_preferred_output")]


def test_without_a_sample_nothing_is_said_of_the_sides(advised):
    told = Reason(FAILURE, "Not looked at: that takes a sample of at least 100 pairs.")
    for sample in (0, 99):
        assert advised(*balanced(120), sample=sample).reasons[2] == told
    assert advised(*balanced(120), sample=100).reasons[2] == Reason(FAILURE, ALIKE)


# What is to be mended first, and what cannot be advised on


def test_rules_of_errors_are_named_once_in_their_order(advised):
    contradiction = row(0, *reversed(texts(balanced(1)[0])))
    advice = advised({}, *balanced(120), contradiction, [], row(500, "a", "a"), [])
    assert advice.first == ("keys", "contradiction", "line", "identical")
    assert advice.reasons[0].rules == ("identical", "contradiction")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], r"pairs\.jsonl: there is no pair in the file; "),
        ([{"prompt": "p", "chosen": "a", "rejected": "b"}], r"pairs\.jsonl:1: the row is in the format TRL.*convert "),
        ([[], {}], r"pairs\.jsonl:1: the line holds a list, not an object; .* more kinds? of error"),
    ],
)
def test_a_file_without_a_pair_is_no_ground_for_advice(advised, rows, message):
    with pytest.raises(DataError, match=f"^{message}"):
        advised(*rows)


# Words


def test_advice_is_plain_values_for_json(advised):
    advice = advised(*balanced(120), row(1, "a", "a"), works=True)
    told = json.loads(json.dumps(advice.to_dict()))
    assert list(told) == ["method", "reasons", "first"]
    assert (told["method"], told["first"], len(told["reasons"])) == ("dpo", ["identical"], 3)
    assert told["reasons"][1] == {
        "question": MODEL,
        "answer": "Yes, you say: DPO moves it from the rejected answers to the chosen ones.",
        "rules": [],
    }


def test_advice_is_read_in_a_terminal():
    advice = Advice("sft", (Reason("Enough?", "No: " + "few " * 20, ("identical", "duplicate")),), ("line", "keys"))
    assert str(advice) == (
        "SFT: train on the answers you have\n"
        "\n"
        "Enough?\n"
        "  No: few few few few few few few few few few few few few few few few few\n"
        "  few few few  [identical, duplicate]\n"
        "\n"
        "Mend these first: line, keys (preftune check says where)."
    )
    titles = [str(Advice(method, (), ())) for method in ("dpo", "sft-then-dpo")]
    assert titles == ["DPO on what you have\n", "SFT on the chosen answers, then DPO from its checkpoint\n"]


@pytest.mark.real
@pytest.mark.parametrize(("name", "share"), [("llamafactory/dpo_en.json", 295), ("llamafactory/dpo_zh.json", 289)])
def test_real_sets_are_for_sft_then_dpo(real_data, tmp_path, name, share):
    from preftune.pairs import convert

    convert(real_data / name, tmp_path / "pairs.jsonl")
    advice = advise(check(tmp_path / "pairs.jsonl"))
    assert advice.method == "sft-then-dpo"
    assert advice.reasons[0].answer == f"Yes: {share} of 300 pairs rank one answer over another."
    assert max(map(len, str(advice).splitlines())) <= 80
