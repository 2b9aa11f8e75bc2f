import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preftune.pairs.formats.layout import Unfit
from preftune.pairs.formats.transcripts import is_transcript, split_template, split_transcript, template_answer


def said(*turns):
    return [{"role": role, "content": content} for role, content in turns]


QUESTION = ("user", "Q?")


@pytest.mark.parametrize(
    ("content", "cue", "messages"),
    [
        ("\n\nHuman: Q?\n\nAssistant: a", False, said(QUESTION, ("assistant", "a"))),
        ("\n\nHuman:Q?\n\nAssistant:a\n", False, said(QUESTION, ("assistant", "a"))),
        ("Human: Q?\n\nAssistant: a\n\nb", False, said(QUESTION, ("assistant", "a\n\nb"))),
        ("\n\nAssistant: a\n\nHuman: Q?", False, said(("assistant", "a"), QUESTION)),
        ("\n\nHuman: Q?\n\nAssistant:", True, said(QUESTION)),
        ("\n\nHuman: Q?", True, said(QUESTION)),
        ("\n\nHuman: a\nHuman: b", False, said(("user", "a\nHuman: b"))),
    ],
)
def test_a_transcript_is_split_at_its_markers(content, cue, messages):
    assert is_transcript(content)
    assert split_transcript(content, "chosen", cue=cue) == messages


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("Q?\n\nHuman: Q?", "chosen does not begin with a turn; expected Human: or Assistant: before its first text"),
        ("Q?", "chosen does not begin with a turn; expected Human: or Assistant: before its first text"),
        ("", "chosen holds no turn; expected a conversation"),
        (
            "\n\nHuman: Q?\n\nHuman: Q?\n\nAssistant: a",
            "chosen: turns 1 and 2 are both the user's; expected turns by turns",
        ),
        ("\n\nHuman: Q?\n\nAssistant:", "chosen: turn 2, the assistant's, is empty; expected text in every turn"),
        (
            "\n\nHuman: what is '\n\nHuman:'?\n\nAssistant: a",
            "chosen: turns 1 and 2 are both the user's; expected turns by turns",
        ),
    ],
)
def test_a_transcript_that_is_no_conversation_is_refused(content, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        split_transcript(content, "chosen")


WORDS = st.text(min_size=1, max_size=8).map(str.strip).filter(bool)


@given(st.lists(WORDS, min_size=1, max_size=5))
def test_a_transcript_without_markers_in_its_turns_is_split_where_it_was_joined(texts):
    turns = said(*zip(["user", "assistant"] * 3, texts, strict=False))
    joined = "".join(f"\n\n{name}: {text}" for name, text in zip(["Human", "Assistant"] * 3, texts, strict=False))
    assert split_transcript(joined, "chosen") == turns


@pytest.mark.parametrize("value", [None, 1, [], "", "a", "a\n\nHuman: b", "Humans: b"])
def test_other_values_are_no_transcript(value):
    assert not is_transcript(value)


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("<extra_id_0>System\n\n<extra_id_1>User\nQ?\n<extra_id_1>Assistant\n", said(QUESTION)),
        ("<extra_id_0>System\ns\n<extra_id_1>User\nQ?\n", said(("system", "s"), QUESTION)),
        (" Q?\n", said(("user", " Q?\n"))),
        ("Q?\n<extra_id_1>Assistant\na\n<extra_id_1>User\nQ?", said(QUESTION, ("assistant", "a"), QUESTION)),
        (
            "<extra_id_1>User\nQ?\n<extra_id_1>Assistant\n<extra_id_2>quality:4,humor:0\na\n<extra_id_1>",
            said(QUESTION, ("assistant", "a")),
        ),
        ("<extra_id_1>User\nQ?\n<extra_id_1>Assistant\na\n<extra_id_2>", said(QUESTION, ("assistant", "a"))),
    ],
)
def test_a_template_is_split_at_its_tokens(content, messages):
    assert split_template(content, "prompt", cue=True) == messages


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<extra_id_1>Bot\na", "prompt has a turn of 'Bot'; expected System, User or Assistant"),
        (
            "<extra_id_1>User\n\n<extra_id_1>Assistant\na",
            "prompt: turn 1, the user's, is empty; expected text in every turn",
        ),
        ("<extra_id_1>", "prompt holds no turn; expected a conversation"),
        (" ", "prompt: turn 1, the user's, is empty; expected text in every turn"),
        (
            "<extra_id_1>User\na<extra_id_1>User\nb",
            "prompt: turns 1 and 2 are both the user's; expected turns by turns",
        ),
    ],
)
def test_a_template_that_is_no_conversation_is_refused(content, reason):
    with pytest.raises(Unfit, match=f"^{re.escape(reason)}$"):
        split_template(content, "prompt")


def test_an_answer_of_a_template_ends_at_its_token():
    assert template_answer("a\n<extra_id_1>", "chosen") == "a"
    assert template_answer("<extra_id_2>quality:4\na\n<extra_id_1>\n", "chosen") == "a"
    assert template_answer(" a\n", "chosen") == " a\n"
    with pytest.raises(Unfit, match=r"^chosen goes on after the end of its turn; expected one answer$"):
        template_answer("a\n<extra_id_1>User\nb", "chosen")
