import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import check
from preftune.pairs.finding import Problem
from preftune.pairs.rules.catalog import pair_line
from preftune.pairs.rules.similar import (
    SLOTS,
    all_grams,
    grams,
    near_duplicate_prompts,
    near_leakage,
    shares_grams,
    signature,
    signatures,
)

WORDS = [f"{chr(97 + n % 26)}{n * 7919:x}{chr(97 + n // 26 % 26)}" for n in range(600)]


def text(seed, words=30):
    """Return words of their own for each seed."""
    return " ".join(random.Random(seed).sample(WORDS, words))


def shared(first, second):
    """Return the share of slots that two signatures have in common."""
    return float((signature(first) == signature(second)).mean())


def jaccard(first, second):
    a, b = ({value[at : at + 8] for at in range(len(value) - 7)} for value in (first, second))
    return len(a & b) / len(a | b)


@pytest.mark.parametrize("changed", [0, 2, 5, 10, 20, 40, 80])
def test_two_signatures_share_about_as_many_slots_as_the_texts_share_shingles(changed):
    estimates, truths = [], []
    for seed in range(8):
        first = text(seed, 80)
        second = " ".join(first.split()[changed:] + text(seed + 100, changed).split())
        estimates.append(shared(first, second))
        truths.append(jaccard(first, second))
        assert estimates[-1] == pytest.approx(truths[-1], abs=0.16)  # 3 to 4 standard errors of 126 slots
    assert np.mean(estimates) == pytest.approx(np.mean(truths), abs=0.05)


def test_a_known_similarity_is_estimated_within_a_tenth():
    first = "".join(chr(97 + n % 23) + chr(97 + n % 19) + chr(97 + n % 17) for n in range(200))
    second = first[:300] + first[:300][::-1]
    assert jaccard(first, second) == pytest.approx(0.33, abs=0.01)
    assert shared(first, second) == pytest.approx(jaccard(first, second), abs=0.1)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Name a prime.", "Name a prime."),
        ("Name a  prime.\n", "name A prime."),
        ("\uff2eame a prime.", "Name a prime."),
        ("x" * 20_000, "x" * 20_000 + " more"),
    ],
)
def test_texts_that_are_the_same_but_for_spelling_have_one_signature(first, second):
    assert shared(first, second) == 1


def test_texts_of_nothing_in_common_share_no_slots():
    assert shared("abcdefghijkl" * 5, "nopqrstuvwxyz" * 5) < 0.05
    assert shared("a", "b") == 0


@pytest.mark.parametrize("value", ["", " ", "a", "é", "中", "1234567", "12345678", "\0", "🙂" * 9, "ﷺ" * 20_000])
def test_a_text_of_any_length_has_a_signature(value):
    assert (signature(value).shape, signature(value).dtype) == ((SLOTS,), np.uint32)


@settings(deadline=None)
@given(st.text())
def test_a_signature_is_the_same_every_time(value):
    assert np.array_equal(signature(value), signature(value))


def test_a_signature_is_the_same_on_every_machine():
    assert signature("Name a prime number between 100 and 200.")[::25].tolist() == [
        3020457289,
        2142299736,
        1238284954,
        582064429,
        14258793,
        3020457289,
    ]


def test_signatures_of_no_texts_is_an_empty_table():
    assert signatures([]).shape == (0, SLOTS)
    assert signatures(["a", "b"]).shape == (2, SLOTS)


@pytest.mark.parametrize(("words", "count"), [(0, 0), (1, 0), (12, 0), (13, 1), (20, 8)])
def test_grams_are_the_runs_of_thirteen_words(words, count):
    assert len(grams(text(1, words) if words else "")) == count


def test_equal_runs_of_words_have_equal_numbers_wherever_they_stand():
    run = text(1, 13)
    assert grams(f"{text(2, 5)} {run} {text(3, 5)}")[5] == grams(run.upper())[0]
    assert grams(run)[0] != grams(" ".join(reversed(run.split())))[0]


def test_all_grams_are_in_rising_order_and_each_once():
    known = all_grams([text(1, 15), text(1, 15), text(2, 14), "short"])
    assert known.tolist() == sorted({*grams(text(1, 15)).tolist(), *grams(text(2, 14)).tolist()})
    assert all_grams([]).tolist() == []


@pytest.mark.parametrize(
    ("value", "shares"),
    [
        (text(1, 20), True),
        (f"{text(5, 20)} {' '.join(text(1, 20).split()[3:16])} {text(6, 20)}", True),
        (f"{text(5, 20)} {' '.join(text(1, 20).split()[3:15])} {text(6, 20)}", False),
        ("", False),
        ("one two three", False),
    ],
)
def test_a_text_shares_grams_from_thirteen_words_on(value, shares):
    assert shares_grams(value, all_grams([text(1, 20), text(2, 20)])) is shares


def test_no_text_shares_grams_with_nothing():
    assert not shares_grams(text(1, 20), all_grams([]))


@given(st.lists(st.integers(0, 2**64 - 1), max_size=9))
def test_a_text_shares_grams_with_known_ones_however_they_lie(numbers):
    own = grams(text(1, 14))
    known = np.unique(np.array(numbers, dtype=np.uint64))
    assert shares_grams(text(1, 14), known) == bool(np.isin(own, known).any())
    assert shares_grams(text(1, 14), np.unique(np.append(known, own[1])))


# the rules


def numbered(texts):
    return np.arange(len(texts), dtype=np.uint64)


def told_of_near_duplicates(texts, prompts=None):
    return list(near_duplicate_prompts(numbered(texts) if prompts is None else prompts, signatures(texts)))


@pytest.mark.parametrize("pairs_of_near", [1, 3])
def test_near_duplicate_prompts_are_told_from_more_than_one_in_a_hundred_on(pairs_of_near):
    near = [f"{text(seed)} {ending}" for seed in range(pairs_of_near) for ending in ("please", "now")]
    total = 100 * len(near)
    just_enough = [*near, *(text(1_000 + seed) for seed in range(total - len(near) - 1))]
    (problem,) = told_of_near_duplicates(just_enough)
    assert problem == Problem(
        "near-duplicate-prompts", "warning", "",
        f"{len(near)} of {total - 1} prompts are nearly the same as another one",
        "keep one of each kind, or split by kind: such prompts leak between training and validation",
    )  # fmt: skip
    assert told_of_near_duplicates([*just_enough, text(9_999)]) == []


def test_the_same_prompt_again_is_no_near_duplicate():
    texts = [text(seed % 50) for seed in range(100)]
    assert told_of_near_duplicates(texts, np.arange(100, dtype=np.uint64) % 50) == []


def test_prompts_of_one_template_are_not_near_duplicates_but_near_ones_among_them_are():
    start = "Read the text below and say in one sentence what it is about."
    distinct = [f"{start} {text(seed, 20)}" for seed in range(300)]
    assert told_of_near_duplicates(distinct) == []
    near = [f"{each} now" for each in distinct[:30]]
    (problem,) = told_of_near_duplicates([*distinct, *near])
    assert problem.message == "60 of 330 prompts are nearly the same as another one"


def test_near_duplicate_prompts_of_an_empty_set_are_none():
    assert told_of_near_duplicates([]) == []


def leaked(training, validation, overlapping=None):
    over = np.zeros(len(training), dtype=bool) if overlapping is None else np.array(overlapping)
    return [problem.message for problem in near_leakage(signatures(training), over, signatures(validation))]


def test_near_leakage_counts_validation_prompts_that_are_nearly_training_prompts():
    training = [text(seed) for seed in range(200)]
    validation = [*(f"{each} now" for each in training[:3]), *(text(seed) for seed in range(1_000, 1_097))]
    assert leaked(training, validation) == ["3 of 100 validation prompts are nearly the same as a training prompt"]
    assert leaked(training, [*validation[2:], text(2_000), text(2_001)]) == []  # 1 of 100 is not more than that


def test_near_leakage_does_not_count_near_duplicates_within_one_file():
    assert leaked([text(1), text(1) + " now"] * 20, [text(seed) for seed in range(100, 150)]) == []
    assert leaked([text(seed) for seed in range(100, 150)], [text(1), text(1) + " now"] * 20) == []


@pytest.mark.parametrize(
    ("count", "told"), [(2, []), (3, ["3 of 200 training prompts share 13 words in a row with a validation prompt"])]
)
def test_near_leakage_counts_training_prompts_that_overlap(count, told):
    assert leaked([text(seed) for seed in range(200)], [], [True] * count + [False] * (200 - count)) == told


@pytest.fixture
def write_prompts(tmp_path):
    def write(name, prompts) -> Path:
        path = tmp_path / name
        path.write_bytes(b"".join(pair_line(prompt, f"a{at}", f"b {at}") + b"\n" for at, prompt in enumerate(prompts)))
        return path

    return write


def test_check_tells_of_leakage_between_two_files(write_prompts):
    training = [text(seed, 40) for seed in range(120)]
    validation = [f"{text(seed + 500, 40)} {' '.join(training[seed].split()[:13])}" for seed in range(5)]
    validation += [f"{training[9]} now", training[10]]
    report = check(write_prompts("t.jsonl", training), validation=write_prompts("v.jsonl", validation))
    found = [finding for finding in report.findings if finding.rule == "leakage"]
    assert [(finding.severity, finding.lines, finding.message) for finding in found] == [
        ("error", (11,), "the prompt stands in the validation file too"),
        ("warning", (), "2 of 7 validation prompts are nearly the same as a training prompt"),
        ("warning", (), "7 of 120 training prompts share 13 words in a row with a validation prompt"),
    ]  # fmt: skip


def test_near_leakage_needs_a_hundred_pairs(write_prompts):
    training = [text(seed, 40) for seed in range(99)]
    validation = write_prompts("v.jsonl", [f"{each} now" for each in training])
    report = check(write_prompts("t.jsonl", training), validation=validation)
    assert [finding.rule for finding in report.findings] == ["size"]


def test_a_set_without_prompts_beside_system_messages_is_borne(tmp_path):
    line = pair_line("x").replace(b'"role": "user"', b'"role": "system"', 1)
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(line + b"\n")
    assert check(path, validation=path).pairs == 1
