import pytest

from preftune.pairs import Finding, PreferencePair, check
from preftune.pairs.rules.pair import Repeats

SAME_HINT = "drop the pair: its gradient is zero, whatever the knobs"
ALIKE = "both answers are the same but for white space, letter case or Unicode form"
TURNED_HINT = "keep the ranking you mean; the two cancel each other"
CIRCLE_HINT = "a over b, b over c, c over a: keep the rankings you trust"


def row(chosen, rejected, prompt="Q?", **given):
    return {
        "input": {"messages": [{"role": "user", "content": prompt}], **given},
        "preferred_output": [message(chosen)],
        "non_preferred_output": [message(rejected)],
    }


def message(answer):
    return {"role": "assistant", **(answer if isinstance(answer, dict) else {"content": answer})}


@pytest.fixture
def findings(write_rows):
    """Return what check says of rows."""
    return lambda *rows: check(write_rows(*rows)).findings


@pytest.fixture
def on_sides(findings):
    """Return what check says of two answers to one prompt."""
    return lambda chosen, rejected: findings(row("a", "b", "another?"), row(chosen, rejected))


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Paris", "Paris"),
        ([{"type": "text", "text": "Paris"}], [{"text": "Paris", "type": "text"}]),
        ({"content": "4", "reasoning": "2+2"}, {"reasoning": "2+2", "content": "4"}),
    ],
)
def test_identical_finds_answers_that_are_equal(on_sides, chosen, rejected):
    sides = [{"content": side} if isinstance(side, list) else side for side in (chosen, rejected)]
    assert on_sides(*sides) == [
        Finding("identical", "error", 1, (2,), "", "both answers are the same", SAME_HINT, fixable=True, refused=False)
    ]


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
def test_identical_warns_of_answers_equal_but_for_spelling(on_sides, chosen, rejected):
    hint = "drop the pair, unless that difference is what you teach"
    assert on_sides(chosen, rejected) == [
        Finding("identical", "warning", 1, (2,), "", ALIKE, hint, fixable=True, refused=False)
    ]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ("Paris", "Rome"),
        ("a b", "ab"),
        ({"content": "4", "reasoning": "2+2"}, {"content": "4", "reasoning": "guess"}),
        ({"content": "4", "name": "x"}, "4"),
    ],
)
def test_identical_is_silent_where_the_answers_differ(on_sides, chosen, rejected):
    assert on_sides(chosen, rejected) == []


def test_duplicate_finds_the_same_pair_again(findings):
    rows = [row("a", "b"), row("c", "d"), row("a", "b"), row("a", "b")]
    assert findings(*rows) == [
        Finding(
            "duplicate", "warning", 2, (3, 4), "", "the same pair as line 1",
            "drop it, or give the first a larger weight",
            fixable=True, refused=False,
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other", [row("a", "c"), row("c", "b"), row("a", "b", "Q!"), row("a", "b", tools=[]), row("a ", "b")]
)
def test_duplicate_is_silent_where_any_part_differs(findings, other):
    assert findings(row("a", "b"), other) == []


def test_a_duplicate_of_a_pair_of_identical_answers_is_no_contradiction(findings):
    assert [(found.rule, found.lines) for found in findings(row("a", "a"), row("a", "a"))] == [
        ("identical", (1, 2)), ("duplicate", (2,)),
    ]  # fmt: skip


def test_contradiction_finds_two_answers_ranked_both_ways(findings):
    assert findings(row("a", "b"), row("b", "a"), row("b", "a", "another?")) == [
        Finding(
            "contradiction", "error", 1, (2,), "", "the same two answers as line 1, ranked the other way round",
            TURNED_HINT, fixable=False, refused=False,
        )
    ]  # fmt: skip


def test_contradiction_is_silent_where_the_rankings_agree(findings):
    assert findings(row("a", "b"), row("b", "c"), row("a", "c"), row("x", "a")) == []


def test_contradiction_warns_of_a_circle_and_names_its_lines_alone(findings):
    rows = [row("z", "a"), row("a", "b"), row("b", "c"), row("c", "a"), row("c", "y"), row("y", "x")]
    assert findings(*rows) == [
        Finding(
            "contradiction", "warning", 1, (2,), "", "answers to one prompt are ranked in a circle (lines 2, 3, 4)",
            CIRCLE_HINT, fixable=False, refused=False,
        )
    ]  # fmt: skip


def test_contradiction_names_one_circle_where_a_bridge_leads_to_another(findings):
    circles = [row(a, b) for a, b in ("ab", "bc", "ca", "cd", "de", "ef", "fd")]
    (finding,) = findings(*circles)
    assert finding.message in {
        "answers to one prompt are ranked in a circle (lines 1, 2, 3)",
        "answers to one prompt are ranked in a circle (lines 5, 6, 7)",
    }


@pytest.mark.parametrize(("answers", "lines"), [("abcde", "1, 2, 3, 4, 5"), ("abcdefg", "1, 2, 3, 4, 5, …")])
def test_contradiction_names_no_more_than_five_lines_of_a_circle(findings, answers, lines):
    (finding,) = findings(*(row(a, b) for a, b in zip(answers, answers[1:] + answers[0], strict=True)))
    assert finding.message == f"answers to one prompt are ranked in a circle (lines {lines})"


def test_contradiction_counts_a_circle_for_each_prompt(findings):
    rows = [row(a, b, prompt) for prompt in ("one?", "two?") for a, b in ("ab", "bc", "ca")]
    assert [(found.severity, found.count, found.lines) for found in findings(*rows)] == [("warning", 2, (1, 4))]


def test_contradiction_does_not_call_a_circle_of_two_a_circle(findings):
    assert [found.severity for found in findings(row("a", "b"), row("b", "a"), row("a", "c"))] == ["error"]


def test_repeats_of_one_prompt_stay_fast():
    """Each of thousands of answers to one prompt was once compared with all before it: hours, for a large file."""
    repeats = Repeats()
    prompt = [{"role": "user", "content": "Q?"}]
    for number in range(5_000):
        pair = PreferencePair(prompt, message(f"{number}"), message(f"{number + 1}"))
        assert list(repeats.add(pair, number)) == []
    assert list(repeats.cycles()) == []
