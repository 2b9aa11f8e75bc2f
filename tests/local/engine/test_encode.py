import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.local.engine.encode import (
    END,
    ORDERS,
    Cut,
    Encoded,
    answer_bytes,
    cut,
    cut_pair,
    encode,
    encode_pair,
    join,
    render,
)
from preftune.pairs.pair import PreferencePair

FACT = settings(max_examples=60, deadline=None, database=None, derandomize=True)
PINNED = [[55974, 14405, 48999], [64541, 37768, 40174], [26623, 48361, 45772], [641, 3867, 62288]]


def test_a_conversation_is_rendered_with_a_mark_and_the_role_before_each_message():
    messages = [{"role": "system", "content": "Be."}, {"role": "user", "content": "Ünd?"}, {"role": "assistant"}]
    assert render(messages) == b"\x01s\x02Be.\x01u\x02\xc3\x9cnd?\x01a\x02"


def test_no_messages_render_to_nothing():
    assert render([]) == b""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "yes"}, b"yes"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, b"ab"),
        ({"content": None, "tool_calls": [{"id": 1}]}, b"[{'id': 1}]"),
        ({"content": "see", "tool_calls": []}, b"see"),
        ({"content": "lone \ud800 half"}, b"lone ? half"),
    ],
)
def test_an_answer_is_its_text_and_its_tool_calls(message, expected):
    assert answer_bytes(message) == expected


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (100, Cut(b"question", b"answer", whole=True)),
        (15, Cut(b"question", b"answer", whole=True)),  # 8 + 6 and the end mark
        (14, Cut(b"question", b"answer", whole=False)),  # no room for the end mark
        (11, Cut(b"question", b"ans", whole=False)),
        (8, Cut(b"question", b"", whole=False)),
        (5, Cut(b"quest", b"", whole=False)),
    ],
)
def test_the_budget_cuts_the_end_of_the_answer_first(budget, expected):
    assert cut(b"question", b"answer", budget) == expected


@FACT
@given(st.binary(max_size=30), st.binary(max_size=30), st.integers(1, 70))
def test_what_is_left_never_exceeds_the_budget_and_is_a_prefix(context, answer, budget):
    piece = cut(context, answer, budget)
    assert len(piece.context) + encode(piece).targets.size <= budget
    assert context.startswith(piece.context)
    assert answer.startswith(piece.answer)
    assert piece.whole == (len(context) + len(answer) + 1 <= budget)


def test_targets_are_the_bytes_and_the_end_mark_only_when_whole():
    assert encode(Cut(b"", b"ab\xff", whole=True)).targets.tolist() == [97, 98, 255, END]
    assert encode(Cut(b"", b"ab\xff", whole=False)).targets.tolist() == [97, 98, 255]


def test_an_empty_answer_is_an_end_mark_or_nothing():
    assert encode(Cut(b"x", b"", whole=True)).targets.tolist() == [END]
    nothing = encode(Cut(b"x", b"", whole=False))
    assert (nothing.targets.size, nothing.contexts.shape) == (0, (len(ORDERS), 0))


def test_contexts_are_as_they_were_in_checkpoints_already_saved():
    assert encode(Cut(b"hi", b"ok", whole=True)).contexts.tolist() == PINNED


def test_a_context_is_made_of_the_preceding_bytes_and_no_others():
    first = encode(Cut(b"same", b"abcdefghijkl", whole=True)).contexts
    second = encode(Cut(b"same", b"abcdeFghijkl", whole=True)).contexts
    changed = [set(np.flatnonzero(row).tolist()) for row in first != second]
    assert changed == [set(range(6, 6 + order)) for order in ORDERS]  # the byte at 5 is seen from 6 on


def test_the_context_of_the_first_token_reaches_past_the_mark_into_the_prompt():
    first, second = (encode(Cut(context, b"abc", whole=True)).contexts for context in (b"why", b"who"))
    # the mark before an answer is three bytes long, so that order 5 sees two of the prompt
    changed = [np.flatnonzero(row).tolist() for row in first != second]
    assert changed == [[], [], [], [0, 1]]


def test_the_context_of_an_answer_does_not_depend_on_where_it_stands():
    apart = encode(Cut(b"", b"xyz123 then xyz123", whole=True)).contexts
    np.testing.assert_array_equal(apart[:, 5:7], apart[:, 17:19])


def test_prompt_words_are_each_once_whatever_case_and_order():
    first = encode(Cut(b"The cat, the dog!", b"", whole=True)).prompt
    second = encode(Cut(b"dog THE cat", b"", whole=True)).prompt
    assert first.size == 3
    np.testing.assert_array_equal(first, second)
    assert (first.dtype, encode(Cut(b"... !", b"", whole=True)).prompt.size) == (np.uint16, 0)


def test_a_prompt_cut_within_a_letter_is_still_read():
    whole, cut_short = (encode(Cut(context, b"", whole=True)).prompt for context in (b"ja", "ja ü".encode()[:-1]))
    np.testing.assert_array_equal(whole, cut_short)


def test_join_lays_answers_end_to_end_under_the_first_prompt():
    first, second = encode(Cut(b"one", b"ab", whole=True)), encode(Cut(b"one ab two", b"c", whole=True))
    joined = join([first, second])
    assert joined.targets.tolist() == [97, 98, END, 99, END]
    np.testing.assert_array_equal(joined.contexts, np.hstack([first.contexts, second.contexts]))
    np.testing.assert_array_equal(joined.prompt, first.prompt)


# --- pairs


def said(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def pair(prompt: str, chosen: str, rejected: str) -> PreferencePair:
    return PreferencePair([{"role": "user", "content": prompt}], said(chosen), said(rejected))


def assert_same(found: Encoded, expected: Encoded) -> None:
    for name in ("contexts", "targets", "prompt"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (100, (Cut(b"\x01u\x02Q?", b"long", whole=True), Cut(b"\x01u\x02Q?", b"no", whole=True))),
        (8, (Cut(b"\x01u\x02Q?", b"lon", whole=False), Cut(b"\x01u\x02Q?", b"no", whole=True))),
        (6, (Cut(b"\x01u\x02Q?", b"l", whole=False), Cut(b"\x01u\x02Q?", b"n", whole=False))),
        (4, (Cut(b"\x01u\x02Q", b"", whole=False), Cut(b"\x01u\x02Q", b"", whole=False))),
    ],
)
def test_each_side_of_a_pair_has_the_whole_budget(budget, expected):
    assert cut_pair(pair("Q?", "long", "no"), budget) == expected


def test_a_pair_is_encoded_side_by_side_as_each_answer_is_alone():
    sides = cut_pair(pair("Why?", "Because.", "No."), 100)
    found = encode_pair(sides)
    assert_same(found.chosen, encode(sides[0]))
    assert_same(found.rejected, encode(sides[1]))


@pytest.mark.parametrize(("given", "weight"), [(None, 1.0), (0, 0.0), (3, 3.0), (0.25, 0.25)])
def test_a_pair_weighs_1_unless_told(given, weight):
    found = encode_pair(cut_pair(pair("Why?", "a", "b"), 100), given).weight
    assert (found, type(found)) == (weight, float)


@pytest.mark.parametrize(
    ("sides", "kept"),
    [
        ((Cut(b"q", b"a", whole=True), Cut(b"q", b"", whole=True)), True),  # the answer is to say nothing
        ((Cut(b"q", b"a", whole=False), Cut(b"q", b"b", whole=False)), True),
        ((Cut(b"q", b"a", whole=True), Cut(b"q", b"", whole=False)), False),
        ((Cut(b"q", b"", whole=False), Cut(b"q", b"b", whole=True)), False),
    ],
)
def test_a_pair_is_dropped_when_the_budget_leaves_a_side_without_an_answer(sides, kept):
    assert (encode_pair(sides) is not None) == kept
