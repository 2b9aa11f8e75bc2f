from operator import itemgetter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from preftune.pairs.finding import Finding, Gathering, Problem, plural

ROLE = Problem("output", "error", "non_preferred_output[0].role", "non_preferred_output[0].role is 'user'; it must be 'assistant'", "both outputs are answers", refused=True)  # noqa: E501 # fmt: skip
BLANK = Problem("blank", "info", "", "the line is blank", "it is skipped", fixable=True)


def gathered(*problems):
    found = Gathering()
    for problem, line in problems:
        found.add(problem, line)
    return found.findings()


def test_gathering_makes_one_finding_of_all_problems_of_a_kind_with_the_first_five_lines():
    assert gathered(*((ROLE, line) for line in range(12, 20))) == [
        Finding("output", "error", 8, (12, 13, 14, 15, 16), ROLE.path, ROLE.message, ROLE.hint, False, True)
    ]


def test_gathering_keeps_the_words_of_the_first_problem_and_counts_indices_as_one_kind():
    other = ROLE._replace(path="non_preferred_output[7].role", message="non_preferred_output[7].role is 'tool'")
    assert gathered((ROLE, 12), (other, 13)) == [
        Finding("output", "error", 2, (12, 13), ROLE.path, ROLE.message, ROLE.hint, False, True)
    ]


def test_gathering_names_a_line_once_however_many_problems_it_has():
    assert [(found.count, found.lines) for found in gathered((ROLE, 1), (ROLE, 1), (ROLE, 2))] == [(3, (1, 2))]


@pytest.mark.parametrize(
    "other",
    [
        ROLE._replace(rule="input"), ROLE._replace(severity="warning"), ROLE._replace(path="preferred_output[0].role"),
        ROLE._replace(hint="another"), ROLE._replace(path="score_1"), ROLE._replace(fixable=True),
        ROLE._replace(refused=False),
    ],
)  # fmt: skip
def test_gathering_keeps_kinds_apart_by_all_but_the_words_of_what_was_found(other):
    assert len(gathered((ROLE, 1), (other, 1))) == 2


def test_gathering_keeps_keys_apart_that_differ_in_a_digit():
    problems = [ROLE._replace(path=f"score_{number}") for number in (1, 2)]
    assert [found.path for found in gathered(*((problem, 1) for problem in problems))] == ["score_1", "score_2"]


def test_gathering_puts_errors_first_then_warnings_and_keeps_the_order_of_sight():
    warning = ROLE._replace(severity="warning")
    found = gathered((BLANK, 1), (warning, 2), (ROLE, 3), (ROLE._replace(rule="input"), 4))
    assert [(finding.rule, finding.severity) for finding in found] == [
        ("output", "error"), ("input", "error"), ("output", "warning"), ("blank", "info"),
    ]  # fmt: skip


def test_gathering_gives_no_line_to_what_concerns_the_whole_file():
    assert gathered((BLANK, None)) == [Finding("blank", "info", 1, (), "", BLANK.message, BLANK.hint, True, False)]


def test_gathering_takes_all_problems_of_the_whole_file_at_once():
    found = Gathering()
    found.add_all([])
    assert found == Gathering()
    found.add_all(iter([BLANK, ROLE, BLANK]))
    assert [(finding.rule, finding.count, finding.lines) for finding in found.findings()] == [
        ("output", 1, ()),
        ("blank", 2, ()),
    ]


def test_gathering_keeps_no_problem_of_the_whole_file_apart_from_those_of_lines_of_its_kind():
    assert gathered((BLANK, None), (BLANK, 3)) == [
        Finding("blank", "info", 2, (3,), "", BLANK.message, BLANK.hint, True, False)
    ]


def test_gathering_orders_findings_by_severity_then_first_line_the_whole_file_last():
    kinds = [
        ROLE._replace(rule=rule, severity=severity)
        for rule, severity in (
            ("a", "info"),
            ("b", "error"),
            ("c", "warning"),
            ("d", "error"),
            ("e", "error"),
            ("f", "error"),
        )
    ]
    lines = (1, None, 2, 9, 4, 4)
    assert [found.rule for found in gathered(*zip(kinds, lines, strict=True))] == ["e", "f", "d", "b", "c", "a"]


def test_gathering_tells_the_words_of_the_smallest_line_whatever_the_order():
    problems = [(ROLE._replace(message=f"on line {line}"), line) for line in range(1, 9)]
    expected = [Finding("output", "error", 8, (1, 2, 3, 4, 5), ROLE.path, "on line 1", ROLE.hint, False, True)]
    assert gathered(*problems) == gathered(*reversed(problems)) == gathered(*problems[4:], *problems[:4]) == expected


def test_gathering_of_nothing_finds_nothing():
    assert gathered() == []
    assert Gathering() == Gathering()


def test_gatherings_are_equal_when_they_gathered_the_same():
    first, second, third = Gathering(), Gathering(), Gathering()
    for gathering in (first, second):
        gathering.add(ROLE, 1)
    third.add(ROLE, 2)
    assert first == second
    assert first != third
    assert first != first.findings()
    with pytest.raises(TypeError, match="unhashable"):
        hash(first)


PROBLEMS = st.lists(
    st.tuples(
        st.builds(ROLE._replace, rule=st.sampled_from("ab"), severity=st.sampled_from(["error", "info"]),
                  path=st.sampled_from(["a[0]", "a[1]", "b"]), message=st.sampled_from("xyz")),
        st.integers(1, 9),
    ),
    max_size=20,
)  # fmt: skip


@given(parts=st.lists(PROBLEMS, min_size=1, max_size=4))
@settings(deadline=None)
def test_gatherings_of_neighbouring_parts_merge_to_the_gathering_of_the_whole(parts):
    whole, merged, turned = Gathering(), Gathering(), Gathering()
    pieces = []
    for part, problems in enumerate(parts):
        piece = Gathering()
        for problem, line in sorted(problems, key=itemgetter(1)):
            whole.add(problem, line + 10 * part)
            piece.add(problem, line)
        pieces.append((piece, 10 * part))
    for piece, before in pieces:
        merged.merge(piece, lines_before=before)
    for piece, before in reversed(pieces):
        turned.merge(piece, lines_before=before)
    assert merged == whole == turned
    assert merged.findings() == whole.findings()


def test_merge_leaves_the_other_gathering_as_it_is():
    first, second, before = Gathering(), Gathering(), Gathering()
    for gathering in (second, before):
        gathering.add(ROLE, 1)
    first.merge(second)
    first.add(ROLE, 2)
    first.merge(second, lines_before=7)
    assert second == before
    assert [(found.count, found.lines) for found in first.findings()] == [(3, (1, 2, 8))]


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs"), (1_000_000, "1,000,000 pairs")]
)
def test_plural_gives_a_number_and_its_noun(count, words):
    assert plural(count, "pair") == words
