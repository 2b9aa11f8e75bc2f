import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from preftune.pairs import check, convert
from preftune.pairs.finding import Problem
from preftune.pairs.jsonl import BOM, Unreadable
from preftune.pairs.rules import line
from preftune.pairs.rules.catalog import pair_line

GOOD = pair_line()
ROWS = [json.loads(GOOD)] * 2
CONVERT = "convert it: preftune convert pairs.jsonl pairs.pairs.jsonl"
UNPACK = "unpack it and check the file in it"
SAVE = "save it as UTF-8"
WIDE = "the file is UTF-16 text; it must be JSON Lines in UTF-8"
LIST = "the file is one JSON list; it must hold one object a line"
OBJECT = "the file holds JSON objects over several lines; it must hold one object a line"
NAME_GZIP = "name it pairs.jsonl.gz and convert it: preftune convert pairs.jsonl.gz pairs.jsonl"
NAME_PARQUET = "name it pairs.parquet and convert it: preftune convert pairs.parquet pairs.jsonl"
PRINT = "write each on one line, as jq -c does"


def refused(rule, message, hint, *, fixable=False):
    return Problem(rule, "error", "", message, hint, refused=True, fixable=fixable)


KINDS = {
    "gzip": (gzip.compress(GOOD), "line", "the file is gzip-compressed; it must be JSON Lines in UTF-8", NAME_GZIP),
    "Parquet": (b"PAR1\x15\x04", "line", "the file is a Parquet file; it must be JSON Lines in UTF-8", NAME_PARQUET),
    "ZIP": (b"PK\x03\x04\x14", "line", "the file is a ZIP archive; it must be JSON Lines in UTF-8", UNPACK),
    "Zstandard": (
        b"\x28\xb5\x2f\xfd$", "line", "the file is compressed with Zstandard; it must be JSON Lines in UTF-8", UNPACK,
    ),
    "UTF-16": (GOOD.decode().encode("utf-16"), "encoding", WIDE, SAVE),
    "UTF-16 turned": (b"\xfe\xff" + GOOD.decode().encode("utf-16-be"), "encoding", WIDE, SAVE),
    "list": (json.dumps(ROWS).encode(), "line", LIST, CONVERT),
    "list with a line break": (json.dumps(ROWS).encode() + b"\r\n\n", "line", LIST, CONVERT),
    "list of one": (json.dumps(ROWS[:1]).encode(), "line", LIST, CONVERT),
    "list without its end": (json.dumps(ROWS).encode()[:-1], "line", LIST, CONVERT),
    "list longer than the head": (json.dumps(ROWS * 500).encode(), "line", LIST, CONVERT),
    "list behind a mark and blank lines": (BOM + b"\r\n \n" + json.dumps(ROWS).encode(), "line", LIST, CONVERT),
    "list of one row a line": (b"[" + GOOD + b",\n" + GOOD + b"]\n", "line", LIST, CONVERT),
    "printed list": (json.dumps(ROWS, indent=2).encode(), "line", LIST, CONVERT),
    "printed list, CRLF": (json.dumps(ROWS, indent=2).replace("\n", "\r\n").encode(), "line", LIST, CONVERT),
    "tightly printed list": (json.dumps(ROWS, indent=1).replace("[\n {", "[{", 1).encode(), "line", LIST, CONVERT),
    "printed object": (json.dumps(ROWS[0], indent=4).encode(), "line", OBJECT, PRINT),
    "printed objects": ((json.dumps(ROWS[0], indent=4) + "\n").encode() * 3, "line", OBJECT, PRINT),
}  # fmt: skip


@pytest.mark.parametrize(("content", "rule", "message", "hint"), KINDS.values(), ids=KINDS)
def test_another_kind_of_file_gives_one_finding(write_bytes, content, rule, message, hint):
    path = write_bytes(content)
    assert list(line.another_kind(path)) == [refused(rule, message, hint)]
    report = check(path)
    assert [(found.rule, found.count, found.lines, found.message) for found in report.findings] == [
        (rule, 1, (), message)
    ]
    assert (report.ok, report.pairs, report.stats.lines, report.stats.bytes) == (False, 0, 0, len(content))


@pytest.mark.parametrize("kind", ["gzip", "list", "printed list", "Parquet"])
def test_the_command_that_is_named_mends_a_file_of_another_kind(write_bytes, monkeypatch, tmp_path, kind):
    content = KINDS[kind][0]
    if kind == "Parquet":
        sink = pa.BufferOutputStream()
        parquet.write_table(pa.Table.from_pylist(ROWS), sink)
        content = sink.getvalue().to_pybytes()
    (problem,) = line.another_kind(write_bytes(content))
    monkeypatch.chdir(tmp_path)
    source, target = problem.hint.rpartition("preftune convert ")[2].split()
    if source != "pairs.jsonl":
        assert f"name it {source} and" in problem.hint
        Path("pairs.jsonl").rename(source)
    assert convert(source, target).pairs == (1 if kind == "gzip" else 2)
    assert list(line.another_kind(Path(target))) == []


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n", BOM, GOOD, BOM + GOOD, b"\n\n" + GOOD, GOOD + b"\n" + b"[", b"{}", b"{}\n{", b"[]\n" + GOOD,
        b"[1, 2]\n" + GOOD, b'[{"a": 1}]\n' + GOOD, b"null", b"x", b"PAR", b"\x1f", GOOD * 1_000,
    ],
)  # fmt: skip
def test_another_kind_is_silent_on_lines(write_bytes, content):
    assert list(line.another_kind(write_bytes(content))) == []


def test_mark_finds_a_byte_order_mark():
    hint = "save the file as UTF-8 without a mark"
    assert list(line.mark(BOM + GOOD)) == [
        refused("encoding", "the file begins with a byte-order mark", hint, fixable=True)
    ]
    assert list(line.mark(GOOD + BOM)) == []
    assert list(line.mark(BOM[:2])) == []


BLANK = Problem("blank", "info", "", "the line is blank", "it is skipped; remove it if it is an accident", fixable=True)
CRLF = Problem("blank", "info", "", "the line ends in CRLF", "it is accepted; write LF to be safe", fixable=True)


@pytest.mark.parametrize(
    ("raw", "problems"),
    [
        (b"\n", [BLANK]), (b" \t\n", [BLANK]), (b"  ", [BLANK]), (b"\r\n", [BLANK, CRLF]), (b"\r", [BLANK]),
        (b"{}\r\n", [CRLF]), (b"{}\n", []), (b"{}", []), (b"{}\r", []), (b"\r{}\n", []),
    ],
)  # fmt: skip
def test_blank_notes_blank_lines_and_crlf(raw, problems):
    assert list(line.blank(raw)) == problems


def test_unreadable_says_the_reason():
    assert line.unreadable(Unreadable("encoding", "a NUL byte", "remove it")) == refused(
        "encoding", "a NUL byte", "remove it"
    )


def test_size_finds_a_file_of_more_bytes_than_the_official_client_takes():
    assert list(line.size(0)) == list(line.size(53_794_465_382)) == []
    hint = "split it: preference tuning needs thousands of pairs"
    message = "the file has 53,794,465,383 bytes; at most 53,794,465,382 are taken"
    assert list(line.size(53_794_465_383)) == [refused("size", message, hint)]


@pytest.mark.parametrize(("pairs", "told"), [(0, "0 pairs"), (1, "1 pair"), (99, "99 pairs")])
def test_few_pairs_finds_a_file_of_fewer_than_a_hundred(pairs, told):
    message = f"the file has {told}; under 100 are few, and the rules on the whole set are silent"
    assert list(line.few_pairs(pairs)) == [
        Problem("size", "warning", "", message, "collect more pairs before you pay for a run")
    ]


def test_few_pairs_is_silent_on_a_hundred():
    assert list(line.few_pairs(100)) == []


@pytest.mark.parametrize(
    ("rows", "pairs", "message"),
    [
        (0, 0, "the validation file has no row; nothing was compared"),
        (1, 0, "1 of 1 row of the validation file hold no pair and were not compared"),
        (20_000, 18_766, "1,234 of 20,000 rows of the validation file hold no pair and were not compared"),
    ],
)
def test_unread_validation_warns_of_what_was_not_compared(rows, pairs, message):
    hint = "check that file too: what it hides may leak"
    assert list(line.unread_validation(rows, pairs)) == [Problem("leakage", "warning", "", message, hint)]


def test_unread_validation_is_silent_where_every_row_is_a_pair():
    assert list(line.unread_validation(1, 1)) == list(line.unread_validation(5_000, 5_000)) == []


def test_empty_file_finds_a_file_without_a_row():
    hint = "write one JSON object a line, one pair each"
    assert list(line.empty_file(0)) == [refused("empty-file", "there is no pair in the file", hint)]
    assert list(line.empty_file(1)) == []
