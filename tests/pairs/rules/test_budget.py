import pytest
from hypothesis import given
from hypothesis import strategies as st

from preftune.pairs import PreferencePair, check
from preftune.pairs.rules.budget import truncation
from preftune.pairs.rules.catalog import pair_line
from preftune.pairs.tokens import MESSAGE_TOKENS, Budget

HINT = "shorten the context or the answer, or train with a longer context"
FILLED = "shorten the context: it fills the side by itself"
SAME = "shorten the context, or drop the pair: what differs is cut away"


def words(text):
    return len(text.split())


def said(count, word="word"):
    return " ".join([word] * count)


def told(chosen, rejected, room, *, prompt="", estimated=False, count=words, tools=None):
    pair = PreferencePair(
        [{"role": "user", "content": prompt}],
        {"role": "assistant", "content": chosen},
        {"role": "assistant", "content": rejected},
        tools=tools,
    )
    problems = list(truncation(pair, Budget(count, room, estimated)))
    for problem in problems:
        assert (problem.rule, problem.refused, problem.fixable) == ("truncation", False, False)
        assert problem.hint == hint(problem)
    return [(problem.severity, problem.path, problem.message) for problem in problems]


def hint(problem):
    """Return the hint that a problem must have."""
    if problem.severity == "warning":
        return HINT
    return FILLED if problem.message.endswith("leaves nothing of the answers") else SAME


OVERHEAD = 2 * MESSAGE_TOKENS
TOOLS = [{"type": "function", "function": {"name": "f"}}]  # five words as JSON


def test_truncation_begins_above_the_budget_of_a_side():
    assert told(said(20), said(3), 20 + OVERHEAD) == []
    message = "preferred_output with its context has 30 tokens; a side has room for 29"
    assert told(said(20), said(3), 19 + OVERHEAD) == [("warning", "preferred_output", message)]


def test_truncation_counts_context_answer_and_five_tokens_a_message():
    message = "non_preferred_output with its context has 27 tokens; a side has room for 20"
    assert told("yes", said(10), 20, prompt=said(7)) == [("warning", "non_preferred_output", message)]


def test_truncation_tells_of_both_sides():
    assert [path for _, path, _ in told(said(20, "a"), said(21, "b"), 20)] == [
        "preferred_output", "non_preferred_output",
    ]  # fmt: skip


def test_truncation_counts_the_tools_with_the_context():
    assert told("yes, sir", "no, sir", 17, tools=TOOLS) == []
    assert told("yes, sir", "no, sir", 16, tools=TOOLS) == [
        ("warning", key, f"{key} with its context has 17 tokens; a side has room for 16")
        for key in ("preferred_output", "non_preferred_output")
    ]
    assert told("yes", "no", 10, tools=TOOLS) == [
        ("error", "", "the cut at 10 tokens a side leaves nothing of the answers")
    ]


def test_truncation_is_silent_without_a_budget():
    assert told(said(10_000), said(9_000), None) == []


def test_truncation_is_an_error_where_the_context_leaves_no_room_for_an_answer():
    nothing = "the cut at 20 tokens a side leaves nothing of the answers"
    assert told("yes", "no", 20, prompt=said(15)) == [("error", "", nothing)]


@pytest.mark.parametrize(("shared", "severities"), [(15, ["error"]), (14, ["warning", "warning"])])
def test_truncation_is_an_error_where_the_cut_leaves_both_answers_the_same(shared, severities):
    """Of 20 tokens, 5 go to the context; the answers share the 15 words left, or one fewer."""
    told_of = told(f"{said(shared)} {said(5, 'good')}", f"{said(shared)} {said(9, 'bad')}", 20)
    assert [severity for severity, _, _ in told_of] == severities
    if severities == ["error"]:
        assert told_of[0][2] == "the cut at 20 tokens a side leaves both answers the same"


def test_truncation_is_no_error_where_one_answer_ends_before_the_cut():
    assert [severity for severity, _, _ in told(said(30), said(15), 25)] == ["warning"]


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [("yes", "no", said(100)), (said(90) + " good", said(90) + " bad", ""), (said(90), "no", "")],
)
def test_truncation_never_goes_beyond_a_warning_with_an_estimate(chosen, rejected, prompt):
    found = told(chosen, rejected, 20, prompt=prompt, estimated=True)
    assert {severity for severity, _, _ in found} == {"warning"}
    assert all("has an estimated " in message for _, _, message in found)


def test_truncation_shows_large_numbers_in_groups():
    (only,) = told(said(2_000), "no", 1_500)
    assert only[2] == "preferred_output with its context has 2,010 tokens; a side has room for 1,500"


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.integers(1, 100))
def test_truncation_misses_no_side_whose_bytes_are_its_tokens(prompt, chosen, rejected, room):
    """A pair with fewer bytes than the budget has tokens is not counted at all; no tokenizer makes more of them."""

    def count(text):
        return len(text.encode())

    context = count(prompt) + MESSAGE_TOKENS
    over = {
        key
        for key, text in (("preferred_output", chosen), ("non_preferred_output", rejected))
        if context + count(text) + MESSAGE_TOKENS > room
    }
    found = told(chosen, rejected, room, prompt=prompt, count=count)
    assert {path for severity, path, _ in found if severity == "warning"} in (over, set())
    assert bool(found) == bool(over)


def test_check_counts_with_the_callers_tokenizer_and_half_the_context(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(pair_line(said(10), said(40), "no") + b"\n" + pair_line("Q?", "yes", "no") + b"\n")
    (finding,) = [each for each in check(path, tokenizer=words, max_seq_length=118).findings if each.rule != "size"]
    assert (finding.severity, finding.lines, finding.message) == (
        "warning", (1,), "preferred_output with its context has 60 tokens; a side has room for 59",
    )  # fmt: skip
    assert [each.rule for each in check(path, tokenizer=words, max_seq_length=120).findings] == ["size"]
    assert [each.rule for each in check(path, tokenizer=words, max_seq_length=2, tokens_per_side=60).findings] == [
        "size"
    ]


def test_an_answer_of_tool_calls_alone_is_no_empty_answer(tmp_path):
    path = tmp_path / "pairs.jsonl"
    line = pair_line(said(30), "yes", "no, not now").replace(
        b'"content": "yes"', b'"content": null, "tool_calls": [{"function": {"name": "f"}}]'
    )
    path.write_bytes(line.replace(b'{"input": {', b'{"input": {"tools": [{"function": {"name": "f"}}], '))
    found = [finding for finding in check(path, tokenizer=words, tokens_per_side=44).findings if finding.rule != "size"]
    assert [(each.rule, each.severity, each.message) for each in found] == [
        ("truncation", "warning", "preferred_output with its context has 46 tokens; a side has room for 44"),
        ("truncation", "warning", "non_preferred_output with its context has 46 tokens; a side has room for 44"),
    ]
