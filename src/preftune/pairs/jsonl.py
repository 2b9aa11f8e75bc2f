"""A JSONL file read line by line, exactly: numbers counted from 1, every byte accounted for, nothing repaired."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from preftune.errors import DataError

MAX_LINE_BYTES = 160 * 2**20  # a row may hold ten images of 10 MiB in base64: 134 MiB
MAX_DEPTH = 64  # tool schemas nest a dozen levels; deeper is an attack or an accident
BOM = b"\xef\xbb\xbf"
_PIECE = 2**18  # bytes read at once: with the default of 8 KiB most lines would be copied twice


class Line(NamedTuple):
    """One line without its line break."""

    number: int
    raw: bytes
    carriage_return: bool  # it ended in CRLF


class Unreadable(Exception):  # noqa: N818 - never leaves the room: a reason, turned into a finding
    """Why a line is not one JSON object: the rule that says so, what was found, what to do."""

    def __init__(self, rule: str, found: str, hint: str) -> None:
        super().__init__(rule, found, hint)
        self.rule, self.found, self.hint = rule, found, hint

    def __str__(self) -> str:
        return self.found


def existing_file(path: str | Path) -> Path:
    """Return the path when a file stands there; raise DataError, saying what does, when not."""
    path = Path(path)
    try:
        if path.is_dir():
            raise DataError(f"{path}: expected a file, found a folder; name the file in it")
        if not path.exists():
            raise DataError(f"{path}: expected a file, found nothing there; check the spelling and the current folder")
        if not path.is_file():
            raise DataError(f"{path}: expected a file, found a device or a pipe; write the rows to a file first")
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); see that you may read it") from None
    return path


def read_lines(path: Path) -> Iterator[Line]:
    """Yield every line of a file, blank ones too; the line break is the byte 0x0A alone."""
    for number, (_, raw) in enumerate(raw_lines(path), start=1):
        carriage_return = raw.endswith(b"\r\n")
        yield Line(number, raw.removesuffix(b"\r\n" if carriage_return else b"\n"), carriage_return)


def raw_lines(path: Path, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes, with its line break, of every line that begins in [start, stop).

    Of a line over the limit only its beginning is held, one byte more than is read, so that memory is bounded.
    """
    with path.open("rb", buffering=_PIECE) as file:
        offset = _next_line(file, start, stop)
        while (stop is None or offset < stop) and (raw := file.readline(MAX_LINE_BYTES + 1)):
            yield offset, raw
            offset += len(raw)
            if len(raw) > MAX_LINE_BYTES and not raw.endswith(b"\n"):
                offset += _skip_line(file)


def decode(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that a line holds, or raise Unreadable for the first thing wrong with it."""
    if len(raw) > MAX_LINE_BYTES:
        found = f"the line has more than {MAX_LINE_BYTES:,} bytes, the most that is read"
        raise Unreadable("line", found, "split or shorten the pair")
    value = parse(raw)
    if not isinstance(value, dict):
        raise Unreadable("line", f"the line holds {json_kind(value)}, not an object", "write one JSON object a line")
    return value


def parse(raw: bytes, *, whole: str = "line") -> Any:
    """Return the JSON value that a whole line or file holds, or raise Unreadable for the first thing wrong with it."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _parse_slowly(raw, whole)
    quotes, depth = _measure(value)
    certain = raw.count(b'"') == quotes and depth <= MAX_DEPTH and b"\\u0022" not in raw
    return value if certain else _parse_slowly(raw, whole)


def _parse_slowly(raw: bytes, whole: str) -> Any:
    """Return the value after every test that the fast reading leaves out, or say what is wrong and where."""
    if raw.startswith(BOM):
        found = f"a byte-order mark at the beginning of the {whole}"
        raise Unreadable("encoding", found, "remove it; files with a mark were joined")
    if b"\0" in raw:
        found = f"NUL byte at byte {raw.index(0) + 1} of the {whole}"
        raise Unreadable("encoding", found, "remove it; the file may be UTF-16")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the {whole} is not UTF-8"
        raise Unreadable("encoding", found, "save the file as UTF-8") from None
    value = _loads(text)
    if _measure(value)[1] > MAX_DEPTH:
        raise Unreadable("line", *_TOO_DEEP)
    _refuse_lone_surrogates(text, value)
    return value


def _measure(value: object) -> tuple[int, int]:
    """Return how many quotation marks the value's JSON has, and how deep it nests.

    In valid JSON every such byte opens or closes a text or stands in one. A key that stands twice loses its first value
    on reading, so the line then has more of them than its value; unless some are written by their number, as u0022.
    """
    quotes, depth, level = 0, 0, [value]
    while level:
        inner: list[Any] = []
        containers = False
        for item in level:
            if isinstance(item, str):
                quotes += 2 + item.count('"')
            elif isinstance(item, dict):
                containers = True
                quotes += 2 * len(item) + "".join(item).count('"')
                inner.extend(item.values())
            elif isinstance(item, list):
                containers = True
                inner.extend(item)
        level = inner
        depth += containers
    return quotes, depth


def json_kind(value: object) -> str:
    """Return the name of a JSON value's kind, with its article."""
    if value is None:
        return "null"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), type(value).__name__)


def shown(value: object) -> str:
    """Return a value as a message shows it: cut where it would not stay one line."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    text = repr(text) if isinstance(value, str) else text
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - a message stays one line


_TOO_DEEP = (f"values are nested more than {MAX_DEPTH} deep", "flatten the row")


def _next_line(file: BinaryIO, start: int, stop: int | None) -> int:
    """Move to the first line that begins at `start` or after it, or behind `stop`, and return the offset."""
    if not start:
        return 0
    file.seek(start - 1)
    return start - 1 + _skip_line(file, None if stop is None else stop - start + 1)


def _skip_line(file: BinaryIO, most: int | None = None) -> int:
    """Move behind the next line break, or behind `most` bytes, in bounded memory; return how many were passed."""
    passed = 0
    while (most is None or passed < most) and (piece := file.readline(_PIECE)):
        passed += len(piece)
        if piece.endswith(b"\n"):
            break
    return passed


def _loads(text: str) -> Any:
    try:
        return _decode_strictly(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        if error.msg == "Extra data":
            hint = "put each object on a line of its own, in a .jsonl file"
            raise Unreadable("line", f"a second value begins at {place}", hint) from None
        found = f"not JSON at {place}: {error.msg[0].lower()}{error.msg[1:]}"
        raise Unreadable("line", found, "write it with a JSON library") from None
    except RecursionError:
        raise Unreadable("line", *_TOO_DEEP) from None
    except ValueError:  # an integer of more digits than Python converts
        raise Unreadable("line", "a number has too many digits", "write it shorter, or as text") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise Unreadable(
            "line", f"key {shown(twice)} stands twice in one object", "keep one of them; readers disagree on which wins"
        )
    return value


def _refuse_constant(name: str) -> None:
    raise Unreadable("line", f"{name} is no JSON", "write null, or leave the key out")


def _finite_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise Unreadable("line", "a number is too large", "write it shorter, or as text")
    return value


_decode_strictly = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_refuse_constant, parse_float=_finite_float
).decode


def _refuse_lone_surrogates(text: str, value: object) -> None:
    if "\\u" not in text:
        return
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise Unreadable(
            "encoding", "an escape of a lone surrogate (half a character)", "write the whole character"
        ) from None
