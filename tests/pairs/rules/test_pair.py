import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs import PreferencePair, check
from preftune.pairs.finding import Problem
from preftune.pairs.rules.pair import (
    flipped_score,
    folded,
    identical,
    may_be_identical,
    near_identical,
    secrets,
    template,
    words,
)

SAME = Problem(
    "identical", "error", "", "both answers are the same", "drop the pair: its gradient is zero, whatever the knobs",
    fixable=True,
)  # fmt: skip
ALIKE = Problem(
    "identical", "warning", "", "both answers are the same but for white space, letter case or Unicode form",
    "drop the pair, unless that difference is what you teach",
)  # fmt: skip
NEAR = Problem(
    "near-identical", "warning", "", "the answers are nearly the same words",
    "look whether the difference is what you mean to teach; the pair teaches little else",
)  # fmt: skip
PARIS = {"type": "text", "text": "Paris"}
CALLS = [{"function": {"name": "search", "arguments": "{}"}}]


def message(answer):
    return {"role": "assistant", **(answer if isinstance(answer, dict) else {"content": answer})}


def row(chosen, rejected, prompt="Q?"):
    return {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [message(chosen)],
        "non_preferred_output": [message(rejected)],
    }


def pair(chosen="Yes.", rejected="No, it is not.", prompt="Q?", **more):
    given = prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}]
    return PreferencePair(given, message(chosen), message(rejected), **more)


# identical


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Paris", "Paris"),
        ({"content": [PARIS]}, {"content": [dict(reversed(PARIS.items()))]}),
        ({"content": "4", "reasoning": "2+2"}, {"reasoning": "2+2", "content": "4"}),
        ({"content": None, "tool_calls": CALLS}, {"content": None, "tool_calls": CALLS}),
    ],
)
def test_identical_finds_answers_that_are_equal(chosen, rejected):
    assert list(identical(pair(chosen, rejected))) == [SAME]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Paris", "paris"),
        ("Paris is it.", " Paris  is\nit. "),
        ("\uff30\uff41\uff52\uff49\uff53", "Paris"),
        ("e\u0301", "\u00e9"),
        ("Stra\u00dfe", "STRASSE"),
        ({"content": [{"type": "text", "text": "a b"}]}, {"content": [{"type": "text", "text": "A\nb"}]}),
        ({"content": "Yes", "reasoning": "a"}, {"content": "yes", "reasoning": "a"}),
    ],
)
def test_identical_warns_of_answers_equal_but_for_spelling(chosen, rejected):
    assert list(identical(pair(chosen, rejected))) == [ALIKE]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Paris", "Rome"),
        ("a b", "ab"),
        ("Yes.", "Yes"),
        ({"content": "4", "reasoning": "2+2"}, {"content": "4", "reasoning": "guess"}),
        ({"content": "4", "name": "x"}, "4"),
        ({"content": [PARIS]}, "Paris"),
        ({"content": None, "tool_calls": CALLS}, {"content": None}),
    ],
)
def test_identical_is_silent_where_the_answers_differ(chosen, rejected):
    assert list(identical(pair(chosen, rejected))) == []


@pytest.mark.parametrize(("chosen", "rejected", "severity"), [("a b", "a b", "error"), ("A b", "a  B", "warning")])
def test_identical_sees_every_line(write_rows, chosen, rejected, severity):
    (finding,) = check(write_rows(row("Yes.", "No."), row(chosen, rejected, "?")), sample=0).findings
    assert (finding.rule, finding.severity, finding.count, finding.lines) == ("identical", severity, 1, (2,))


SPELLINGS = st.lists(
    st.sampled_from(["a", "A", "k", "K", "\u212a", " ", "\n", "\u00a0", "\x1c", "\u0301", "e", "\u00e9", "ss", "\u00df", "ﬁ", "fi", "1", "."]),  # noqa: E501
    max_size=80,
).map("".join)  # fmt: skip


@settings(deadline=None)
@given(SPELLINGS, SPELLINGS)
def test_no_pair_that_identical_finds_is_passed_over(chosen, rejected):
    assert may_be_identical(chosen, rejected) or not list(identical(pair(chosen, rejected)))


@settings(deadline=None)
@given(st.text(min_size=60, max_size=70), st.sampled_from([str.upper, str.lower, str.casefold, " {} ".format, str]))
def test_no_other_spelling_of_an_answer_is_passed_over(text, respelt):
    assert may_be_identical(text, respelt(text)) or not list(identical(pair(text, respelt(text))))


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [("Yes.", "No."), ("a" * 30 + "be", "a" * 30 + "cd"), ("1. Yes", "2. No"), (". yes", "- no")],
)
def test_most_pairs_are_told_apart_by_their_beginnings(chosen, rejected):
    assert not may_be_identical(chosen, rejected)


# near-identical

HAN = "".join(chr(0x4E00 + number) for number in range(120))
CHECKED = "Let me look at the weather there"
LONG = [f"word{number}" for number in range(200)]


def changed(*places):
    return " ".join("other" if place in places else word for place, word in enumerate(LONG))


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("It is Paris, of course.", "it is: Paris of course"),
        ("是的。是的是。", "是的是的是"),
        ("Ja, das ist natürlich Bonn.", "ja das ist natürlich Bonn"),
        (" ".join(LONG), changed(100)),  # 196 of 5-grams, 5 of them changed on each side: 191 / 201
        (" ".join(LONG), changed(0, 199)),
        (HAN, HAN.replace(HAN[60], "。")),
    ],
)
def test_near_identical_finds_answers_of_nearly_the_same_words(chosen, rejected):
    assert list(near_identical(pair(chosen, rejected))) == [NEAR]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Paris", "Rome"),
        ("Paris", "Paris, France"),
        ("1 2 3 4", "1 2 3 5"),
        ("4", "5"),
        ("!", "?"),
        ("Paris.", "Paris"),  # under five words
        ("Yes", "yes!"),
        ("It is Paris, yes.", "it is: Paris yes"),
        ("是的是的。", "是的是的"),
        ("It is Paris, of course.", "It is Paris!"),  # one of them
        ("", "Yes"),
        (" ".join(LONG), changed(100, 120, 140)),  # 15 of 196 changed: 181 / 211
        (" ".join(LONG), " ".join(reversed(LONG))),
        (" ".join(LONG[:100]), " ".join(LONG[100:])),
        (" ".join(LONG), " ".join(LONG[:150])),
        ("巴黎是法国的首都。", "罗马是意大利的首都。"),
        ("是的", "不是"),
        ("Tiếng Việt", "Tiêng Viết"),  # accents tell words apart
        ("कि", "की"),  # and so do the vowel signs of India
        ("მზე", "მთვარე"),
    ],
)
def test_near_identical_is_silent_where_the_words_differ(chosen, rejected):
    assert list(near_identical(pair(chosen, rejected))) == []


def test_near_identical_begins_above_nine_tenths():
    """Of n 5-grams, k changed ones leave a similarity of (n - k) / (n + k): 95 + 5 are just at 0.9, 96 + 5 above."""
    at, above = (" ".join(LONG[:size]) for size in (99, 100))
    assert [list(near_identical(pair(text, text.replace("word50", "x")))) for text in (at, above)] == [[], [NEAR]]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Paris", "Paris"),
        ("Paris", "PARIS "),
        ("It is Paris of course.", "It is  paris of course."),
        ({"content": CHECKED + ".", "tool_calls": CALLS}, CHECKED),
        (CHECKED, {"content": CHECKED + ".", "tool_calls": CALLS}),
        ({"content": CHECKED, "reasoning": "Hm."}, {"content": CHECKED + ".", "reasoning": "It must be so."}),
    ],
)
def test_near_identical_leaves_alone_what_is_identical_or_holds_more_than_text(chosen, rejected):
    assert list(near_identical(pair(chosen, rejected))) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("Don't PANIC, 42_x!", ["don", "t", "panic", "42_x"]),
        ("Größe naïve", ["grösse", "naïve"]),
        ("nai\u0308ve", ["nai\u0308ve"]),
        ("Tiếng Việt", ["tiếng", "việt"]),
        ("Ἑλλάς", ["ἑλλάς".casefold()]),
        ("ქართული ენა", ["ქართული", "ენა"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("我用Python写。", ["我", "用", "python", "写"]),
        ("ไทย", ["ไ", "ท", "ย"]),
        ("\U00020000\U00020001", ["\U00020000", "\U00020001"]),
    ],
)
def test_words_are_runs_of_letters_or_single_characters_of_a_dense_script(text, found):
    assert words(text) == found


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_words_of_ascii_are_found_as_those_of_other_text_are(text):
    assert words(text) == words(text + " é")[:-1]


@pytest.mark.parametrize(
    ("value", "single"),
    [
        (" A\u00a0b\n", "a b"),
        ([" A", {"K": "X  y"}], ["a", {"K": "x y"}]),
        ({"a": None, "b": 1.5}, {"a": None, "b": 1.5}),
        ("\u2126", "ω"),
    ],
)
def test_folded_texts_have_one_spelling(value, single):
    assert folded(value) == single


# template


@pytest.mark.parametrize(
    ("text", "marker"),
    [
        ("<|im_start|>user", "<|im_start|>"),
        ("Hello<|eot_id|>", "<|eot_id|>"),
        ("[INST] Hi [/INST]", "[INST]"),
        ("Hi [/INST] x", "[/INST]"),
        ("<extra_id_1>User", "<extra_id_"),
        ("a\n\nHuman: b", "\\n\\nHuman:"),
        ("a\n\nAssistant: b", "\\n\\nAssistant:"),
        ("end</s>", "</s>"),
        ("<start_of_turn>user", "<start_of_turn>"),
        ("<<SYS>>Be brief", "<<SYS>>"),
    ],
)
@pytest.mark.parametrize("place", ["input.messages[0]", "preferred_output[0]", "non_preferred_output[0]"])
def test_template_finds_a_marker_in_any_message(text, marker, place):
    sides = {"preferred_output[0]": "chosen", "non_preferred_output[0]": "rejected", "input.messages[0]": "prompt"}
    (problem,) = template(pair(**{sides[place]: text}))
    assert (problem.rule, problem.severity, problem.path, problem.message) == (
        "template", "warning", place, f"{place} holds the template marker {marker}",
    )  # fmt: skip


@pytest.mark.parametrize("text", ["a < b | c > d", "<b>bold</b>", "Human: hi", "a\nHuman: b", "im_start", "[INSTALL]"])
def test_template_is_silent_on_other_text(text):
    assert list(template(pair(text, text, text))) == []


def test_template_does_not_make_a_marker_of_two_messages():
    prompt = [{"role": "user", "content": text} for text in ("\n", "\nHuman:", "<|im_", "start|>")]
    assert list(template(pair(prompt=prompt))) == []
    assert list(template(pair("Human: I", prompt="a"))) == []


# flipped-score


@pytest.mark.parametrize(
    ("chosen", "rejected", "told"),
    [
        (1, 2, "score_chosen 1 is less than score_rejected 2"),
        (-0.5, 0.0, "score_chosen -0.5 is less than score_rejected 0.0"),
        (-(10**400), 5, f"score_chosen -1{'0' * 55}... is less than score_rejected 5"),
        (1, 10**400, f"score_chosen 1 is less than score_rejected 1{'0' * 56}..."),
    ],
)
def test_flipped_score_finds_scores_that_say_the_opposite(chosen, rejected, told):
    (problem,) = flipped_score(pair(meta={"score_chosen": chosen, "score_rejected": rejected}))
    assert (problem.rule, problem.severity, problem.message) == ("flipped-score", "error", told)


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"score_chosen": 2, "score_rejected": 2},
        {"score_chosen": 2, "score_rejected": 1.5},
        {"score_chosen": 1},
        {"score_rejected": 9},
        {"score_chosen": "1", "score_rejected": "2"},
        {"score_chosen": None, "score_rejected": 2},
        {"score_chosen": [1], "score_rejected": [2]},
    ],
)
def test_flipped_score_is_silent_where_scores_agree_or_are_no_numbers(meta):
    assert list(flipped_score(pair(meta=meta))) == []


def test_check_bears_scores_of_any_size(write_bytes):
    line = json.dumps(row("a", "b"))[:-1] + ', "score_chosen": -1' + "0" * 400 + ', "score_rejected": 1}'
    assert "flipped-score" in {finding.rule for finding in check(write_bytes(line.encode())).findings}


# secrets

SECRETS = {
    "an e-mail address": "ada.l+x@mail.example.org",
    "an OpenAI-style key": "sk-" + "a1B2" * 6,
    "an AWS key id": "AKIA" + "ABCD" * 4,
    "a GitHub token": "ghp_" + "a1B2" * 9,
    "a GitHub access token": "github_pat_" + "a1B2_" * 6,
    "a Slack token": "xoxb-123456-abcdef",
    "a Google API key": "AIza" + "a1B2-" * 7,
    "a Hugging Face token": "hf_" + "a1B2" * 8,
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmN",
}


@pytest.mark.parametrize(("name", "secret"), SECRETS.items())
@pytest.mark.parametrize("side", ["chosen", "rejected", "prompt"])
def test_secrets_are_told_by_their_kind(name, secret, side):
    (problem,) = secrets(pair(**{side: f"Use {secret}, please."}))
    assert (problem.rule, problem.severity, problem.message) == ("secrets", "info", f"the pair seems to hold {name}")


def test_secrets_of_several_kinds_are_told_once_each():
    problems = secrets(pair(" ".join(SECRETS.values()), "Also " + " ".join(SECRETS.values())))
    assert [problem.message.removeprefix("the pair seems to hold ") for problem in problems] == list(SECRETS)


@pytest.mark.parametrize(
    "text",
    [
        "a @ b",
        "@name",
        "x@y",
        "sk-short",
        "task-oriented-dialogue-systems-and-more",
        "AKIA is short",
        "ghp_123",
        "hf_hub",
        "eyJ.a.b",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_secrets_leaves_alone_what_only_looks_a_little_like_one(text):
    assert list(secrets(pair(text, text + "!", text))) == []


def test_secrets_are_never_shown(write_rows):
    told = check(write_rows(*(row(f"{secret} is it", "No.", name) for name, secret in SECRETS.items())))
    shown = f"{told}{told.to_dict()}{told._repr_html_()}{told.__rich__().plain}{told.stats}"
    assert {finding.rule for finding in told.findings} == {"secrets", "size"}
    assert [name for name, secret in SECRETS.items() if secret in shown] == []


@pytest.mark.parametrize("text", ["a" * 200_000 + " @", "a@" * 50_000, "sk- " * 50_000, "ey" * 50_000 + "eyJ"])
def test_secrets_bears_long_texts_without_one(text):
    """A pattern that began with a run of letters once took the square of a text's length: minutes for such as these."""
    assert list(secrets(pair(text))) == []
