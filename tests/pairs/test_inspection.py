import json
import os
import random
import re
import shlex
import weakref
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import Finding, Report, Stats, check, inspection, jsonl, plain, summary
from preftune.pairs.inspection import refusals
from preftune.pairs.rules.catalog import RULES, pair_line

GOOD = pair_line()
EACH = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])  # writes the file anew


def refused(rule, lines, message, hint, *, count=None, fixable=False):
    return Finding(rule, "error", count or len(lines) or 1, lines, "", message, hint, fixable=fixable, refused=True)


def blank(lines, message, hint):
    return Finding("blank", "info", len(lines), lines, "", message, hint, fixable=True, refused=False)


BLANK = ("the line is blank", "it is skipped; remove it if it is an accident")
CRLF = ("the line ends in CRLF", "it is accepted; write LF to be safe")
MARK = ("the file begins with a byte-order mark", "save the file as UTF-8 without a mark")
NO_PAIR = refused("empty-file", (), "there is no pair in the file", "write one JSON object a line, one pair each")
ONE_LINE = "put each object on a line of its own, in a .jsonl file"
TWICE = "keep one of them; readers disagree on which wins"
WHOLE = "write the whole character"
LIBRARY = "write it with a JSON library"
NUL = "remove it; the file may be UTF-16"


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_check_of_a_good_file_finds_nothing_whatever_its_last_line_break(write_bytes, end):
    path = write_bytes(GOOD + b"\n" + pair_line("Another?") + end)
    assert check(str(path), sample=0) == Report(path, [], Stats(path.stat().st_size, 2, 2, 0, 0))


@pytest.mark.parametrize(
    ("content", "pairs", "findings"),
    [
        (b"", 0, [NO_PAIR]),
        (b"\n \n", 0, [NO_PAIR, blank((1, 2), *BLANK)]),
        (b"\n" + GOOD + b"\n \t\n", 1, [blank((1, 3), *BLANK)]),
        (GOOD + b"\r\n" + pair_line("P?") + b"\r\n", 2, [blank((1, 2), *CRLF)]),
        (b"\r\n" + GOOD, 1, [blank((1,), *BLANK), blank((1,), *CRLF)]),
        (b"\xef\xbb\xbf", 0, [refused("encoding", (1,), *MARK, fixable=True), NO_PAIR]),
        (b"\xef\xbb\xbf" + GOOD, 1, [refused("encoding", (1,), *MARK, fixable=True)]),
        (b"\xef\xbb\xbf\n" + GOOD, 1, [refused("encoding", (1,), *MARK, fixable=True)]),
        (
            GOOD + b"\n" + b"\xef\xbb\xbf" + pair_line("P?"), 1,
            [
                refused(
                    "encoding", (2,), "a byte-order mark at the beginning of the line",
                    "remove it; files with a mark were joined",
                )
            ],
        ),
        (
            GOOD + b"\n" + b'{"a": "\xe9"}', 1,
            [refused("encoding", (2,), "byte 0xe9 at byte 8 of the line is not UTF-8", "save the file as UTF-8")],
        ),
        (GOOD + b"\n{\0}\n", 1, [refused("encoding", (2,), "NUL byte at byte 2 of the line", NUL)]),
        (
            (GOOD + b"\n").decode().encode("utf-16-le"), 0,
            [refused("encoding", (1, 2), "NUL byte at byte 2 of the line", NUL)],
        ),
        (
            b'{"a": "\\ud800"}\n' + GOOD, 1,
            [refused("encoding", (1,), "an escape of a lone surrogate (half a character)", WHOLE)],
        ),
        (
            GOOD + b" " + GOOD + b"\n" + GOOD, 1,
            [refused("line", (1,), f"a second value begins at column {len(GOOD) + 2}", ONE_LINE)],
        ),
        (
            GOOD + b"\n[1]\n", 1,
            [refused("line", (2,), "the line holds a list, not an object", "write one JSON object a line")],
        ),
        (
            GOOD + b"\n{\n", 1,
            [refused("line", (2,), "not JSON at column 2: expecting property name enclosed in double quotes", LIBRARY)],
        ),
        (GOOD + b'\n{"a": NaN}', 1, [refused("line", (2,), "NaN is no JSON", "write null, or leave the key out")]),
        (
            b'{"input": 1, "input": 2}\n' + GOOD, 1,
            [refused("line", (1,), "key 'input' stands twice in one object", TWICE)],
        ),
        (b'{"a":' * 5000, 0, [refused("line", (1,), "values are nested more than 64 deep", "flatten the row")]),
        (
            b'{"a":' + b"1" * 5000 + b"}", 0,
            [refused("line", (1,), "a number has too many digits", "write it shorter, or as text")],
        ),
    ],
)  # fmt: skip
def test_check_tells_what_the_bytes_of_a_file_say(write_bytes, content, pairs, findings):
    report = check(write_bytes(content), sample=0)
    assert (report.pairs, report.findings) == (pairs, findings)


def test_check_counts_lines_by_line_breaks_alone(write_bytes):
    path = write_bytes("\n".join([pair_line("a\u2028b\x85c").decode(), "[]"]).encode())
    assert [found.lines for found in check(path, sample=0).findings] == [(2,)]


def test_check_finds_a_line_beyond_the_limit_and_reads_one_of_just_the_limit(write_bytes, monkeypatch):
    for module in (jsonl, plain):
        monkeypatch.setattr(module, "MAX_LINE_BYTES", len(GOOD))
    report = check(write_bytes(GOOD + b"\n" + GOOD + b" \n" + GOOD.replace(b'"weight"', b'"id"')))
    message = f"the line has more than {len(GOOD):,} bytes, the most that is read"
    assert report.findings[0] == refused("line", (2,), message, "split or shorten the pair")
    assert (report.pairs, report.stats.sampled) == (2, 2)


def test_check_finds_a_file_beyond_the_size_limit_and_still_reads_it(write_bytes, monkeypatch):
    path = write_bytes(GOOD + b"\n{}\n")
    monkeypatch.setattr(inspection.line, "MAX_FILE_BYTES", 10)
    report = check(path, sample=0)
    hint = "split it: preference tuning needs thousands of pairs"
    message = f"the file has {path.stat().st_size} bytes; at most 10 are taken"
    assert refused("size", (), message, hint) in report.findings
    assert (report.pairs, report.count("error")) == (1, 4)


def test_check_reports_every_kind_of_fault_once_with_its_count_and_first_five_lines(write_bytes):
    bad_role = GOOD.replace(b'non_preferred_output": [{"role": "assistant"', b'non_preferred_output": [{"role": "user"')
    faults = [b"\xff", b"[]", b"", bad_role, pair_line("same?", "x", "x"), pair_line("again?")]
    report = check(write_bytes(b"\n".join(faults * 7)), sample=0)
    assert (report.pairs, report.stats.duplicates, report.stats.identical) == (14, 12, 7)
    assert [(found.rule, found.severity, found.count, found.lines) for found in report.findings] == [
        ("encoding", "error", 7, (1, 7, 13, 19, 25)),
        ("line", "error", 7, (2, 8, 14, 20, 26)),
        ("output", "error", 7, (4, 10, 16, 22, 28)),
        ("identical", "error", 7, (5, 11, 17, 23, 29)),
        ("prompt-reuse", "warning", 2, (5, 6)),
        ("duplicate", "warning", 12, (11, 12, 17, 18, 23)),
        ("blank", "info", 7, (3, 9, 15, 21, 27)),
    ]


def test_check_names_file_line_path_and_remedy_in_one_sentence(write_bytes):
    bad = GOOD.replace(b'non_preferred_output": [{"role": "assistant"', b'non_preferred_output": [{"role": "user"')
    path = write_bytes(b"\n".join([*(pair_line(f"{number}?") for number in range(11)), bad]))
    with pytest.raises(DataError) as caught:
        check(path).raise_for_errors()
    assert str(caught.value) == (
        "pairs.jsonl:12: non_preferred_output[0].role is 'user'; it must be 'assistant'; both outputs are answers"
    )


# What is sampled


def test_a_sample_of_nothing_leaves_the_sampled_rules_out(write_bytes):
    every, sampled = [], []
    for rule in RULES:
        name = f"{rule.id}.jsonl"
        validation = write_bytes(b"\n".join(rule.validation), name="eval.jsonl") if rule.validation else None
        given = {"validation": validation, **rule.options}
        report = check(write_bytes(b"".join(line + b"\n" for line in rule.lines), name=name), sample=0, **given)
        (every if rule.sees == "every line" else sampled).append((rule.id, {found.rule for found in report.findings}))
        assert (report.stats.sampled, report.stats.prompt) == (0, None)
    assert [rule for rule, found in every if rule not in found] == ["size"]  # its example is a set of few pairs
    assert [rule for rule, found in sampled if rule in found] == []
    seen_in_full = {rule.id for rule in RULES if rule.sees == "every line"}
    assert set().union(*(found for _, found in every + sampled)) <= seen_in_full


def some_set(count=260, seed=1):
    """Return lines in which nearly every rule finds something, in an order of their own."""
    draw = random.Random(seed)
    lines = [line for rule in RULES[1:] for line in rule.lines[:3] if b"\xff" not in line]
    words = ["the", "cat", "sat", "upon", "a", "mat", "and", "saw", "how", "primes", "grow"]
    for number in range(count):
        said = [" ".join(draw.choices(words, k=draw.randint(3, 40))) for _ in range(3)]
        lines.append(pair_line(f"{number % 200} {said[0]}?", said[1] + ".", said[2]))
    draw.shuffle(lines)
    return lines


@pytest.fixture
def small_parts(monkeypatch):
    """Cut files and samples into many parts."""
    monkeypatch.setattr(inspection, "_PART", 10_000)
    monkeypatch.setattr(inspection, "_PLACES", 30)


def test_a_sample_smaller_than_the_file_is_the_same_whatever_the_cut(write_bytes, monkeypatch):
    path, other = write_bytes(b"\n".join(some_set())), write_bytes(b"\n".join(some_set(150, 2)), name="eval.jsonl")
    given = {"sample": 120, "validation": other, "tokens_per_side": 30}
    whole = check(path, **given).to_dict()
    assert whole["stats"]["sampled"] == 120
    assert {"truncation", "near-identical", "leakage", "duplicate"} <= {found["rule"] for found in whole["findings"]}
    with ThreadPoolExecutor(3) as executor:
        for part, places in ((1, 1), (700, 7), (5_000, 119), (40_000, 120), (10**9, 500)):
            monkeypatch.setattr(inspection, "_PART", part if part > 1 else 97)
            monkeypatch.setattr(inspection, "_PLACES", places)
            assert check(path, executor=executor, **given).to_dict() == whole


def test_the_report_does_not_depend_on_who_reads_the_file(write_bytes, small_parts):
    path, other = write_bytes(b"\n".join(some_set())), write_bytes(b"\n".join(some_set(150, 2)), name="eval.jsonl")
    given = {"validation": other, "max_seq_length": 64}
    alone = check(path, workers=1, **given)
    assert len(alone.findings) > 20
    assert check(path, **given).to_dict() == alone.to_dict()
    assert check(path, workers=2, **given).to_dict() == alone.to_dict()
    assert check(path, workers=3, **given) == alone
    with ThreadPoolExecutor(2) as executor:
        assert check(path, executor=executor, **given).to_dict() == alone.to_dict()
        assert check(path, executor=executor, workers=5, **given).to_dict() == alone.to_dict()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork has the patched sizes of parts")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_the_report_is_the_same_from_a_pool_of_the_standard_library(write_bytes, small_parts):
    path = write_bytes(b"\n".join(some_set()))
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as executor:
        assert check(path, executor=executor).to_dict() == check(path).to_dict()


def test_the_callers_tokenizer_stays_in_this_process(write_bytes, small_parts):
    path = write_bytes(b"\n".join(some_set()))
    counted = []

    def count(text):
        counted.append(text)
        return len(text.split())

    alone = check(path, tokenizer=count, tokens_per_side=20)
    here = len(counted)
    assert not alone.stats.tokens_estimated
    assert check(path, tokenizer=count, tokens_per_side=20, workers=2).to_dict() == alone.to_dict()
    assert len(counted) == 2 * here


def test_check_leaves_the_callers_executor_open(write_bytes):
    with ThreadPoolExecutor(1) as executor:
        check(write_bytes(GOOD), executor=executor)
        assert executor.submit(abs, -1).result() == 1


@pytest.mark.parametrize("content", [b"", b"\n", GOOD, b"x" * 50_000, b"\xef\xbb\xbf" + GOOD])
def test_a_file_smaller_than_its_parts_and_one_without_line_breaks_are_read_alike(write_bytes, small_parts, content):
    path = write_bytes(content)
    with ThreadPoolExecutor(2) as executor:
        assert check(path, executor=executor, workers=4) == check(path, workers=1)


def test_a_small_file_starts_no_process(write_bytes, monkeypatch):
    monkeypatch.setattr(inspection, "Processes", None)
    assert check(write_bytes(GOOD)).pairs == 1
    assert check(write_bytes(b"", name="empty.jsonl")).pairs == 0


def test_a_large_file_is_read_by_as_many_processes_as_there_are_parts_or_cores(write_bytes, monkeypatch):
    started = []

    def processes(count):
        started.append(count)
        return ThreadPoolExecutor(count)

    monkeypatch.setattr(inspection, "Processes", processes)
    monkeypatch.setattr(inspection, "cores", lambda: 3)
    path = write_bytes(b"\n".join([GOOD] * 10))
    for part in (path.stat().st_size, path.stat().st_size // 2 + 1, 10):
        monkeypatch.setattr(inspection, "_PART", part)
        assert check(path).pairs == 10
    assert started == [2, 3]


def test_where_no_interpreter_can_be_started_one_process_reads_all(write_bytes, monkeypatch, small_parts):
    path = write_bytes(b"\n".join(some_set()))
    report = check(path, workers=2)
    monkeypatch.setattr(inspection, "Processes", None)
    monkeypatch.setattr(inspection, "startable", lambda: False)
    assert check(path, workers=2) == check(path) == report


def test_a_process_that_is_lost_is_told_with_the_file(write_bytes, monkeypatch):
    def scan(path, start, stop, *, sample):
        raise BrokenExecutor("process 7: expected an answer")

    monkeypatch.setattr(inspection, "scan", scan)
    path = write_bytes(GOOD)
    found = f"{path}: a process that read a part of it was lost (process 7: expected an answer)"
    with ThreadPoolExecutor(1) as executor, pytest.raises(DataError, match=f"^{re.escape(found)}$"):
        check(path, executor=executor, workers=2)


def test_the_summary_of_a_part_is_let_go_once_it_is_merged(write_bytes, monkeypatch, small_parts):
    """The parts together are as large as the whole: two of everything would be twice the memory that is promised."""
    merged, held = [], []

    def merge(first, second):
        held.append(sum(part() is not None for part in merged[:-1]))
        merged.append(weakref.ref(second))
        return summary.merge(first, second)

    monkeypatch.setattr(inspection, "merge", merge)
    with ThreadPoolExecutor(1) as executor:
        check(write_bytes(b"\n".join(some_set())), executor=executor, sample=0)
    assert len(held) > 5
    assert set(held) == {0}


def test_an_error_in_a_part_reaches_the_caller(write_bytes, monkeypatch, small_parts):
    def scan(path, start, stop, *, sample):
        raise PermissionError(f"not from {start}")

    monkeypatch.setattr(inspection, "scan", scan)
    path = write_bytes(b"\n".join(some_set()))
    with ThreadPoolExecutor(1) as executor, pytest.raises(PermissionError, match="not from 0"):
        check(path, executor=executor, workers=2)


# How far it is


@pytest.mark.parametrize("given", [{}, {"workers": 2}, {"sample": 0}])
def test_progress_rises_to_the_size_of_the_file(write_bytes, monkeypatch, small_parts, given):
    monkeypatch.setattr(summary, "_TOLD_EVERY", 5_000)
    told = []
    path = write_bytes(b"\n".join(some_set()))
    check(path, progress=lambda done, size: told.append((done, size)), **given)
    size = path.stat().st_size
    assert told[-1] == (size, size)
    assert {whole for _, whole in told} == {size}
    assert len(told) > 5
    assert told == sorted(told)


def test_progress_of_an_empty_file_is_nothing_of_nothing(write_bytes):
    told = []
    check(write_bytes(b""), progress=lambda *numbers: told.append(numbers))
    check(write_bytes(b""), progress=lambda *numbers: told.append(numbers), workers=2)
    assert set(told) == {(0, 0)}


# The validation file


def test_leakage_is_found_on_every_line_and_named_by_line(write_bytes):
    path = write_bytes(b"\n".join([GOOD, pair_line("P?"), GOOD, pair_line("R?")]))
    other = write_bytes(b"\n".join([b"{", pair_line("R?", "x", "y"), pair_line()]), name="eval.jsonl")
    for sample in (0, 1, 100):
        found = [
            found for found in check(path, validation=str(other), sample=sample).findings if found.rule == "leakage"
        ]
        assert [(one.severity, one.count, one.lines) for one in found] == [
            ("error", 3, (1, 3, 4)),
            ("warning", 1, ()),
        ]
        assert found[1].message == "1 of 3 rows of the validation file hold no pair and were not compared"


def leaks(path, validation, **given):
    findings = check(path, validation=validation, **given).findings
    return [(found.severity, found.lines, found.message) for found in findings if found.rule == "leakage"]


@pytest.mark.parametrize("sample", [0, 1_000])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the validation file has no row; nothing was compared"),
        (b"\n \n", "the validation file has no row; nothing was compared"),
        (b"{}\n", "1 of 1 row of the validation file hold no pair and were not compared"),
        (b"\n\xff\n[]", "2 of 2 rows of the validation file hold no pair and were not compared"),
        (b"\x1f\x8b\0", "1 of 1 row of the validation file hold no pair and were not compared"),
    ],
)
def test_a_validation_file_without_pairs_leaks_nothing_and_is_told_as_unread(write_bytes, content, message, sample):
    path, other = write_bytes(b"\n".join(some_set(count=120))), write_bytes(content, name="eval.jsonl")
    assert leaks(path, other, sample=sample) == [("warning", (), message)]


def test_a_validation_file_of_other_pairs_and_blank_lines_is_not_told(write_bytes):
    other = write_bytes(b"\n" + pair_line("Another?") + b"\r\n\n", name="eval.jsonl")
    assert leaks(write_bytes(GOOD), other) == []


# The rules on the whole set


def alike(count):
    """Return the lines of so many pairs whose chosen answers are all longer, and whose prompts are alike in twos."""
    draw = random.Random(7)
    words = [f"word{number}" for number in range(500)]
    asked = [" ".join(draw.choices(words, k=40)) for _ in range(count)]
    return [
        pair_line(f"{asked[number // 2]} {number % 2}?", f"It is {number}, I say.", f"No {number}.")
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("count", "rules"),
    [
        (99, {"size"}),
        (100, {"length-bias", "shortcut", "near-duplicate-prompts", "leakage"}),
    ],
)
def test_the_rules_on_the_whole_set_need_a_hundred_pairs(write_bytes, count, rules):
    path = write_bytes(b"\n".join(alike(count)))
    other = write_bytes(b"\n".join(line.replace(b"?", b"!") for line in alike(count)[:60]), name="eval.jsonl")
    assert {found.rule for found in check(path, validation=other).findings} == rules


def test_a_small_sample_of_a_large_file_is_not_told_as_a_small_file(write_bytes):
    assert check(write_bytes(b"\n".join(alike(150))), sample=50).findings == []


# Arguments


def test_check_takes_an_extension_in_capitals(write_bytes):
    assert check(write_bytes(GOOD, name="PAIRS.JSONL")).pairs == 1


@pytest.mark.parametrize("argument", ["path", "validation"])
@pytest.mark.parametrize(
    ("name", "found", "target"),
    [
        ("rows.json", ".json", "rows.pairs.jsonl"),
        ("ROWS.JSON", ".JSON", "ROWS.pairs.jsonl"),
        ("rows.jsonl.gz", ".gz", "rows.pairs.jsonl"),
        ("rows.json.gz", ".gz", "rows.pairs.jsonl"),
        ("rows.parquet", ".parquet", "rows.pairs.jsonl"),
        ("my rows; é.json", ".json", "my rows; é.pairs.jsonl"),
        ("it's.json", ".json", "it's.pairs.jsonl"),
    ],
)
def test_check_refuses_another_extension_and_says_how_to_convert(write_bytes, argument, name, found, target):
    path = write_bytes(GOOD, name=name)
    expected = f"{path}: expected a .jsonl file, found {found!r}; convert it: "
    given = {"path": write_bytes(GOOD)} | {argument: path}
    with pytest.raises(DataError, match=f"^{re.escape(expected)}preftune convert ") as caught:
        check(given.pop("path"), **given)
    command = str(caught.value).removeprefix(expected)
    assert shlex.split(command) == ["preftune", "convert", str(path), target]


@pytest.mark.parametrize("argument", ["path", "validation"])
@pytest.mark.parametrize(
    ("name", "found"),
    [("rows", "no extension"), ("rows.ndjson", ".ndjson"), ("a.parquet.gz", ".gz"), ("a.jsonl ", ".jsonl ")],
)
def test_check_refuses_what_convert_does_not_read_either_and_says_to_rename_it(write_bytes, argument, name, found):
    path = write_bytes(GOOD, name=name)
    given = {"path": write_bytes(GOOD)} | {argument: path}
    expected = f"{path}: expected a .jsonl file, found {found!r}; rename it if it is JSON Lines"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        check(given.pop("path"), **given)


@pytest.mark.parametrize("argument", ["path", "validation"])
@pytest.mark.parametrize(("name", "found"), [("absent.jsonl", "found nothing there"), (".", "found a folder")])
def test_check_raises_where_there_is_no_file(write_bytes, tmp_path, argument, name, found):
    given = {"path": write_bytes(GOOD)} | {argument: tmp_path / name}
    with pytest.raises(DataError, match=found):
        check(given.pop("path"), **given)


def test_check_refuses_what_is_no_file():
    with pytest.raises(DataError, match="found a device or a pipe"):
        check(os.devnull)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"sample": -1}, "sample=-1"), ({"workers": 0}, "workers=0"), ({"workers": -3}, "workers=-3"),
        ({"max_seq_length": 0}, "max_seq_length=0"), ({"tokens_per_side": -1}, "tokens_per_side=-1"),
        ({"tokenizer": 3}, "tokenizer=3"), ({"tokenizer": "no.json"}, "tokenizer='no.json'"),
    ],
)  # fmt: skip
def test_check_names_an_argument_out_of_its_range(write_bytes, given, named):
    with pytest.raises(DataError, match=f"{re.escape(named)}.*: expected"):
        check(write_bytes(GOOD), **given)


def test_refusals_reads_a_file_whatever_its_name_and_samples_nothing(write_bytes):
    path = write_bytes(GOOD + b"\n[]\n", name="upload-7")
    report = refusals(path)
    assert report.findings == [
        refused("line", (2,), "the line holds a list, not an object", "write one JSON object a line")
    ]
    assert report.stats == Stats(path.stat().st_size, 2, 1, 0, 0)


def test_the_lines_of_a_report_on_ordinary_faults_fit_a_terminal(write_bytes):
    lines = [
        pair_line(x=1).replace(b'"user"', b'"human"'), pair_line(weight=-1, tools=[]), pair_line("Q?", "a", "A"), b"{}",
        b'{"prompt": "", "chosen": "", "rejected": ""}', b"{", GOOD.replace(b"[{", b"[[{").replace(b"}]", b"}]]"),
    ]  # fmt: skip
    assert max(len(text) for text in str(check(write_bytes(b"\n".join(lines)))).splitlines()) <= 80


# Whatever the file holds


def assert_report_has_words(report):
    assert report.ok is (report.count("error") == 0)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["pairs"] == report.pairs
    assert str(report).startswith(f"{report.path.name}: ")
    assert report._repr_html_()


PIECES = st.sampled_from(
    [GOOD, pair_line("Q?", "b", "a"), b"\n", b"\r\n", b"\xef\xbb\xbf", b"\0", b"{", b"}", b"[", b'"', b",", b":", b" ",
     b"\\ud800", b"1e999", b"NaN", b"\xff\xfe", b'{"input": ', b'"messages"', b"null", "\u2028".encode(), b"PAR1"]
)  # fmt: skip


@EACH
@given(content=st.binary(max_size=200) | st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join))
def test_check_never_raises_on_content_and_always_has_words(tmp_path, content):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    assert_report_has_words(check(path))


@settings(EACH, max_examples=200)
@given(
    line=st.sampled_from([line for rule in RULES for line in rule.lines[:2]]),
    at=st.integers(0, 400),
    cut=st.integers(0, 20),
    piece=st.binary(max_size=3) | PIECES,
)
def test_check_never_raises_on_any_change_of_a_line_and_reads_the_lines_around_it(tmp_path, line, at, cut, piece):
    path = tmp_path / "any.jsonl"
    changed = (line[:at] + piece + line[at + cut :]).replace(b"\n", b"")
    path.write_bytes(pair_line("before?") + b"\n" + changed + b"\n" + pair_line("after?") + b"\n")
    report = check(path)
    assert_report_has_words(report)
    assert report.pairs in (2, 3)
    assert {number for found in report.findings for number in found.lines} <= {2}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**400, 2**70]) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "type"]), inner),
    max_leaves=5,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]) | JSON, "content": st.text(max_size=3) | JSON},
    optional={
        "weight": JSON, "name": JSON, "reasoning": JSON,
        "tool_calls": JSON | st.lists(st.fixed_dictionaries({"function": JSON}), max_size=2),
    },
)  # fmt: skip


@settings(EACH, max_examples=200)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "input": JSON | st.fixed_dictionaries(
                {"messages": JSON | st.lists(MESSAGE | JSON, max_size=3)},
                optional={"tools": JSON, "parallel_tool_calls": JSON},
            ),
            "preferred_output": JSON | st.lists(MESSAGE, min_size=1, max_size=1),
            "non_preferred_output": JSON | st.lists(MESSAGE, min_size=1, max_size=1),
            "weight": JSON, "tools": JSON, "score_chosen": JSON, "score_rejected": JSON, "messages": JSON,
        },
    )
)  # fmt: skip
def test_check_never_raises_on_a_row_of_any_values(tmp_path, value):
    path = tmp_path / "any.jsonl"
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    assert_report_has_words(check(path))


VALID = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.text(min_size=1, max_size=5).filter(str.strip)},
    optional={"name": JSON, "reasoning": JSON, "x": JSON},
)


@settings(EACH, max_examples=200)
@given(
    prompt=st.fixed_dictionaries({"role": st.just("user"), "content": st.text(max_size=5)}, optional={"name": JSON}),
    answers=st.tuples(VALID, VALID),
    more=st.fixed_dictionaries({}, optional={"score_chosen": JSON, "score_rejected": JSON, "x": JSON, "weight": JSON}),
)
def test_check_never_raises_on_a_pair_with_further_values(tmp_path, prompt, answers, more):
    path = tmp_path / "any.jsonl"
    row = {
        "input": {"messages": [prompt]}, "preferred_output": [answers[0]], "non_preferred_output": [answers[1]], **more,
    }  # fmt: skip
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert_report_has_words(check(path, tokens_per_side=3))


@pytest.mark.real
@pytest.mark.parametrize("name", ["medicalgpt/dpo_zh.jsonl"])
def test_real_pairs_are_reported_alike_whoever_reads_them(real_data, tmp_path, small_parts, name):
    path = tmp_path / "real.jsonl"
    with (real_data / name).open(encoding="utf-8") as rows:
        path.write_bytes(b"\n".join(_converted(json.loads(row)) for row in rows))
    alone = check(path, workers=1)
    assert alone.pairs == 500
    assert check(path, workers=2).to_dict() == alone.to_dict()


def _converted(row):
    return pair_line(*(str(row.get(key)) for key in ("question", "response_chosen", "response_rejected")))
