from collections import defaultdict
from itertools import combinations, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.pairs import check, merge, scan
from preftune.pairs.finding import Gathering, Problem
from preftune.pairs.rules import repeats
from preftune.pairs.rules.catalog import pair_line

DROP = "drop it, or give the first a larger weight"
TURNED = "keep the ranking you mean; the two cancel each other"
CIRCLE = "a over b, b over c, c over a: keep the rankings you trust"
REUSED = "keep at most 5 pairs a prompt, or weight them down; it is trained on that many times"
LEAKED = "split by prompt: preftune split; the evaluation would measure what was memorised"


def pair(chosen, rejected, prompt="Q?", **more):
    return pair_line(prompt, chosen, rejected, **more)


def duplicate(line):
    return Problem("duplicate", "warning", "", f"the same pair as line {line}", DROP, fixable=True)


def contradiction(line):
    message = f"the same two answers as line {line}, ranked the other way round"
    return Problem("contradiction", "error", "", message, TURNED)


def circle(lines):
    message = f"answers to one prompt are ranked in a circle (lines {lines})"
    return Problem("contradiction", "warning", "", message, CIRCLE)


def reuse(count):
    message = f"one prompt stands in {count} pairs, this line's the first"
    return Problem("prompt-reuse", "warning", "", message, REUSED)


def leak():
    return Problem("leakage", "error", "", "the prompt stands in the validation file too", LEAKED)


@pytest.fixture
def found(write_bytes):
    """Return what the rules on repeats say of lines, in the order of the lines that they name."""
    return lambda *lines: sorted(
        repeats.repeats(scan(write_bytes(b"\n".join(lines)))), key=lambda placed: (placed[1], placed[0])
    )


def test_repeats_of_nothing_are_none(found):
    assert found() == []
    assert found(b"{", b"") == []


def test_duplicate_finds_the_same_pair_again_and_names_the_first(found):
    lines = [pair("a", "b"), pair("c", "d"), pair("a", "b"), b"", pair("a", "b"), pair("a", "b", "another?")]
    assert found(*lines) == [(duplicate(1), 3), (duplicate(1), 5)]


@pytest.mark.parametrize(
    "other",
    [
        pair("a", "c"), pair("c", "b"), pair("a", "b", "Q!"), pair("a ", "b"), pair("A", "b"), pair("", "b"),
        pair("a", "b").replace(b'"content": "Q?"', b'"content": "Q?", "name": "x"'),
        pair("a", "b").replace(b'"content": "Q?"', b'"content": [{"type": "text", "text": "Q?"}]'),
        pair("a", "b").replace(b'Q?"}]', b'Q?"}], "tools": [{"function": {"name": "f"}}]'),
    ],
)  # fmt: skip
def test_duplicate_is_silent_where_any_part_differs(found, other):
    assert found(pair("a", "b"), other) == []


@pytest.mark.parametrize("other", [pair("a", "b", weight=2), pair("a", "b", id=7)])
def test_duplicate_looks_at_what_is_said_alone(found, other):
    assert found(pair("a", "b"), other) == [(duplicate(1), 2)]


def test_a_duplicate_of_a_pair_of_identical_answers_is_no_contradiction(found):
    assert found(pair("a", "a"), pair("a", "a"), pair("a", "a")) == [(duplicate(1), 2), (duplicate(1), 3)]


def test_contradiction_finds_two_answers_ranked_both_ways(found):
    lines = [pair("a", "b"), pair("b", "a"), pair("b", "a", "another?"), pair("b", "a"), pair("a", "b")]
    assert found(*lines) == [
        (contradiction(1), 2), (contradiction(1), 4), (duplicate(2), 4), (contradiction(2), 5), (duplicate(1), 5),
    ]  # fmt: skip


def test_contradiction_is_silent_where_the_rankings_agree(found):
    assert found(pair("a", "b"), pair("b", "c"), pair("a", "c"), pair("x", "a")) == []


def test_contradiction_warns_of_a_circle_and_names_its_lines_alone(found):
    ranked = ["za", "ab", "bc", "ca", "cy", "yx"]
    assert [
        placed for placed in found(*(pair(*answers) for answers in ranked)) if placed[0].rule == "contradiction"
    ] == [(circle("2, 3, 4"), 2)]


def test_contradiction_finds_a_circle_whatever_the_order_of_its_lines(found):
    assert found(pair("c", "a"), pair("x", "y", "P?"), pair("a", "b"), pair("b", "c")) == [(circle("1, 3, 4"), 1)]


def test_contradiction_names_one_circle_where_a_bridge_leads_to_another(found):
    placed = found(*(pair(*answers) for answers in ("ab", "bc", "ca", "cd", "de", "ef", "fd")))
    (told,) = [told for told in placed if told[0].rule == "contradiction"]
    assert told in {(circle("1, 2, 3"), 1), (circle("5, 6, 7"), 5)}


@pytest.mark.parametrize(("answers", "lines"), [("abcde", "1, 2, 3, 4, 5"), ("abcdefg", "1, 2, 3, 4, 5, …")])
def test_contradiction_names_no_more_than_five_lines_of_a_circle(found, answers, lines):
    placed = found(*(pair(a, b) for a, b in pairwise(answers + answers[0])))
    assert (circle(lines), 1) in placed


def test_contradiction_names_a_circle_for_each_prompt(found):
    lines = [pair(a, b, prompt) for prompt in ("one?", "two?") for a, b in ("ab", "bc", "ca")]
    assert found(*lines) == [(circle("1, 2, 3"), 1), (circle("4, 5, 6"), 4)]


def test_contradiction_does_not_call_two_a_circle_nor_lead_a_circle_through_them(found):
    assert found(pair("a", "b"), pair("b", "a"), pair("a", "c")) == [(contradiction(1), 2)]
    assert found(pair("a", "b"), pair("b", "a"), pair("b", "c"), pair("c", "a")) == [(contradiction(1), 2)]


def test_contradiction_takes_no_pair_of_identical_answers_for_a_circle(found):
    assert found(pair("a", "a"), pair("a", "b")) == []


def test_prompt_reuse_finds_a_prompt_of_more_than_five_pairs_at_its_first(found):
    lines = [pair("x", "y", "another?"), *(pair(f"{number}", "b") for number in range(6))]
    assert found(*lines) == [(reuse(6), 2)]
    assert found(*lines[:-1]) == []


def test_repeats_of_one_prompt_stay_fast(found):
    """Each of thousands of answers to one prompt was once compared with all before it: hours, for a large file."""
    assert found(*(pair(f"{number}", f"{number + 1}") for number in range(5_000))) == [(reuse(5_000), 1)]


def test_repeats_are_found_across_parts(write_bytes):
    lines = [
        pair("a", "b"),
        pair("c", "d", "P?"),
        pair("a", "b"),
        pair("b", "a"),
        pair("d", "e", "P?"),
        pair("e", "c", "P?"),
    ]
    path = write_bytes(b"\n".join(lines))
    cut = path.stat().st_size // 2
    assert set(repeats.repeats(merge(scan(path, 0, cut), scan(path, cut)))) == {
        (duplicate(1), 3), (contradiction(1), 4), (circle("2, 5, 6"), 2),
    }  # fmt: skip


def answered(prompts, answers="abc"):
    return st.tuples(st.sampled_from(answers), st.sampled_from(answers), st.sampled_from(prompts))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(answered([f"{number}?" for number in range(4)]), max_size=25))
def test_repeats_are_those_that_a_plain_comparison_of_all_pairs_finds(tmp_path, ranked):
    path = tmp_path / "any.jsonl"
    path.write_bytes(b"\n".join(pair(*one) for one in ranked))
    placed = list(repeats.repeats(scan(path)))
    first = {one: line for line, one in reversed(list(enumerate(ranked, start=1)))}
    expected = [(duplicate(first[one]), line) for line, one in enumerate(ranked, start=1) if first[one] != line]
    for line, (chosen, rejected, prompt) in enumerate(ranked, start=1):
        turned = first.get((rejected, chosen, prompt), line)
        if chosen != rejected and turned < line:
            expected.append((contradiction(turned), line))
    numbers = defaultdict(list)
    for line, (_, _, prompt) in enumerate(ranked, start=1):
        numbers[prompt].append(line)
    expected += [(reuse(len(lines)), lines[0]) for lines in numbers.values() if len(lines) > 5]
    for prompt in numbers:
        for turn in ("abc", "acb"):
            steps = [(a, b, prompt) for a, b in pairwise(turn + turn[0])]
            if all(step in first for step in steps) and not any((b, a, prompt) in first for a, b, _ in steps):
                lines = sorted(first[step] for step in steps)
                expected.append((circle(", ".join(map(str, lines))), lines[0]))
    assert sorted(placed) == sorted(expected)


def test_leakage_finds_each_pair_whose_prompt_stands_in_the_validation_file(write_bytes):
    lines = [pair("a", "b"), pair("a", "b", "P?"), b"{", pair("c", "d"), pair("c", "d", "R?")]
    ours = scan(write_bytes(b"\n".join(lines)))
    theirs = scan(write_bytes(b"\n".join([pair("x", "y", "R?"), pair("x", "y"), pair("x", "z")]), name="eval.jsonl"))
    assert list(repeats.leakage(ours, theirs)) == [(leak(), 1), (leak(), 4), (leak(), 5)]
    assert list(repeats.leakage(theirs, ours)) == [(leak(), 1), (leak(), 2), (leak(), 3)]


def test_leakage_finds_nothing_in_or_against_an_empty_file(write_bytes):
    ours, empty = scan(write_bytes(pair("a", "b"))), scan(write_bytes(b"", name="empty.jsonl"))
    assert list(repeats.leakage(ours, empty)) == list(repeats.leakage(empty, ours)) == []
    assert list(repeats.leakage(empty, empty)) == []


def test_leakage_is_silent_where_the_prompts_differ_in_their_system_message(write_bytes):
    told = pair("a", "b").replace(b'[{"role": "user"', b'[{"role": "system", "content": ""}, {"role": "user"')
    assert list(repeats.leakage(scan(write_bytes(told)), scan(write_bytes(pair("a", "b"), name="eval.jsonl")))) == []


def test_check_reports_each_repeat_with_its_count_and_first_lines(write_bytes):
    ranked = list(combinations("abcdefgh", 2))
    report = check(write_bytes(b"\n".join([pair(*answers) for answers in ranked * 2])), sample=0)
    assert [(found.rule, found.count, found.lines, found.message) for found in report.findings] == [
        ("prompt-reuse", 1, (1,), "one prompt stands in 56 pairs, this line's the first"),
        ("duplicate", 28, (29, 30, 31, 32, 33), "the same pair as line 1"),
    ]
    assert report.stats.duplicates == 28


def test_the_words_of_a_finding_are_those_of_its_first_line_whatever_prompt_is_looked_at_first(write_bytes):
    lines = [pair("a", "b", f"{number}?") for number in range(40)]
    gathering = Gathering()
    for problem, line in repeats.repeats(scan(write_bytes(b"\n".join(lines + lines[::-1])))):
        gathering.add(problem, line)
    (finding,) = gathering.findings()
    assert (finding.count, finding.lines, finding.message) == (40, (41, 42, 43, 44, 45), "the same pair as line 40")
