import errno
import io
import json
import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from preftune.errors import DataError
from preftune.pairs import jsonl
from preftune.pairs.jsonl import (
    MAX_DEPTH,
    Line,
    Unreadable,
    decode,
    existing_file,
    json_kind,
    parse,
    raw_lines,
    read_lines,
    shown,
)

QUICK = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def lines(path):
    return [tuple(line) for line in read_lines(path)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n", [(1, b"", False)]),
        (b"a\nb\n", [(1, b"a", False), (2, b"b", False)]),
        (b"a\nb", [(1, b"a", False), (2, b"b", False)]),
        (b"a\n\nb", [(1, b"a", False), (2, b"", False), (3, b"b", False)]),
        (b"a\r\nb\r\n", [(1, b"a", True), (2, b"b", True)]),
        (b"\r\n", [(1, b"", True)]),
        (b"a\r\r\n", [(1, b"a\r", True)]),
        (b"a\rb\n", [(1, b"a\rb", False)]),
        (b"a\r", [(1, b"a\r", False)]),
        (b"\xef\xbb\xbfa\n", [(1, b"\xef\xbb\xbfa", False)]),
        (b"a\0b\n", [(1, b"a\0b", False)]),
        (
            "a\u2028b\u2029c\x85d\x0be\x0cf\x1eg\n".encode(),
            [(1, "a\u2028b\u2029c\x85d\x0be\x0cf\x1eg".encode(), False)],
        ),
        (b"  a \t\n", [(1, b"  a \t", False)]),
    ],
)
def test_read_lines_yields_every_byte_but_the_line_breaks(write_bytes, content, expected):
    assert lines(write_bytes(content)) == expected


def test_a_line_is_told_by_number_bytes_and_carriage_return(write_bytes):
    assert next(read_lines(write_bytes(b"x\r\n"))) == Line(number=1, raw=b"x", carriage_return=True)


def test_read_lines_reads_utf_16_as_lines_that_hold_nul(write_bytes):
    raw = [line.raw for line in read_lines(write_bytes("{}\n".encode("utf-16")))]
    assert raw == [b"\xff\xfe{\0}\0", b"\0"]


def test_read_lines_holds_no_more_of_a_line_than_the_limit_and_one_byte(write_bytes, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 4)
    assert lines(write_bytes(b"abcd\nabcde\nabcdefghi\nab\n")) == [
        (1, b"abcd", False), (2, b"abcde", False), (3, b"abcde", False), (4, b"ab", False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("start", "stop", "expected"),
    [
        (0, None, [(0, b"ab\n"), (3, b"\n"), (4, b"cd\r\n"), (8, b"e")]),
        (0, 0, []),
        (0, 1, [(0, b"ab\n")]),
        (1, 3, []),
        (3, 4, [(3, b"\n")]),
        (1, 5, [(3, b"\n"), (4, b"cd\r\n")]),
        (7, 9, [(8, b"e")]),
        (8, None, [(8, b"e")]),
        (9, None, []),
        (99, 999, []),
    ],
)
def test_raw_lines_yields_the_lines_that_begin_in_a_part_with_their_offsets(write_bytes, start, stop, expected):
    assert list(raw_lines(write_bytes(b"ab\n\ncd\r\ne"), start, stop)) == expected


@QUICK
@given(
    content=st.lists(st.sampled_from([b"a", b"bcd", b"\n", b"\r\n", b"\0", b"efghijkl"]), max_size=12).map(b"".join),
    cuts=st.lists(st.integers(0, 40), max_size=4),
)
def test_raw_lines_of_neighbouring_parts_are_the_lines_of_the_whole(tmp_path, content, cuts):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    bounds = [0, *sorted(cuts), None]
    parts = [line for start, stop in pairwise(bounds) for line in raw_lines(path, start, stop)]
    assert parts == list(raw_lines(path))
    assert b"".join(raw for _, raw in parts) == content


@pytest.mark.parametrize("end", [b"", b"\n", b"\n{}\n"])
def test_raw_lines_of_a_file_without_line_breaks_stay_in_bounded_memory(write_bytes, monkeypatch, end):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1_000)
    monkeypatch.setattr(jsonl, "_PIECE", 100)
    content = b"x" * 50_000
    after = [(50_001, b"{}\n")] if end.endswith(b"}\n") else []
    path = write_bytes(content + end)
    assert list(raw_lines(path)) == [(0, b"x" * 1_001), *after]
    assert list(raw_lines(path, 25_000)) == after


def test_raw_lines_of_many_parts_do_not_read_a_file_without_line_breaks_again_and_again(monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1_000)
    monkeypatch.setattr(jsonl, "_PIECE", 100)
    content, read = b"x" * 50_000, []

    class File(io.BytesIO):
        def readline(self, size=-1):
            read.append(super().readline(size))
            return read[-1]

    class Opened:
        def open(self, mode, buffering):
            return File(content)

    parts = [line for start in range(0, 50_000, 1_000) for line in raw_lines(Opened(), start, start + 1_000)]
    assert parts == [(0, b"x" * 1_001)]
    assert sum(map(len, read)) < 3 * len(content)  # the rest of the long line once, and each part once


def test_raw_lines_keeps_a_line_of_just_the_limit_whole(write_bytes, monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 3)
    assert list(raw_lines(write_bytes(b"abc\nabcd\nabc"))) == [(0, b"abc\n"), (4, b"abcd"), (9, b"abc")]


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"{}", {}),
        (b' \t{"a": [1, 2.5, true, null, "x"]}\r ', {"a": [1, 2.5, True, None, "x"]}),
        ('{"a": "x\u2028y\u2029z\x7f"}'.encode(), {"a": "x\u2028y\u2029z\x7f"}),
        (b'{"a": "\\ud83d\\ude00"}', {"a": "\U0001f600"}),
        (b'{"a": "\\\\ud83d"}', {"a": "\\ud83d"}),
        (b'{"a": {"k": 1}, "b": {"k": 1}}', {"a": {"k": 1}, "b": {"k": 1}}),
        (b'{"a": "NaN Infinity"}', {"a": "NaN Infinity"}),
        (b'{"a": 1e308}', {"a": 1e308}),
        (b'{"a": 1e-999}', {"a": 0.0}),
        (b'{"a": ' + b"9" * 400 + b"}", {"a": 10**400 - 1}),
        (b'{"a": 18446744073709551616, "b": -9223372036854775809}', {"a": 2**64, "b": -(2**63) - 1}),
        (b'{"a": "\\u0000\\u0022\\"", "\\"b\\"": ""}', {"a": '\0""', '"b"': ""}),
        (b'{"a": "\\\\u0022"}', {"a": "\\u0022"}),
        (b'{"a": ' + b"[" * 63 + b"]" * 63 + b"}", {"a": eval("[" * 63 + "]" * 63)}),  # noqa: S307
        (b'{"a": "' + b"[{" * 99 + b'"}', {"a": "[{" * 99}),
        (b'{"a": "' + b'\\"[\\\\' * 99 + b'"}', {"a": '"[\\' * 99}),
        (b'{"a": [' + b"[], " * 99 + b"{}]}", {"a": [[]] * 99 + [{}]}),
    ],
)
def test_decode_returns_the_object_of_a_line(raw, value):
    assert decode(raw) == value


def _fault(raw, read=decode):
    with pytest.raises(Unreadable) as caught:
        read(raw)
    assert str(caught.value) == caught.value.found
    return caught.value.rule, caught.value.found, caught.value.hint


LIBRARY = "write it with a JSON library"
OWN_LINE = "put each object on a line of its own, in a .jsonl file"


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (b'{"a": "\0"}', ("encoding", "NUL byte at byte 8 of the line", "remove it; the file may be UTF-16")),
        ("{}".encode("utf-16-le"), ("encoding", "NUL byte at byte 2 of the line", "remove it; the file may be UTF-16")),
        (b'{"a": "\xff"}', ("encoding", "byte 0xff at byte 8 of the line is not UTF-8", "save the file as UTF-8")),
        (
            b'{"a": "\xed\xa0\x80"}',
            ("encoding", "byte 0xed at byte 8 of the line is not UTF-8", "save the file as UTF-8"),
        ),
        (
            b'{"a": "\\ud83d"}',
            ("encoding", "an escape of a lone surrogate (half a character)", "write the whole character"),
        ),
        (
            b'{"\\uDE00": 1}',
            ("encoding", "an escape of a lone surrogate (half a character)", "write the whole character"),
        ),
        (b"[]", ("line", "the line holds a list, not an object", "write one JSON object a line")),
        (b'"x"', ("line", "the line holds text, not an object", "write one JSON object a line")),
        (b"1", ("line", "the line holds a number, not an object", "write one JSON object a line")),
        (b"true", ("line", "the line holds a boolean, not an object", "write one JSON object a line")),
        (b"null", ("line", "the line holds null, not an object", "write one JSON object a line")),
        (b"{} {}", ("line", "a second value begins at column 4", OWN_LINE)),
        (b"{}{}", ("line", "a second value begins at column 3", OWN_LINE)),
        (b'{"a": NaN}', ("line", "NaN is no JSON", "write null, or leave the key out")),
        (b'{"a": [Infinity]}', ("line", "Infinity is no JSON", "write null, or leave the key out")),
        (b'{"a": -Infinity}', ("line", "-Infinity is no JSON", "write null, or leave the key out")),
        (b'{"a": 1e999}', ("line", "a number is too large", "write it shorter, or as text")),
        (b'{"a": -1.5e9999}', ("line", "a number is too large", "write it shorter, or as text")),
        (b'{"a": ' + b"9" * 5000 + b"}", ("line", "a number has too many digits", "write it shorter, or as text")),
        (
            b'{"a": {"k": 1, "l": 2, "k": 3}}',
            ("line", "key 'k' stands twice in one object", "keep one of them; readers disagree on which wins"),
        ),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", ("line", "values are nested more than 64 deep", "flatten the row")),
        (b"[" * 200_000, ("line", "values are nested more than 64 deep", "flatten the row")),
        (b'{"a": 1', ("line", "not JSON at column 8: expecting ',' delimiter", LIBRARY)),
        (b"{'a': 1}", ("line", "not JSON at column 2: expecting property name enclosed in double quotes", LIBRARY)),
        (b'{"a": "x\ty"}', ("line", "not JSON at column 9: invalid control character at", LIBRARY)),
        (b"", ("line", "not JSON at column 1: expecting value", LIBRARY)),
    ],
)
def test_decode_says_what_is_wrong_with_a_line(raw, fault):
    assert _fault(raw) == fault


TWICE = ("line", "key 'role' stands twice in one object", "keep one of them; readers disagree on which wins")


@pytest.mark.parametrize(
    "again",
    [
        b'"role": 1, "role": 1', b'"role": 1, "role": 2', b'"role": "x", "r\\u006fle": "x"',
        b'"\\u0072ole": "", "role": "\\u0022\\u0022"', b'"role": null, "a": "\\"\\"", "role": [{}]',
        b'"role": "\\u0022\\u0022\\u0022\\u0022", "role": {"role": 1}',
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "around", [b"{%s}", b'{"a": {%s}}', b'{"a": [{"role": 1}, {%s}]}', b'{"a": "\\u0022\\u0022", "b": [[{%s}], []]}']
)
def test_decode_finds_a_key_that_stands_twice_in_any_object_however_it_is_spelled(again, around):
    assert _fault(around % again) == TWICE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([10**400, 2**64, 1e300, -0.0]) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@QUICK
@given(value=st.dictionaries(st.text(max_size=3), JSON, max_size=3), ascii_only=st.booleans())
def test_decode_returns_what_a_json_library_wrote(value, ascii_only):
    assert decode(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


PIECES = st.sampled_from(
    ["{", "}", "[", "]", ",", ":", '"', '"a"', '"\\u0061"', '"a": ', '"a":1,', "1", "-", "0", "1e9", "1e999", ".5",
     "NaN", "null", "true", "\\", "\\u0022", "\\ud800", "\\udc00", "\ufeff", "\0", "\x0b", " ", "\t", "\r", "é",
     "9" * 30]
).map(str.encode)  # fmt: skip


def _outcome(read, raw):
    try:
        return repr(read(raw))
    except Unreadable as reason:
        return reason.rule, reason.found, reason.hint


@QUICK
@given(
    raw=st.lists(PIECES | st.binary(max_size=2), max_size=10).map(b"".join)
    | st.tuples(JSON.map(json.dumps).map(str.encode), st.integers(0, 60), st.integers(0, 3), PIECES).map(
        lambda given: given[0][: given[1]] + given[3] + given[0][given[1] + given[2] :]
    )
)
def test_the_fast_reading_says_what_the_careful_reading_says(raw):
    assert _outcome(parse, raw) == _outcome(lambda raw: jsonl._parse_slowly(raw, "line"), raw)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("room", [0, 1])
def test_decode_finds_values_nested_beyond_the_limit(opening, room):
    levels = opening.count(b"[") + opening.count(b"{")
    times = (MAX_DEPTH - 1) // levels
    inner = b"[" * ((MAX_DEPTH - 1) % levels + room) + b"]" * ((MAX_DEPTH - 1) % levels + room)
    closing = opening.replace(b'"a":', b"").translate(bytes.maketrans(b"[{", b"]}"))[::-1]
    raw = b'{"a": ' + opening * times + (inner or b"1") + closing * times + b"}"
    assert (_outcome(decode, raw) == ("line", "values are nested more than 64 deep", "flatten the row")) is bool(room)


def test_decode_shortens_a_long_key_that_stands_twice():
    key = "k" * 1000
    found = _fault(b'{"%s": 1, "%s": 1}' % (key.encode(), key.encode()))[1]
    assert found == f"key '{'k' * 56}... stands twice in one object"


def test_decode_refuses_a_line_of_more_bytes_than_the_limit(monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1000)
    just = b'{"a": "' + b"x" * 991 + b'"}'
    assert decode(just) == {"a": "x" * 991}
    assert _fault(just + b" ") == (
        "line", "the line has more than 1,000 bytes, the most that is read", "split or shorten the pair",
    )  # fmt: skip


def test_parse_returns_any_value_and_tells_the_line_of_a_fault():
    assert parse(b"[\n1,\n2]") == [1, 2]
    assert _fault(b"[1,\n 2 3]", parse) == ("line", "not JSON at line 2, column 4: expecting ',' delimiter", LIBRARY)
    assert _fault(b"[\0]", lambda raw: parse(raw, whole="file"))[1] == "NUL byte at byte 2 of the file"
    assert _fault(b"{}\n{}", parse) == ("line", "a second value begins at line 2, column 1", OWN_LINE)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"), (True, "a boolean"), (1, "a number"), (1.5, "a number"), ("", "text"), ([], "a list"),
        ({}, "an object"), (b"", "bytes"),
    ],
)  # fmt: skip
def test_json_kind_names_a_value_with_its_article(value, kind):
    assert json_kind(value) == kind


def test_existing_file_returns_the_path_of_a_file(write_bytes):
    path = write_bytes(b"")
    assert existing_file(str(path)) == path


def test_existing_file_says_what_stands_in_its_place(tmp_path):
    with pytest.raises(DataError, match=f"^{re.escape(str(tmp_path))}: expected a file, found a folder; name the file"):
        existing_file(tmp_path)
    with pytest.raises(
        DataError, match=r"no\.jsonl: expected a file, found nothing there; check the spelling and the current folder$"
    ):
        existing_file(tmp_path / "no.jsonl")


def test_existing_file_refuses_what_is_neither_file_nor_folder():
    with pytest.raises(DataError, match=f"^{os.devnull}: expected a file, found a device or a pipe; write the rows"):
        existing_file(os.devnull)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError("out of luck"), "out of luck"),
    ],
)
@pytest.mark.parametrize("step", ["open", "is_dir"])
def test_existing_file_refuses_what_cannot_be_read(write_bytes, monkeypatch, step, error, told):
    path = write_bytes(b"{}")

    def fail(*_):
        raise error

    monkeypatch.setattr(Path, step, fail)
    expected = f"{path}: cannot be read ({told}); see that you may read it"
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        existing_file(path)


def test_existing_file_refuses_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read \(.*long\)|expected a file, found nothing there"):
        existing_file(tmp_path / ("x" * 5_000))
    with pytest.raises(DataError, match="expected a file, found nothing there"):
        existing_file("rows\0.jsonl")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("user", "'user'"), ("it's", '"it\'s"'), ("a\nb", "'a\\nb'"), ("\ud800", "'\\ud800'"), (None, "null"),
        (True, "true"),
        (1.5, "1.5"), ({"é": [1]}, '{"é": [1]}'), ("x" * 58, f"'{'x' * 58}'"), ("x" * 59, f"'{'x' * 56}..."),
        ([1] * 40, f"[{'1, ' * 18}1,..."), ({1}, '"{1}"'),
    ],
)  # fmt: skip
def test_shown_writes_a_value_on_one_short_line(value, text):
    assert shown(value) == text
