"""Rows with the words for their place, from a file or from any iterable of mappings.

A place that holds no row comes as what is wrong with it, so that its reader can decide; a container that cannot be read
at all raises DataError.
"""

from __future__ import annotations

import gzip
import importlib
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, cast

from preftune.errors import DataError
from preftune.pairs.jsonl import BOM, MAX_DEPTH, Unreadable, decode, existing_file, json_kind, parse

Rows: TypeAlias = Iterator[tuple[str, "dict[str, Any] | Unreadable"]]
Source: TypeAlias = "str | os.PathLike[str] | Iterable[Mapping[str, Any]]"
_KINDS = ".jsonl, .json, either with .gz, or .parquet"
_PARQUET_BATCH = 1_000  # rows in memory at once


def open_rows(src: Source) -> tuple[str, Rows]:
    """Return what messages call the source, and its rows, each read once.

    Raises DataError for what is no file of a known kind and no iterable of rows.
    """
    if isinstance(src, str | os.PathLike):
        path = existing_file(Path(src))
        return path.name, _rows_of_file(path)
    if isinstance(src, Mapping):
        keys = ", ".join(map(str, src))
        raise DataError(f"the source: expected a path or rows, found a mapping of {keys}; pass one of its values")
    given: object = src
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        found = type(given).__name__
        raise DataError(f"the source: expected a path or rows, found {found}; pass a path, or a list of rows")
    filled = type(src).__module__.partition(".")[0] in ("datasets", "pyarrow", "pandas")
    return "the rows", _placed("", given, filled=filled)


def _rows_of_file(path: Path) -> Rows:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = "".join(suffixes[-2:-1] if zipped else suffixes[-1:])
    if suffix == ".parquet" and not zipped:
        return _rows_of_parquet(path)
    if suffix not in (".jsonl", ".json"):
        found = repr(path.suffix) if path.suffix else "no extension"
        raise DataError(f"{path}: expected {_KINDS}, found {found}; rename or convert it")
    return _rows_of_json(path, listed=suffix == ".json", zipped=zipped)


def _rows_of_json(path: Path, *, listed: bool, zipped: bool) -> Rows:
    try:
        with _opened(path, zipped=zipped) as file:
            listed = listed or _begins_a_list(file)
            yield from _rows_of_list(path, file) if listed else _rows_of_lines(path, file)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: expected a gzip file, found a broken one ({error}); fetch or write it again"
        ) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); see that you may read it") from None


def _opened(path: Path, *, zipped: bool) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path)) if zipped else path.open("rb")


def _begins_a_list(file: BinaryIO) -> bool:
    """Tell whether the first byte that says something opens a list, and go back to the beginning."""
    start = file.read(len(BOM)).removeprefix(BOM).lstrip()
    while not start and (more := file.read(1)):
        start = more.strip()
    file.seek(0)
    return start.startswith(b"[")


def _rows_of_lines(path: Path, file: BinaryIO) -> Rows:
    for number, line in enumerate(file, start=1):
        raw = (line.removeprefix(BOM) if number == 1 else line).removesuffix(b"\n").removesuffix(b"\r")
        if raw.strip():
            yield f"{path.name}:{number}", _row(raw)


def _row(raw: bytes) -> dict[str, Any] | Unreadable:
    try:
        return decode(raw)
    except Unreadable as reason:
        return reason


def _rows_of_list(path: Path, file: BinaryIO) -> Rows:
    try:
        values = parse(file.read().removeprefix(BOM) or b"[]", whole="file")
    except Unreadable as reason:
        raise DataError(f"{path.name}: {reason.found}; {reason.hint}") from None
    if not isinstance(values, list):
        raise DataError(f"{path.name}: expected a list of rows, found {json_kind(values)}; wrap the rows in a list")
    for number, value in enumerate(values, start=1):
        yield f"{path.name}: row {number}", value if isinstance(value, dict) else _no_object(value)


def _rows_of_parquet(path: Path) -> Rows:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise DataError(f"{path}: reading Parquet needs pyarrow; pip install pyarrow") from None
    return _placed(f"{path.name}: ", _records(path, parquet), filled=True)


def _records(path: Path, parquet: Any) -> Iterator[Mapping[str, Any]]:
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_PARQUET_BATCH):
                yield from batch.to_pylist()
    except (OSError, ValueError, TypeError, importlib.import_module("pyarrow").ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{path}: expected a Parquet file, found a broken one ({reason}); fetch or write it again"
        ) from None


def _placed(where: str, values: Iterable[object], *, filled: bool) -> Rows:
    """Yield rows of Python values; nulls that Arrow `filled` into absent fields are taken out again."""
    for number, value in enumerate(values, start=1):
        row = _plain(value, filled=filled) if isinstance(value, Mapping) else _no_object(value)
        yield f"{where}row {number}", row


def _plain(row: Mapping[Any, Any], *, filled: bool) -> dict[str, Any] | Unreadable:
    try:
        return {_key(key): _bare(value, MAX_DEPTH, filled=filled) for key, value in row.items()}
    except Unreadable as reason:
        return reason


def _bare(value: Any, depth: int, *, filled: bool) -> Any:
    if not depth:
        raise Unreadable("line", f"values are nested more than {MAX_DEPTH} deep", "flatten the row")
    if isinstance(value, Mapping):
        kept = ((key, inner) for key, inner in value.items() if inner is not None or not filled)
        return {_key(key): _bare(inner, depth - 1, filled=filled) for key, inner in kept}
    if hasattr(value, "tolist"):  # arrays and numbers of NumPy, as pandas and datasets hand them out
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_bare(inner, depth - 1, filled=filled) for inner in value]
    return value


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise Unreadable("line", f"a key of the row is {json_kind(key)}, not text", "name every field by a text")
    return key


def _no_object(value: object) -> Unreadable:
    return Unreadable("line", f"expected an object, found {json_kind(value)}", "mend or drop the row")
