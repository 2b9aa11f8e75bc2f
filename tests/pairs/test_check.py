import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import Finding, Report, check, jsonl
from preftune.pairs.check import scan


def row(prompt="Q?", chosen="a", rejected="b"):
    return {
        "input": {"messages": [{"role": "user", "content": prompt}]},
        "preferred_output": [{"role": "assistant", "content": chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }


def line(*args):
    return json.dumps(row(*args)).encode()


def refused(rule, lines, message, hint, *, count=None, fixable=False):
    return Finding(rule, "error", count or len(lines) or 1, lines, "", message, hint, fixable=fixable, refused=True)


def blank(lines, message, hint):
    return Finding("blank", "info", len(lines), lines, "", message, hint, fixable=True, refused=False)


BLANK = ("the line is blank", "it is skipped; remove it if it is an accident")
CRLF = ("the line ends in CRLF", "it is accepted; write LF to be safe")
MARK = ("the file begins with a byte-order mark", "save the file as UTF-8 without a mark")
NO_PAIR = refused("empty-file", (), "there is no pair in the file", "write one JSON object a line, one pair each")


def test_check_of_a_good_file_finds_nothing(write_rows):
    path = write_rows(row(), row("P?"))
    assert check(str(path)) == Report(path, 2, [])


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_check_takes_a_file_with_and_without_a_final_line_break(write_bytes, end):
    assert check(write_bytes(line() + end)).to_dict()["findings"] == []


@pytest.mark.parametrize(
    ("content", "pairs", "findings"),
    [
        (b"", 0, [NO_PAIR]),
        (b"\n \n", 0, [NO_PAIR, blank((1, 2), *BLANK)]),
        (b"\n" + line() + b"\n \t\n", 1, [blank((1, 3), *BLANK)]),
        (line() + b"\r\n" + line("P?") + b"\r\n", 2, [blank((1, 2), *CRLF)]),
        (b"\r\n" + line(), 1, [blank((1,), *BLANK), blank((1,), *CRLF)]),
        (b"\xef\xbb\xbf" + line(), 1, [refused("encoding", (1,), *MARK, fixable=True)]),
        (b"\xef\xbb\xbf\n" + line(), 1, [refused("encoding", (1,), *MARK, fixable=True)]),
        (
            line() + b"\n" + b"\xef\xbb\xbf" + line("P?"),
            1,
            [
                refused(
                    "line",
                    (2,),
                    "not JSON at column 1: unexpected UTF-8 BOM (decode using utf-8-sig)",
                    "write it with a JSON library",
                )
            ],
        ),
        (
            line() + b"\n" + b'{"a": "\xe9"}',
            1,
            [refused("encoding", (2,), "byte 0xe9 at byte 7 of the line is not UTF-8", "save the file as UTF-8")],
        ),
        (
            line() + b"\n{\0}\n",
            1,
            [refused("encoding", (2,), "NUL byte at byte 1 of the line", "remove it; the file may be UTF-16")],
        ),
        (
            (line() + b"\n").decode().encode("utf-16-le"),
            0,
            [refused("encoding", (1, 2), "NUL byte at byte 1 of the line", "remove it; the file may be UTF-16")],
        ),
        (
            b'{"a": "\\ud800"}\n' + line(),
            1,
            [
                refused(
                    "encoding", (1,), "an escape of a lone surrogate (half a character)", "write the whole character"
                )
            ],
        ),
        (
            line() + b" " + line() + b"\n" + line(),
            1,
            [
                refused(
                    "line",
                    (1,),
                    "a second value begins at column 188",
                    "put each object on a line of its own, in a .jsonl file",
                )
            ],
        ),
        (
            line() + b"\n[1]\n",
            1,
            [refused("line", (2,), "the line holds a list, not an object", "write one JSON object a line")],
        ),
        (
            line() + b"\n{\n",
            1,
            [
                refused(
                    "line",
                    (2,),
                    "not JSON at column 2: expecting property name enclosed in double quotes",
                    "write it with a JSON library",
                )
            ],
        ),
        (line() + b'\n{"a": NaN}', 1, [refused("line", (2,), "NaN is no JSON", "write null, or leave the key out")]),
        (
            b'{"input": 1, "input": 2}\n' + line(),
            1,
            [
                refused(
                    "line",
                    (1,),
                    "key 'input' stands twice in one object",
                    "keep one of them; readers disagree on which wins",
                )
            ],
        ),
        (b'{"a":' * 5000, 0, [refused("line", (1,), "values are nested more than 64 deep", "flatten the row")]),
        (
            b'{"a":' + b"1" * 5000 + b"}",
            0,
            [refused("line", (1,), "a number has too many digits", "write it shorter, or as text")],
        ),
    ],
)
def test_check_tells_what_the_bytes_of_a_file_say(write_bytes, content, pairs, findings):
    path = write_bytes(content)
    assert check(path) == Report(path, pairs, findings)


def test_check_counts_lines_by_line_breaks_alone(write_bytes):
    path = write_bytes("\n".join([json.dumps(row("a\u2028b\x85c"), ensure_ascii=False), "[]"]).encode())
    assert [finding.lines for finding in check(path).findings] == [(2,)]


def test_check_finds_a_line_beyond_the_limit(write_bytes, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", len(line()))
    path = write_bytes(line() + b"\n" + line("P?") + b" \n")
    message = f"the line has {len(line()) + 1} bytes; at most {len(line())} are read"
    assert check(path) == Report(path, 1, [refused("line", (2,), message, "split or shorten the pair")])


def test_check_finds_a_file_beyond_the_size_limit_and_still_reads_it(write_rows):
    path = write_rows(row(), {})
    size = path.stat().st_size
    assert check(path, max_bytes=size).count("error") == 3
    report = check(path, max_bytes=size - 1)
    hint = "split it: preference tuning needs thousands of pairs"
    assert report.findings[0] == refused("size", (), f"the file has {size} bytes; at most {size - 1} are taken", hint)
    assert (report.pairs, report.count("error")) == (1, 4)


def test_check_reports_every_kind_of_fault_once_with_its_count_and_first_five_lines(write_bytes):
    bad_role = row("Q?", "a", "b")
    bad_role["non_preferred_output"][0]["role"] = "user"
    faults = [b"\xff", b"[]", b"", json.dumps(bad_role).encode(), line("same?", "x", "x"), line("again?")]
    report = check(write_bytes(b"\n".join(faults * 7)))
    assert report.pairs == 14
    assert [(found.rule, found.severity, found.count, found.lines) for found in report.findings] == [
        ("encoding", "error", 7, (1, 7, 13, 19, 25)),
        ("line", "error", 7, (2, 8, 14, 20, 26)),
        ("output", "error", 7, (4, 10, 16, 22, 28)),
        ("identical", "error", 7, (5, 11, 17, 23, 29)),
        ("duplicate", "warning", 12, (11, 12, 17, 18, 23)),
        ("blank", "info", 7, (3, 9, 15, 21, 27)),
    ]


def test_check_names_file_line_path_and_remedy_in_one_sentence(write_rows):
    bad = row() | {"non_preferred_output": [{"role": "user", "content": "b"}]}
    with pytest.raises(DataError) as caught:
        check(write_rows(*[row(f"{number}?") for number in range(11)], bad)).raise_for_errors()
    assert str(caught.value) == (
        "pairs.jsonl:12: non_preferred_output[0].role is 'user'; it must be 'assistant'; both outputs are answers"
    )


def test_check_takes_an_extension_in_capitals(write_rows):
    assert check(write_rows(row(), name="PAIRS.JSONL")).ok


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pairs.json", "found '.json'; convert it: preftune.convert('{path}', '{path}l')"),
        ("pairs", "found 'no extension'; rename it if it is JSONL"),
    ],
)  # fmt: skip
def test_check_raises_for_another_extension(write_rows, name, message):
    path = write_rows(row(), name=name)
    expected = f"{path}: expected a .jsonl file, {message.format(path=path)}"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        check(path)


def test_check_refuses_what_is_no_file():
    with pytest.raises(DataError, match="found a device or a pipe"):
        check("/dev/null")


def test_check_raises_where_there_is_no_file(tmp_path):
    with pytest.raises(DataError, match="found nothing there"):
        check(tmp_path / "absent.jsonl")
    with pytest.raises(DataError, match="found a folder"):
        check(tmp_path)


def test_scan_reads_a_file_whatever_its_name(write_rows):
    path = write_rows(row(), name="upload-7")
    assert scan(path) == Report(path, 1, [])


def test_the_lines_of_a_report_on_ordinary_faults_fit_a_terminal(write_rows):
    rows = [
        row() | {"input": {"messages": [{"role": "human", "content": 1}]}, "x": 1},
        row() | {"preferred_output": [], "weight": -1, "tools": []},
        {"prompt": "", "chosen": "", "rejected": ""},
        row("Q?", "a", "A"),
        {},
    ]
    assert max(len(text) for text in str(check(write_rows(*rows))).splitlines()) <= 120


# Whatever the file holds

PIECES = st.sampled_from(
    [line(), line("Q?", "b", "a"), b"\n", b"\r\n", b"\xef\xbb\xbf", b"\0", b"{", b"}", b"[", b'"', b",", b":", b" ",
     b"\\ud800", b"1e999", b"NaN", b"\xff\xfe", b'{"input": ', b'"messages"', b"null", "\u2028".encode()]
)  # fmt: skip
ONCE = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)  # each example writes the file anew


@ONCE
@given(content=st.binary(max_size=200) | st.lists(PIECES | st.binary(max_size=3), max_size=12).map(b"".join))
def test_check_never_raises_on_content_and_always_has_words(tmp_path: Path, content):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    report = check(path)
    assert report.ok is (report.count("error") == 0)
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert str(report).startswith("any.jsonl: ")
    assert report._repr_html_()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(st.characters(), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content"]), inner),
    max_leaves=5,
)


@ONCE
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "input": JSON | st.fixed_dictionaries({"messages": JSON | st.lists(JSON), "tools": JSON}),
            "preferred_output": JSON | st.lists(JSON),
            "non_preferred_output": JSON,
            "weight": JSON,
            "tools": JSON,
        },
    )
)
def test_check_never_raises_on_a_row_of_any_values(tmp_path: Path, value):
    path = tmp_path / "any.jsonl"
    path.write_text(json.dumps(value) + "\n", encoding="utf-8")
    assert str(check(path))
