import pytest

from preftune.pairs import PreferencePair
from preftune.pairs.pair import message_text

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
    ],
)
def test_message_text_is_the_content_or_its_text_parts(message, text):
    assert message_text(message) == text
