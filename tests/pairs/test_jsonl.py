import re

import pytest

from preftune.errors import DataError
from preftune.pairs import jsonl
from preftune.pairs.jsonl import Line, Unreadable, decode, existing_file, json_kind, parse, read_lines


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
        (b'{"a": "\0"}', ("encoding", "NUL byte at byte 7 of the line", "remove it; the file may be UTF-16")),
        ("{}".encode("utf-16-le"), ("encoding", "NUL byte at byte 1 of the line", "remove it; the file may be UTF-16")),
        (b'{"a": "\xff"}', ("encoding", "byte 0xff at byte 7 of the line is not UTF-8", "save the file as UTF-8")),
        (
            b'{"a": "\xed\xa0\x80"}',
            ("encoding", "byte 0xed at byte 7 of the line is not UTF-8", "save the file as UTF-8"),
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
        (b"{" + b"[" * 64, ("line", "values are nested more than 64 deep", "flatten the row")),
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


def test_decode_shortens_a_long_key_that_stands_twice():
    key = "k" * 1000
    found = _fault(b'{"%s": 1, "%s": 1}' % (key.encode(), key.encode()))[1]
    assert found == f"key '{'k' * 56}... stands twice in one object"


def test_decode_refuses_a_line_of_more_bytes_than_the_limit(monkeypatch):
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 1000)
    just = b'{"a": "' + b"x" * 991 + b'"}'
    assert decode(just) == {"a": "x" * 991}
    assert _fault(just + b" ") == (
        "line", "the line has 1,001 bytes; at most 1,000 are read", "split or shorten the pair",
    )  # fmt: skip


def test_parse_returns_any_value_and_tells_the_line_of_a_fault():
    assert parse(b"[\n1,\n2]") == [1, 2]
    assert _fault(b"[1,\n 2 3]", parse) == ("line", "not JSON at line 2, column 4: expecting ',' delimiter", LIBRARY)
    assert _fault(b"[\0]", lambda raw: parse(raw, whole="file"))[1] == "NUL byte at byte 1 of the file"
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
