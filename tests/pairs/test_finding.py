import html
import json
from pathlib import Path

import pytest

from preftune.errors import DataError
from preftune.pairs.finding import Finding, Gathering, Problem, Report, plural

ROLE = Problem("output", "error", "non_preferred_output[0].role", "non_preferred_output[0].role is 'user'; it must be 'assistant'", "both outputs are answers", refused=True)  # noqa: E501 # fmt: skip
BLANK = Problem("blank", "info", "", "the line is blank", "it is skipped", fixable=True)
ROLE_FOUND = Finding("output", "error", 1, (12,), ROLE.path, ROLE.message, ROLE.hint, fixable=False, refused=True)
EMPTY_FOUND = Finding("empty-file", "error", 1, (), "", "there is no pair", "write one", fixable=False, refused=True)
WARNING = Finding("duplicate", "warning", 7, (2, 3, 4, 5, 6), "", "the same pair as line 1", "drop it", True, False)


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
        ROLE._replace(hint="another"), ROLE._replace(path="score_1"),
    ],
)  # fmt: skip
def test_gathering_keeps_kinds_apart_by_rule_severity_path_and_hint(other):
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


def test_a_report_is_ok_without_errors():
    assert Report(Path("p.jsonl"), 3).ok
    assert Report(Path("p.jsonl"), 3, [WARNING]).ok
    assert not Report(Path("p.jsonl"), 3, [ROLE_FOUND]).ok


def test_a_report_counts_its_findings_and_picks_those_the_hosted_side_refuses():
    advice = Finding("identical", "error", 1, (3,), "", "the same", "drop it", True, False)
    report = Report(Path("p.jsonl"), 3, [ROLE_FOUND, advice, WARNING])
    assert [report.count(severity) for severity in ("error", "warning", "info")] == [2, 1, 0]
    assert report.refusals() == [ROLE_FOUND]


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        ([ROLE_FOUND], "pairs.jsonl:12: non_preferred_output[0].role is 'user'; it must be 'assistant'; both outputs are answers"),  # noqa: E501
        ([EMPTY_FOUND, WARNING], "pairs.jsonl: there is no pair; write one"),
        ([EMPTY_FOUND, ROLE_FOUND], "pairs.jsonl: there is no pair; write one (and 1 more kind of error)"),
        ([EMPTY_FOUND, ROLE_FOUND, ROLE_FOUND], "pairs.jsonl: there is no pair; write one (and 2 more kinds of error)"),
    ],
)  # fmt: skip
def test_raise_for_errors_tells_the_first_error_and_carries_every_finding(findings, message):
    with pytest.raises(DataError) as caught:
        Report(Path("data/pairs.jsonl"), 0, findings).raise_for_errors()
    assert (str(caught.value), caught.value.findings) == (message, findings)


def test_raise_for_errors_is_silent_without_an_error():
    Report(Path("pairs.jsonl"), 1, [WARNING]).raise_for_errors()


def test_to_dict_gives_plain_values_for_json():
    values = Report(Path("data/pairs.jsonl"), 1_000, [ROLE_FOUND]).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values == {
        "path": str(Path("data/pairs.jsonl")),
        "ok": False,
        "pairs": 1000,
        "findings": [
            {
                "rule": "output", "severity": "error", "count": 1, "lines": [12],
                "path": "non_preferred_output[0].role",
                "message": "non_preferred_output[0].role is 'user'; it must be 'assistant'",
                "hint": "both outputs are answers", "fixable": False, "refused": True,
            }
        ],
    }  # fmt: skip


def test_str_tells_every_finding_with_its_place_and_what_to_do():
    assert str(Report(Path("data/pairs.jsonl"), 1_234, [ROLE_FOUND, EMPTY_FOUND, WARNING])) == (
        "pairs.jsonl: 1,234 pairs, 2 errors, 1 warning\n"
        "E output           pairs.jsonl:12: non_preferred_output[0].role is 'user'; it must be 'assistant'\n"
        "                   both outputs are answers\n"
        "E empty-file       pairs.jsonl: there is no pair\n"
        "                   write one\n"
        "W duplicate        pairs.jsonl:2: the same pair as line 1 (7 times)\n"
        "                   drop it (lines 2, 3, 4, 5, 6, …)"
    )


def test_str_names_all_lines_of_a_finding_that_has_more_problems_than_lines():
    twice = Finding("input", "error", 3, (1, 2), "", "a role is missing", "name it", False, True)
    assert str(Report(Path("p.jsonl"), 0, [twice])).endswith("name it (lines 1, 2)")


def test_str_of_a_finding_seen_twice_in_no_line_names_no_lines():
    assert str(Report(Path("p.jsonl"), 1, [Finding("r", "info", 2, (), "", "m", "h", False, False)])) == (
        "p.jsonl: 1 pair, no error and no warning\nI r                p.jsonl: m (2 times)\n                   h"
    )


def test_repr_html_is_a_table_that_escapes_what_the_file_says():
    evil = "<script>alert('&')</script>"
    finding = Finding(evil, "error", 2, (1, 2), evil, evil, evil, False, True)
    text = Report(Path(f"{evil.replace('/', '')}.jsonl"), 1, [finding])._repr_html_()
    assert "<script>" not in text
    assert text.count(html.escape(evil)) == 3
    assert text.startswith("<p><b>&lt;script&gt;")
    assert "1 pair, 1 error</p><table><tr><th>severity</th>" in text
    assert "<td>error</td>" in text
    assert "<td>2</td><td>1, 2</td>" in text


def test_repr_html_of_a_clean_report_has_no_table():
    assert Report(Path("p.jsonl"), 2)._repr_html_() == "<p><b>p.jsonl</b>: 2 pairs, no error and no warning</p>"


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs"), (1_000_000, "1,000,000 pairs")]
)
def test_plural_gives_a_number_and_its_noun(count, words):
    assert plural(count, "pair") == words
