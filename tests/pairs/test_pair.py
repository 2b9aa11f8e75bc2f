import pytest
from hypothesis import given
from hypothesis import strategies as st

from preftune.pairs import PreferencePair
from preftune.pairs.pair import message_text, shared_prefix

USER = {"role": "user", "content": "Hi"}


def test_a_pair_gives_the_text_of_both_answers():
    pair = PreferencePair(
        [USER], {"role": "assistant", "content": "a"}, {"role": "assistant", "content": [{"type": "text", "text": "b"}]}
    )
    assert (pair.chosen_text, pair.rejected_text) == ("a", "b")
    assert (pair.tools, pair.parallel_tool_calls, pair.weight, pair.meta) == (None, None, None, {})


def test_pairs_with_equal_fields_are_equal_and_cannot_be_changed():
    pair = PreferencePair([USER], USER, USER)
    assert pair == PreferencePair([dict(USER)], dict(USER), dict(USER))
    with pytest.raises(AttributeError):
        pair.weight = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "x"}, "x"),
        ({"content": ""}, ""),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": {"text": "x"}}, ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image_url"}, 5, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": [{"type": "video", "text": None}, {"type": "audio", "text": 5}]}, ""),
    ],
)
def test_message_text_is_the_content_or_its_text_parts(message, text):
    assert message_text(message) == text


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [("", "", ""), ("abc", "", ""), ("abc", "abd", "ab"), ("abc", "abc", "abc"), ("ab", "abc", "ab"), ("x", "y", "")],
)
def test_shared_prefix_is_what_both_texts_begin_with(first, second, shared):
    assert shared_prefix(first, second) == shared_prefix(second, first) == shared


@given(st.text(max_size=5), st.text(max_size=5), st.text(max_size=5))
def test_shared_prefix_begins_both_texts_and_cannot_be_longer(start, first, second):
    first, second = start + first, start + second
    shared = shared_prefix(first, second)
    assert first.startswith(shared)
    assert second.startswith(shared)
    assert len(shared) >= len(start)
    assert not second.startswith(first[: len(shared) + 1]) or len(shared) == len(first)
