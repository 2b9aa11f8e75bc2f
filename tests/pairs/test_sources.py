import gzip
import json
import re
import sys

import pytest

from preftune.errors import DataError
from preftune.pairs.jsonl import Unreadable
from preftune.pairs.sources import open_rows

ROWS = [{"a": "é\u2028", "b": [1]}, {"a": None, "b": []}]
BOM = b"\xef\xbb\xbf"
LINES = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in ROWS)
ZIPPED = gzip.compress(LINES, mtime=0)
LISTED = json.dumps(ROWS, indent=1).encode()


def rows_of(src):
    """Return the rows, and what is wrong in words where there is none."""
    name, rows = open_rows(src)
    return name, [(where, str(row) if isinstance(row, Unreadable) else row) for where, row in rows]


def refuses(src, message):
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        rows_of(src)


def by_line(name):
    return name, [(f"{name}:{number}", row) for number, row in enumerate(ROWS, start=1)]


def by_row(name):
    return name, [(f"{name}: row {number}", row) for number, row in enumerate(ROWS, start=1)]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("r.jsonl", LINES, by_line),
        ("R.JSONL", BOM + LINES.rstrip(), by_line),
        ("r.jsonl", LINES.replace(b"\n", b"\r\n"), by_line),
        ("r.v2.jsonl.gz", ZIPPED, by_line),
        ("r.json", LISTED, by_row),
        ("r.json", BOM + LISTED, by_row),
        ("r.json.gz", gzip.compress(LISTED, mtime=0), by_row),
        ("r.jsonl", LISTED, by_row),
        ("r.jsonl", BOM + b"\n\n  " + LISTED, by_row),
    ],
)
def test_rows_come_from_json_lines_and_lists_zipped_or_not(write_bytes, name, content, rows):
    path = write_bytes(content, name)
    assert rows_of(path) == rows_of(str(path)) == rows(name)


def test_blank_lines_are_no_rows_and_count_as_lines(write_bytes):
    assert rows_of(write_bytes(b"\n \r\n{}\n\n"))[1] == [("pairs.jsonl:3", {})]


@pytest.mark.parametrize(
    ("name", "content"), [("r.jsonl", b""), ("r.jsonl", b" \n"), ("r.json", b""), ("r.json", b"[]")]
)
def test_an_empty_file_has_no_rows(write_bytes, name, content):
    assert rows_of(write_bytes(content, name)) == (name, [])


def test_a_place_without_a_row_says_why_and_the_others_are_read(write_bytes):
    lines = rows_of(write_bytes(b'{}\n[]\n{"a": NaN}\n{}\n'))[1]
    assert lines == [
        ("pairs.jsonl:1", {}),
        ("pairs.jsonl:2", "the line holds a list, not an object"),
        ("pairs.jsonl:3", "NaN is no JSON"),
        ("pairs.jsonl:4", {}),
    ]
    values = rows_of(write_bytes(b"[{}, 5, {}]", "r.json"))[1]
    assert values == [
        ("r.json: row 1", {}),
        ("r.json: row 2", "expected an object, found a number"),
        ("r.json: row 3", {}),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "r.json: expected a list of rows, found an object; wrap the rows in a list"),
        (
            b"{}\n{}",
            "r.json: a second value begins at line 2, column 1; put each object on a line of its own, in a .jsonl file",
        ),
        (b'[{"a": NaN}]', "r.json: NaN is no JSON; write null, or leave the key out"),
        (b"[" * 100_000, "r.json: values are nested more than 64 deep; flatten the row"),
    ],
)
def test_a_list_that_is_not_json_is_refused_as_a_whole(write_bytes, content, message):
    refuses(write_bytes(content, "r.json"), message)


KINDS = "expected .jsonl, .json, either with .gz, or .parquet"


@pytest.mark.parametrize(
    ("name", "found"),
    [("rows.csv", "'.csv'"), ("rows", "no extension"), ("rows.gz", "'.gz'"), ("rows.parquet.gz", "'.gz'")],
)
def test_another_extension_is_refused(write_bytes, name, found):
    path = write_bytes(LINES, name)
    with pytest.raises(DataError, match=f"^{re.escape(f'{path}: {KINDS}, found {found}; rename or convert it')}$"):
        open_rows(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (LINES, "Not a gzipped file (b'{\"')"),
        (ZIPPED[:-9], "Compressed file ended before the end-of-stream marker was reached"),
        (ZIPPED[:10] + b"\xff" * 20, "Error -3 while decompressing data: invalid block type"),
    ],
)
def test_a_broken_gzip_file_is_refused(write_bytes, content, reason):
    path = write_bytes(content, "r.jsonl.gz")
    refuses(path, f"{path}: expected a gzip file, found a broken one ({reason}); fetch or write it again")


def test_a_file_that_cannot_be_opened_is_refused(write_bytes, monkeypatch):
    path = write_bytes(LINES)
    _, rows = open_rows(path)
    path.unlink()
    with pytest.raises(
        DataError, match=r"pairs\.jsonl: cannot be read \(No such file or directory\); see that you may"
    ):
        list(rows)


def test_an_absent_file_is_refused_at_once(tmp_path):
    with pytest.raises(DataError, match="found nothing there"):
        open_rows(tmp_path / "absent.jsonl")


# Rows of Python values


def test_any_iterable_of_mappings_gives_rows():
    placed = [("row 1", {"a": "é\u2028", "b": [1]}), ("row 2", {"a": None, "b": []})]
    assert rows_of(ROWS) == rows_of(iter(ROWS)) == rows_of(dict(row) for row in ROWS) == ("the rows", placed)


class Array:
    def tolist(self):
        return [{"role": "user", "name": None}]


FILLED = {"a": None, "b": {"x": None, "y": (1, None)}, "c": Array()}


def test_arrays_are_made_plain_and_nulls_of_plain_rows_are_kept():
    user = {"role": "user", "name": None}
    assert rows_of([FILLED])[1] == [("row 1", {"a": None, "b": {"x": None, "y": [1, None]}, "c": [user]})]


def test_a_null_in_a_tool_schema_of_a_plain_row_is_kept():
    row = {"tools": [{"function": {"parameters": {"properties": {"x": {"enum": ["a", None], "default": None}}}}}]}
    assert rows_of([row])[1] == [("row 1", row)]


@pytest.mark.parametrize("module", ["datasets.arrow_dataset", "pyarrow.lib", "pandas"])
def test_nulls_within_the_rows_of_a_table_are_taken_out(module):
    table = type("Table", (list,), {"__module__": module})
    assert rows_of(table([FILLED]))[1] == [("row 1", {"a": None, "b": {"y": [1, None]}, "c": [{"role": "user"}]})]


def test_a_value_that_is_no_row_says_why():
    endless: list = []
    endless.append(endless)
    assert rows_of([5, {1: 2}, {"a": {(1, 2): 3}}, {"a": endless}])[1] == [
        ("row 1", "expected an object, found a number"),
        ("row 2", "a key of the row is a number, not text"),
        ("row 3", "a key of the row is tuple, not text"),
        ("row 4", "values are nested more than 64 deep"),
    ]


@pytest.mark.parametrize(
    ("src", "message"),
    [
        (
            {"train": ROWS, "test": ROWS},
            "the source: expected a path or rows, found a mapping of train, test; pass one of its values",
        ),
        (5, "the source: expected a path or rows, found int; pass a path, or a list of rows"),
        (b"r.jsonl", "the source: expected a path or rows, found bytes; pass a path, or a list of rows"),
    ],
)
def test_what_is_no_source_is_refused(src, message):
    refuses(src, message)


# Parquet


def test_parquet_rows_come_in_batches_without_the_nulls_of_absent_fields(tmp_path):
    pyarrow = pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet", reason="reading Parquet needs pyarrow")
    messages = [[{"role": "user", "content": "Q?", "name": "Ann"}], [{"role": "user", "content": "Q?"}]]
    path = tmp_path / "r.parquet"
    parquet.write_table(pyarrow.table({"messages": messages * 600, "id": [1, None] * 600}), path)
    name, rows = rows_of(path)
    assert (name, len(rows)) == ("r.parquet", 1_200)
    assert rows[:2] == [
        ("r.parquet: row 1", {"messages": messages[0], "id": 1}),
        ("r.parquet: row 2", {"messages": messages[1], "id": None}),
    ]


def test_a_broken_parquet_file_is_refused(write_bytes):
    pytest.importorskip("pyarrow", reason="reading Parquet needs pyarrow")
    path = write_bytes(b"no parquet", "r.parquet")
    with pytest.raises(
        DataError, match=f"^{re.escape(str(path))}: expected a Parquet file, found a broken one \\(.+\\); "
    ):
        rows_of(path)


def test_parquet_without_pyarrow_says_what_to_install(write_bytes, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = write_bytes(b"PAR1", "r.parquet")
    refuses(path, f"{path}: reading Parquet needs pyarrow; pip install pyarrow")
