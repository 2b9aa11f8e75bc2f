import io
import json
import re
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from preftune.charts import Histogram
from preftune.errors import DataError
from preftune.pairs import Finding, Report, Stats, check
from preftune.pairs.finding import SEVERITIES
from preftune.pairs.measures import Lengths
from preftune.pairs.rules.catalog import RULES, pair_line

ROLE = Finding(
    "output", "error", 1, (12,), "non_preferred_output[0].role",
    "non_preferred_output[0].role is 'user'; it must be 'assistant'", "both outputs are answers",
    fixable=False, refused=True,
)  # fmt: skip
EMPTY = Finding("empty-file", "error", 1, (), "", "there is no pair", "write one", fixable=False, refused=True)
SAME = Finding("identical", "error", 1, (3,), "", "both answers are the same", "drop the pair", True, False)
AGAIN = Finding("duplicate", "warning", 7, (2, 3, 4, 5, 6), "", "the same pair as line 1", "drop it", True, False)
EMOJI = Finding("format-bias", "warning", 1, (), "an emoji", "emoji go with one side", "balance it", False, False)
LINKS = Finding("format-bias", "warning", 1, (), "a link", "links go with one side", "balance it", False, False)
NOTE = Finding("blank", "info", 1, (3,), "", "the line is blank", "it is skipped", True, False)
WIDE = Histogram("answer length", "characters", [1, 10, 100], {"chosen": [1, 3], "rejected": [4, 0]})


def counts(pairs=3, lines=3, size=1_234):
    return Stats(size, lines, pairs, 0, 0)


def measured(**more):
    """Return the numbers of a file of 1,000 pairs, of which 200 were measured."""
    lengths = Lengths(5.0, 3.0, 4.0, 12_345.0, 99_999)
    values = {
        "bytes": 12_345_678, "lines": 1_000, "pairs": 1_000, "duplicates": 0, "identical": 0, "sampled": 200,
        "turns": 1.0, "prompt": lengths, "chosen": lengths, "rejected": lengths, "chosen_longer": 0.25,
        "chosen_longer_z": -7.1, "length_ratio": 0.5, "length_auc": 0.3, "features": {"code": (0.5, 0.25)},
        "tokens_per_epoch": 123_456, "tokens_estimated": True, "histogram": WIDE,
    }  # fmt: skip
    return Stats(**(values | more))


def report(*findings, stats=None, name="data/pairs.jsonl"):
    return Report(Path(name), list(findings), stats or counts())


def test_a_report_is_ok_without_errors():
    assert report().ok
    assert report(AGAIN, NOTE).ok
    assert not report(SAME).ok


def test_a_report_counts_its_findings_and_picks_those_the_hosted_side_refuses():
    full = report(ROLE, SAME, AGAIN)
    assert [full.count(severity) for severity in SEVERITIES] == [2, 1, 0]
    assert full.refusals() == [ROLE]
    assert full.pairs == 3


@pytest.mark.parametrize(
    ("findings", "message"),
    [
        (
            [ROLE],
            "pairs.jsonl:12: non_preferred_output[0].role is 'user'; it must be 'assistant'; both outputs are answers",
        ),
        ([EMPTY, AGAIN], "pairs.jsonl: there is no pair; write one"),
        ([AGAIN, EMPTY, ROLE], "pairs.jsonl: there is no pair; write one (and 1 more kind of error)"),
        ([EMPTY, ROLE, SAME], "pairs.jsonl: there is no pair; write one (and 2 more kinds of error)"),
    ],
)
def test_raise_for_errors_tells_the_first_error_and_carries_every_finding(findings, message):
    with pytest.raises(DataError) as caught:
        report(*findings).raise_for_errors()
    assert (str(caught.value), caught.value.findings) == (message, findings)


def test_raise_for_errors_is_silent_without_an_error():
    report(AGAIN, NOTE).raise_for_errors()


@pytest.mark.parametrize(
    ("findings", "summary", "verdict"),
    [
        ([], "no error and no warning", "The hosted side would take this file."),
        ([NOTE], "no error and no warning", "The hosted side would take this file."),
        ([AGAIN], "1 warning", "The hosted side would take this file."),
        (
            [SAME, AGAIN, EMOJI],
            "1 error, 2 warnings",
            "The hosted side would take this file, and part of it would be paid for in vain.",
        ),
        ([ROLE, SAME], "2 errors", "The hosted side would refuse this file."),
    ],
)
def test_a_report_says_in_words_what_becomes_of_the_file(findings, summary, verdict):
    assert (report(*findings).summary(), report(*findings).verdict()) == (summary, verdict)


def test_to_dict_gives_all_of_a_report_as_plain_values_for_json():
    values = report(ROLE, AGAIN, stats=measured()).to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)).keys() == values.keys()
    assert {key: value for key, value in values.items() if key not in {"findings", "stats"}} == {
        "path": str(Path("data/pairs.jsonl")), "ok": False, "pairs": 1_000,
    }  # fmt: skip
    assert values["findings"][0] == {
        "rule": "output", "severity": "error", "count": 1, "lines": [12], "path": "non_preferred_output[0].role",
        "message": "non_preferred_output[0].role is 'user'; it must be 'assistant'",
        "hint": "both outputs are answers", "fixable": False, "refused": True,
    }  # fmt: skip
    assert values["findings"][1].keys() == {field.name for field in fields(Finding)}
    assert values["stats"] == measured().to_dict()


# as text

TOLD = """\
pairs.jsonl: 1,000 pairs, 12.3 MB

ERROR    output · line 12
         non_preferred_output[0].role is 'user'; it must be 'assistant'
         → both outputs are answers

WARNING  duplicate · 7 times (0.7%), lines 2, 3, 4, 5, 6, …
         line 2: the same pair as line 1
         → drop it (preftune fix mends it)

WARNING  format-bias
         emoji go with one side
         links go with one side
         → balance it

INFO     blank · line 3
         the line is blank
         → it is skipped (preftune fix mends it)

The costlier rules and these numbers saw a sample of 200 of 1,000 pairs.
characters         10%   median      90%   short               long
prompt               3        4   12,345
chosen               3        4   12,345   ▃█
rejected             3        4   12,345   █
chosen longer in 25.0% of pairs (z -7.1); mean length ratio 0.50
about 123,456 tokens an epoch (estimated; a prompt counts with each answer)

1 error, 2 warnings. The hosted side would refuse this file."""


def test_str_tells_every_finding_with_its_place_and_what_to_do_and_then_the_numbers():
    assert str(report(ROLE, AGAIN, EMOJI, LINKS, NOTE, stats=measured())) == TOLD


def test_str_of_a_clean_file_is_short():
    assert str(report()) == (
        "pairs.jsonl: 3 pairs, 1.2 kB\n\nNo error and no warning. The hosted side would take this file."
    )


def test_str_of_a_small_file_as_check_reports_it(write_bytes):
    row = '{"input":{"messages":[{"role":"user","content":"Hi"}]},"preferred_output":[{"role":"assistant","content":"%s"}],"non_preferred_output":[{"role":"%s","content":"No."}]}\n'  # noqa: E501
    path = write_bytes(
        (row % ("Yes.", "assistant") + row % ("No.", "assistant") + "\n" + row % ("Yes.", "user")).encode()
    )
    assert str(check(path, sample=0)) == (
        "pairs.jsonl: 2 pairs in 4 lines, 526 bytes\n"
        "\n"
        "ERROR    identical · line 2\n"
        "         both answers are the same\n"
        "         → drop the pair: its gradient is zero, whatever the knobs (preftune fix\n"
        "           mends it)\n"
        "\n"
        "ERROR    output · line 4\n"
        "         non_preferred_output[0].role is 'user'; it must be 'assistant'\n"
        "         → both outputs are answers\n"
        "\n"
        "INFO     blank · line 3\n"
        "         the line is blank\n"
        "         → it is skipped; remove it if it is an accident (preftune fix mends it)\n"
        "\n"
        "2 errors. The hosted side would refuse this file."
    )


@pytest.mark.parametrize(
    ("count", "lines", "of", "places"),
    [
        (3, (1, 2), 4, "3 times (75.0%), lines 1, 2"),
        (5, (1, 2, 3, 4, 9), 10, "5 times (50.0%), lines 1, 2, 3, 4, 9"),
        (2_000, (1, 2, 3, 4, 9), 10_000, "2,000 times (20.0%), lines 1, 2, 3, 4, 9, …"),
    ],
)
def test_str_says_how_often_and_where(count, lines, of, places):
    finding = Finding("input", "error", count, lines, "", "m", "h", fixable=False, refused=True)
    assert f" · {places}\n" in str(report(finding, stats=counts(lines=of)))


ON_LINES = {rule.id: rule.sees for rule in RULES if rule.sees != "the sample as a whole"}
ON_PAIRS = {"identical", "duplicate", "contradiction", "leakage"}


@pytest.mark.parametrize("rule", sorted(ON_LINES.keys() - {"prompt-reuse", "keys"}))
def test_str_gives_the_share_of_the_sample_or_of_the_pairs_or_of_the_lines_that_a_rule_sees(rule):
    share = "50.0%" if ON_LINES[rule] == "the sample" else "10.0%" if rule in ON_PAIRS else "5.0%"
    finding = Finding(rule, "warning", 100, (5, 6), "", "m", "h", fixable=False, refused=False)
    assert f" · 100 times ({share}), lines 5, 6\n" in str(report(finding, stats=measured(lines=2_000)))


@pytest.mark.parametrize(
    ("rule", "path"), [("prompt-reuse", ""), ("keys", ""), ("keys", "input"), ("input", "input.messages[0].role")]
)
def test_str_gives_no_share_of_what_may_stand_several_times_in_a_line_or_in_several_lines(rule, path):
    finding = Finding(rule, "warning", 3, (1,), path, "m", "h", fixable=False, refused=False)
    assert f"{rule} · 3 times, line 1\n         m\n" in str(report(finding, stats=counts(lines=1)))


def test_str_gives_no_share_above_one_for_two_unknown_keys_a_row(write_rows):
    row = json.loads(pair_line()) | {"id": 1, "source": 2}
    assert "keys · 4 times, lines 1, 2\n" in str(check(write_rows(row, row), sample=0))


@pytest.mark.parametrize("sampled", [99, 100])
def test_str_says_when_a_sample_was_too_small_for_the_rules_on_the_set(sampled):
    silent = "The rules on the set as a whole need 100 sampled pairs, and were silent."
    assert (silent in str(report(stats=measured(sampled=sampled))).splitlines()) == (sampled < 100)


def test_str_of_a_small_file_seen_as_a_whole_does_not_speak_of_a_sample():
    assert "sampled" not in str(report(stats=measured(pairs=99, lines=99, sampled=99)))


def test_str_breaks_a_line_of_numbers_that_is_too_wide():
    told = str(report(stats=measured(tokens_per_epoch=10**30)))
    assert told.splitlines()[-4:-2] == [
        "about 1,000,000,000,000,000,000,000,000,000,000 tokens an epoch (estimated; a",
        "prompt counts with each answer)",
    ]


def test_summary_counts_findings_with_one_hint_as_one_as_they_are_shown():
    made = report(EMOJI, LINKS, NOTE)
    assert (made.summary(), made.count("warning")) == ("1 warning", 2)
    assert str(made).count("WARNING") == 1


def test_str_names_the_places_of_each_of_several_findings_with_one_hint():
    other = Finding("duplicate", "warning", 1, (9,), "other", "another", "drop it", True, False)
    assert str(report(AGAIN, other, stats=counts(70, 70))).splitlines()[2:7] == [
        "WARNING  duplicate",
        "         line 2: the same pair as line 1 · 7 times (10.0%), lines 2, 3, 4, 5, 6,",
        "         …",
        "         another · line 9",
        "         → drop it (preftune fix mends it)",
    ]


def test_str_puts_what_does_not_fit_on_a_line_of_its_own():
    name = "x" * 70 + ".jsonl"
    many = Finding("near-identical", "warning", 9_999_999, tuple(range(10**7, 10**7 + 5)), "", "m", "h", False, False)
    assert str(report(many, SAME, name=name, stats=counts(10**8, 10**8))).splitlines() == [
        name,
        "100,000,000 pairs, 1.2 kB",
        "",
        "WARNING  near-identical",
        "         9,999,999 times, lines 10000000, 10000001, 10000002, 10000003,",
        "         10000004, …",
        "         line 10000000: m",
        "         → h",
        "",
        "ERROR    identical · line 3",
        "         both answers are the same",
        "         → drop the pair (preftune fix mends it)",
        "",
        "1 error, 1 warning.",
        "The hosted side would take this file, and part of it would be paid for in vain.",
    ]


@pytest.mark.parametrize(
    ("size", "told"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1_000, "1.0 kB"),
        (2_500_000, "2.5 MB"),
        (50 * 10**9, "50.0 GB"),
    ],
)
def test_str_gives_the_size_in_its_unit(size, told):
    assert str(report(stats=counts(size=size))).startswith(f"pairs.jsonl: 3 pairs, {told}\n")


def test_str_leaves_out_a_ratio_that_there_is_none_of_and_says_who_counted():
    told = str(report(stats=measured(length_ratio=None, tokens_estimated=False, sampled=1_000)))
    assert "ratio" not in told
    assert "sample" not in told
    assert "about 123,456 tokens an epoch (your tokenizer; a prompt counts with each answer)" in told


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), max_size=120)
FINDINGS = st.builds(
    Finding,
    rule=st.sampled_from([rule.id for rule in RULES]),
    severity=st.sampled_from(SEVERITIES),
    count=st.integers(1, 10**9),
    lines=st.lists(st.integers(1, 10**9), max_size=5).map(lambda lines: tuple(sorted(lines))),
    path=TEXTS,
    message=TEXTS | st.sampled_from(["word " * 60, "x" * 300, "a-b-" * 80, "中文" * 100]),
    hint=TEXTS,
    fixable=st.booleans(),
    refused=st.booleans(),
)
STATS = st.builds(counts, st.integers(0, 10**10), st.integers(0, 10**10), st.integers(0, 10**13)) | st.builds(
    measured,
    sampled=st.integers(0, 10**4),
    tokens_per_epoch=st.integers(0, 10**14),
    chosen_longer_z=st.floats(-1e6, 1e6),
    length_ratio=st.none() | st.floats(0, 1e9),
)
REPORTS = st.builds(
    lambda name, findings, stats: Report(Path("data", name or "x"), findings, stats),
    TEXTS, st.lists(FINDINGS, max_size=4), STATS,
)  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(REPORTS)
def test_no_line_of_a_report_is_wider_than_80_characters(made):
    assert [line for line in str(made).split("\n") if len(line) > 80] == []


@settings(deadline=None, max_examples=60)
@given(REPORTS)
def test_a_terminal_shows_the_same_text_in_colours(made):
    lines = [line.rstrip() for line in made.__rich__().plain.split("\n")]
    controls = dict.fromkeys(map(ord, "\a\b\v\f\r"))  # rich leaves them out
    assert lines == [line.translate(controls).rstrip() for line in str(made).split("\n")]


def test_a_terminal_of_80_columns_breaks_no_line_and_shows_severities_in_colour():
    console = Console(width=80, force_terminal=True, color_system="standard", file=io.StringIO())
    console.print(report(ROLE, AGAIN, EMOJI, LINKS, NOTE, stats=measured()))
    styled = console.file.getvalue()
    assert [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", styled).splitlines()] == TOLD.splitlines()
    assert "\x1b[1;31mERROR" in styled
    assert "\x1b[1;33mWARNING" in styled


# as HTML


def elements(made):
    return ET.fromstring(f"<div>{made._repr_html_().replace('<br>', '<br/>')}</div>")


def test_html_is_a_table_of_kinds_a_picture_and_the_numbers():
    root = elements(report(ROLE, AGAIN, EMOJI, LINKS, NOTE, stats=measured()))
    assert "".join(root.find("p").itertext()) == (
        "pairs.jsonl: 1,000 pairs, 12.3 MB. 1 error, 2 warnings. The hosted side would refuse this file."
    )
    cells = [["|".join(cell.itertext()) for cell in row] for row in root.find("table")]
    assert cells == [
        ["error", "output", f"{ROLE.message} · line 12|→ both outputs are answers"],
        [
            "warning",
            "duplicate",
            (
                "line 2: the same pair as line 1 · 7 times (0.7%), lines 2, 3, 4, 5, 6, …"
                "|→ drop it (preftune fix mends it)"
            ),
        ],
        ["warning", "format-bias", "emoji go with one side|links go with one side|→ balance it"],
        ["info", "blank", "the line is blank · line 3|→ it is skipped (preftune fix mends it)"],
    ]
    assert root.find("div/{http://www.w3.org/2000/svg}svg") is not None
    assert "chosen longer in 25.0% of pairs" in "".join(root.find("pre").itertext())


def test_html_of_a_clean_report_without_a_sample_has_no_table_and_no_picture():
    assert report()._repr_html_() == (
        "<p><b>pairs.jsonl</b>: 3 pairs, 1.2 kB. No error and no warning. The hosted side would take this file.</p>"
        "<div></div><pre></pre>"
    )


def test_html_escapes_what_stands_in_the_file():
    evil = "<script>alert('&')</script>"
    finding = Finding(evil, "error", 1, (1,), evil, evil, evil, False, True)
    made = report(finding, name=f"{evil.replace('/', '')}.jsonl")
    assert "<script" not in made._repr_html_()
    assert "".join(elements(made).find("p/b").itertext()) == "<script>alert('&')<script>.jsonl"
    assert ["".join(cell.itertext()) for cell in elements(made).find("table/tr")] == [
        "error", evil, f"{evil} · line 1→ {evil}",
    ]  # fmt: skip


def test_html_escapes_keys_of_a_real_file(write_rows):
    assert "<img" not in check(write_rows({"<img src=x onerror=alert(1)>": 1, "input": {"messages": [{"role": "<img>"}]}}))._repr_html_()  # noqa: E501 # fmt: skip


@settings(deadline=None, max_examples=60)
@given(REPORTS)
def test_html_of_any_report_is_well_formed_and_runs_nothing(made):
    unseen = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF])  # no XML may hold them, HTML may
    text = made._repr_html_().replace("<br>", "<br/>").translate(unseen)
    names = {element.tag.rpartition("}")[2] for element in ET.fromstring(f"<div>{text}</div>").iter()}
    assert names <= {
        "div", "p", "b", "i", "br", "table", "tr", "td", "code", "pre", "svg", "title", "text", "path", "rect",
    }  # fmt: skip
