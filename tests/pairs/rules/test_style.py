import pytest
from hypothesis import given
from hypothesis import strategies as st

from preftune.pairs.rules.style import FEATURES, features, is_closed


def found(text):
    """Return the names of the features that a text has."""
    return {name for name, has in zip(FEATURES, features(text), strict=True) if has}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", set()),
        ("Plain text, with # a hash, * a star, - a dash | and a bar.", set()),
        ("# Heading", {"markdown"}),
        ("Text\n###### Heading", {"markdown"}),
        ("#hashtag", set()),
        ("####### seven", set()),
        ("- item", {"markdown", "a list"}),
        ("Text:\n  * item", {"markdown", "a list"}),
        ("1. one\n2. two", {"markdown", "a list"}),
        ("12) twelve", {"markdown", "a list"}),
        ("• item", {"markdown", "a list"}),
        ("2024. A year", set()),
        ("3.14 is pi", set()),
        ("-5 degrees", set()),
        ("\n" * 5 + "- item", {"markdown", "a list"}),
        ("| a | b |\n|---|---|", {"markdown"}),
        ("|x| is a norm", set()),
        ("so **bold** it is", {"markdown", "bold text"}),
        ("so __bold__ it is", {"markdown", "bold text"}),
        ("2 ** 3 ** 4", set()),
        ("a ** b", set()),
        ("call `f`", {"markdown"}),
        ("```python\nx\n```", {"markdown", "code"}),
        ("nice 🙂", {"an emoji"}),
        ("done ✅", {"an emoji"}),
        ("naïve 中文", set()),
        ("see https://example.org", {"a link"}),
        ("see [this](page.html)", {"a link"}),
        ("f[0](x) and a](b", {"a link"}),
        ("ftp://x and ](", set()),
        ("Great!", {"an exclamation mark"}),
        ("太好了\uff01", {"an exclamation mark"}),
    ],
)
def test_features_are_the_marks_of_form(text, names):
    assert found(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "Sorry, no.", "I'm sorry, but no.", "I\u2019m very sorry.", "I cannot do that.", "I can't.",
        "I can\u2019t.", "I can not.", "Unfortunately, I won't.", "unfortunately I cannot", "I apologize, but no.",
        "I apologise.", "I'm unable to.", "I am not able to.", "As an AI language model, I", "  \nSorry",
        "抱歉\uff0c我不行", "非常抱歉", "对不起", "我无法回答", "我不能", "作为一个人工智能", "作为AI",
    ],
)  # fmt: skip
def test_a_refusing_opener_is_found(text):
    assert found(text) == {"a refusing opener"}


@pytest.mark.parametrize(
    "text",
    [
        "Sure. Paris.", "Certainly, here it is.", "Of course.", "Absolutely.", "definitely", "Yes, it is.", "YES",
        "Great question. So", "Happy to help.", "Here is the list.", "Here's one.", "Here\u2019s one.", "Here are two.",
        " \nSure", "当然可以", "好的\uff0c以下", "没问题", "是的", "以下是",
    ],
)  # fmt: skip
def test_an_affirming_opener_is_found(text):
    assert found(text) == {"an affirming opener"}


@pytest.mark.parametrize(
    "text",
    [
        "Yesterday I went", "Surely not", "As an aid to memory", "As an aim", "I can note that", "Sorrow is",
        "Hereafter", "Here, in Rome", "The answer: yes, sure, I cannot say sorry", "Certainty", "I can",
    ],
)  # fmt: skip
def test_an_opener_is_whole_words_at_the_beginning(text):
    assert found(text) == set()


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("It is.", True), ("Is it?", True), ("Yes!", True), ('"Yes."', True), ("(so)", True), ("```", True),
        ("好。", True), ("好\uff1f", True), ("nice 🙂", True), ("It is.  \n", True), ("…", True),
        ("It is", False), ("in 1999", False), ("first,", False), ("namely:", False), ("either;", False), ("(", False),
        ("semi-", False), ("好", False), ("好\uff0c", False), ("好、", False), ("好\uff1b", False), ("好\uff1a", False),
        ("好\uff08", False), ("cut \n", False),
        ("", True),  # the answer is a tool call
    ],
)  # fmt: skip
def test_a_text_is_closed_by_its_last_character(text, closed):
    assert is_closed(text) is closed


@given(st.text())
def test_any_text_has_each_feature_or_not(text):
    has = features(text)
    assert [type(each) for each in has] == [bool] * len(FEATURES)
    assert isinstance(is_closed(text), bool)


@pytest.mark.parametrize(
    "text",
    ["\n" * 20_000, "[" * 20_000 + "](", "[a](" * 5_000, "**a " * 5_000, "|" * 20_000, "\n|" * 10_000, "\n " * 10_000],
)
def test_a_long_text_of_half_marks_is_borne(text):
    """Patterns that looked from each mark to the end once took the square of a text's length."""
    assert "an emoji" not in found(text)
