import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.fingerprint import fingerprints, plain_fingerprints, sample_rank
from preftune.pairs.plain import Plain

PLAIN = Plain(("system", "user"), ["Be brief.", "Name a prime: é."], "Seven.", "Nine.")
NUMBERS = (2993764818619553313, 3762006309, 1873604101)  # XXH3-64 of the joined texts; of answers the low half
CALL = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
TOOL = {"type": "function", "function": {"name": "f"}}


def pair(prompt="Q?", chosen="a", rejected="b", **more):
    answers = [
        {"role": "assistant", "content": answer} if isinstance(answer, str) else answer for answer in (chosen, rejected)
    ]
    given = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return PreferencePair(given, *answers, **more)


def test_fingerprints_are_the_numbers_that_they_were():
    """Machines of one cluster compare them, perhaps with different versions of this package."""
    assert plain_fingerprints(PLAIN) == fingerprints(PLAIN.pair()) == NUMBERS


def test_fingerprints_are_the_same_in_another_process():
    code = (
        "from preftune.pairs.fingerprint import plain_fingerprints as numbers\n"
        "from preftune.pairs.plain import Plain\n"
        f"print(numbers({PLAIN!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{NUMBERS}\n"


TEXTS = st.text(max_size=5)


@given(
    turns=st.lists(st.tuples(st.sampled_from(["user", "assistant", "system", "tool"]), TEXTS), min_size=1, max_size=4),
    chosen=TEXTS,
    rejected=TEXTS,
)
@settings(deadline=None)
def test_plain_rows_and_their_pairs_have_the_same_fingerprints(turns, chosen, rejected):
    roles, texts = zip(*turns, strict=True)
    plain = Plain(roles, list(texts), chosen, rejected)
    numbers = plain_fingerprints(plain)
    assert fingerprints(plain.pair()) == numbers
    assert [number.bit_length() <= bits for number, bits in zip(numbers, (64, 32, 32), strict=True)] == [True] * 3


def test_the_fingerprint_of_an_answer_does_not_depend_on_its_side():
    _, chosen, rejected = fingerprints(pair("Q?", "a", "b"))
    assert fingerprints(pair("Q?", "b", "a"))[1:] == (rejected, chosen)
    assert fingerprints(pair("Q?", CALL, "b"))[1] == fingerprints(pair("Q?", "b", CALL))[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pair([{"role": "user", "content": "Q?"}]), pair([{"content": "Q?", "role": "user"}])),
        (pair([{"role": "user", "content": "Q?", "name": "x"}]),
         pair([{"name": "x", "content": "Q?", "role": "user"}])),
        (pair(tools=[{"a": 1, "b": 2}]), pair(tools=[{"b": 2, "a": 1}])),
        (pair(tools=[]), pair(tools=None)),
        (pair(weight=1), pair(weight=2)),
        (pair(meta={"id": 1}), pair(meta={"id": 2})),
        (pair(parallel_tool_calls=True), pair()),
        (pair([{"role": "user", "content": "Q?", "weight": 0}]), pair()),
        (pair(chosen={"role": "assistant", "content": "a", "weight": 1}), pair()),
        (pair(rejected=CALL | {"weight": 0}), pair(rejected=CALL | {"weight": 1})),
        (pair(rejected=CALL | {"weight": 0}), pair(rejected=CALL)),
    ],
)  # fmt: skip
def test_fingerprints_do_not_depend_on_what_is_not_said(one, other):
    assert fingerprints(one) == fingerprints(other)


PARTS = [{"type": "text", "text": "Q?"}]
DIFFERENT = [
    pair(),
    pair("Q!"),
    pair("Q? "),
    pair([{"role": "system", "content": "Q?"}]),
    pair([{"role": "user", "content": PARTS}]),
    pair([{"role": "user", "content": PARTS * 2}]),
    pair([{"role": "user", "content": "Q?", "name": "x"}]),
    pair([{"role": "user", "content": "Q?", "name": "y"}]),
    pair([{"role": "user", "content": "Q?", "name": 2**70}]),
    pair([{"role": "user", "content": "Q?", "name": 10**400}]),
    pair([{"role": "user", "content": "Q?"}, CALL, {"role": "tool", "content": "Q?"}]),
    pair([{"role": "user", "content": "Q?"}, {"role": "assistant", "content": ""}, {"role": "tool", "content": "Q?"}]),
    pair([{"role": "user", "content": "Q?"}, {"role": "user", "content": ""}]),
    pair([{"role": "user", "content": ""}, {"role": "user", "content": "Q?"}]),
    pair(tools=[TOOL]),
    pair(tools=[TOOL, TOOL]),
]


def test_prompts_that_differ_in_anything_said_have_different_fingerprints():
    assert len({fingerprints(one)[0] for one in DIFFERENT}) == len(DIFFERENT)


def test_answers_that_differ_in_anything_said_have_different_fingerprints():
    answers = ["", "a", "A", "a ", "\0", CALL, CALL | {"content": None}, CALL | {"content": ""}]
    answers += [{"role": "assistant", "content": "a", "reasoning": "r"}, {"role": "assistant", "content": PARTS}]
    assert len({fingerprints(pair(chosen=answer))[1] for answer in answers}) == len(answers)


@pytest.mark.parametrize(
    ("numbers", "place"),
    [
        ((0, 0, 0), 0xE220A8397B1DCDAF),
        ((1, 0, 0), 0x910A2DEC89025CC1),
        ((2**64 - 1, 2**32 - 1, 2**32 - 1), 0xE220A8397B1DCDAF),
    ],
)
def test_the_place_in_the_sample_is_what_splitmix64_first_gives(numbers, place):
    """The first outputs for the seeds 0 and 1, as published with the generator."""
    assert sample_rank(numbers) == place


@given(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)))
def test_the_place_in_the_sample_has_64_bits(numbers):
    assert 0 <= sample_rank(numbers) < 2**64


def test_places_in_the_sample_are_spread_evenly():
    places = [sample_rank(fingerprints(pair(f"Question {number}?"))) for number in range(4_000)]
    quarters = [sum(place >> 62 == quarter for place in places) for quarter in range(4)]
    assert all(900 < count < 1_100 for count in quarters)  # within 3.6 standard errors of 1,000


def test_the_same_answers_to_another_prompt_and_turned_answers_have_other_places():
    one, prompt, turned = (
        sample_rank(fingerprints(pair(*texts))) for texts in (("Q?", "a", "b"), ("P?", "a", "b"), ("Q?", "b", "a"))
    )
    assert len({one, prompt, turned}) == 3
