"""A file on its way up: in three steps, in parts, or in one request. Source: docs/wire.md, Upload and Download."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import IO, Any, Literal, TypeAlias
from urllib.parse import urljoin

from preftune.api.files import retrieve
from preftune.api.models import File
from preftune.api.reading import path_id, read, read_items, read_object
from preftune.api.steps import All, Call, Flow, Part, Request, Response, Token
from preftune.client.exchange import bare
from preftune.errors import APIError, APIResponseValidationError, ConfigError, ConflictError, DataError, IntegrityError

UploadForm: TypeAlias = Literal["presigned", "multipart", "direct"]
Progress: TypeAlias = Callable[[int, int], None]  # bytes so far, bytes in all
_log = logging.getLogger("preftune")
_REDIRECTS = (301, 302, 303, 307, 308)  # replayed as PUT with the body
_MAX_HOPS = 20
_FILE_TYPES = ("jsonl", "csv", "parquet")
_NOT_IN_NAMES = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")  # what would end a header, or is no text
_LARGEST_PUT = 5 * 2**30  # bytes; beyond, storage wants parts
_PART = 250 * 2**20  # bytes
_MOST_PARTS = 250
_LONGEST_NAME = 60  # characters of a copy's name; four bytes each stay within any file system's limit
_AT_ONCE = 4  # parts on their way


def upload(
    source: str | os.PathLike[str] | bytes | IO[bytes],
    *,
    name: str | None = None,
    purpose: str = "fine-tune",
    check: bool = False,
    form: UploadForm | None = None,
    progress: Progress | None = None,
) -> Flow[File]:
    """Upload a file and return it; the same content already there is not sent again.

    `source` is a path, bytes, or a file open for reading bytes, from where it stands; `name` is what the server calls
    it, and needed where the source has no name. With `check` the pairs are checked first, and nothing is sent when
    there are errors. `form` is how the bytes travel: to storage, in parts above 5 GiB, unless it is said. `progress` is
    told bytes so far and bytes in all, from other threads when parts travel together.
    Raises DataError for what is no file or unfit, IntegrityError for a file that changes on its way, and what the API
    raises. `client.files.wait` tells when the server has read it.
    """
    if form is not None and form not in _FORMS:
        raise ConfigError(f"form: expected one of {', '.join(_FORMS)}, found {form!r}; leave it out")
    with ExitStack() as scratch:  # left also when the flow is closed, where nothing may be yielded
        taken: _Taken = yield Call(_take, (source, name, scratch))
        if check:
            yield Call(_checked, (taken.path,))
        taken = yield Call(taken.measured)
        send = _FORMS[form or ("multipart" if taken.size > _LARGEST_PUT else "presigned")]
        try:
            file = yield from send(taken, purpose, _Meter(taken.size, progress))
        except ConflictError as error:
            known = error.body.get("file_id") if isinstance(error.body, dict) else None
            if not known:
                raise
            file = yield from retrieve(str(known))
        yield Call(scratch.close)  # removing a large copy takes a while
        return file


@dataclass(frozen=True)
class _Taken:
    """A file to upload, as it was when it was looked at."""

    path: Path
    name: str
    size: int = 0
    sha256: str = ""
    changed_at: int = 0  # nanoseconds

    @property
    def file_type(self) -> str:
        """Return what the wire calls the kind of a file: its extension."""
        return PurePosixPath(self.name).suffix.lower().removeprefix(".")

    def measured(self) -> _Taken:
        """Return it with what the protocol wants to know before the first byte: the first of two readings."""
        with self.path.open("rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_size == 0:
                raise DataError(f"{self.name}: expected rows, found an empty file; rewind it if it was just written")
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return replace(self, size=stat.st_size, sha256=digest, changed_at=stat.st_mtime_ns)

    def expect_unchanged(self) -> None:
        """Raise IntegrityError when the file is no longer what was measured."""
        stat = self.path.stat() if self.path.exists() else None
        if stat is None or (stat.st_size, stat.st_mtime_ns) != (self.size, self.changed_at):
            raise IntegrityError(f"{self.path}: expected it to stay as it is, found that it changed; upload it again")

    def part(self, start: int = 0, size: int | None = None, **more: Any) -> Part:
        """Return some of its bytes, or all."""
        return Part(self.path, start, self.size if size is None else size, **more)


def _take(source: str | os.PathLike[str] | bytes | IO[bytes], name: str | None, scratch: ExitStack) -> _Taken:
    """Return the file to upload; what is not on disk, or cannot be read twice, is copied there first.

    The copy is there until `scratch` is left.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():
            found = "a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "nothing there"
            raise DataError(f"{path}: expected a file, found {found}; check the path")
        return _Taken(path, _checked_name(name or path.name, "name" if name else str(path)))
    if not isinstance(source, bytes | bytearray | memoryview) and not hasattr(source, "read"):
        raise DataError(f"upload: expected a path, bytes or an open file, found {type(source).__name__}; give a path")
    on_disk = None if isinstance(source, bytes | bytearray | memoryview) else _path_of(source)
    name = _checked_name(name or _own_name(source), "name")
    if on_disk is not None:
        return _Taken(on_disk, name)
    folder = scratch.enter_context(TemporaryDirectory(prefix="preftune-", ignore_cleanup_errors=True))
    path = Path(folder, PurePosixPath(name).name[-_LONGEST_NAME:])
    with path.open("wb") as copy:
        _copy(io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source, copy)
    return _Taken(path, name)


def _path_of(source: IO[bytes]) -> Path | None:
    """Return where an open file stands, if its path still leads to it and it is at its beginning."""
    if not isinstance(getattr(source, "raw", source), io.FileIO):
        return None  # it gives something else than what stands on disk, as gzip's files do
    try:
        path = Path(source.name)
        if os.path.samestat(os.fstat(source.fileno()), path.stat()) and source.tell() == 0 and path.is_file():
            return path
    except (TypeError, ValueError, OSError):  # no name, closed, or nothing there any more
        return None
    return None


def _copy(source: IO[bytes], copy: IO[bytes]) -> None:
    try:
        shutil.copyfileobj(source, copy)
    except (TypeError, UnicodeError):
        raise DataError(
            "upload: expected a file that gives bytes, found one that gives text; open it with 'rb'"
        ) from None
    except ValueError:
        if not getattr(source, "closed", False):
            raise
        raise DataError("upload: expected an open file, found one that is closed; open it again") from None


def _own_name(source: object) -> str:
    own = getattr(source, "name", None)
    return Path(own).name if isinstance(own, str) else ""


def _checked_name(name: str, where: str) -> str:
    suffix = PurePosixPath(name).suffix
    if not name:
        raise DataError("name: expected what to call the file, found nothing; give name='pairs.jsonl'")
    if _NOT_IN_NAMES.search(name):
        raise DataError(f"name: expected text on one line, found {name!r}; give name='pairs.jsonl'")
    if suffix.lower().removeprefix(".") not in _FILE_TYPES:
        found = suffix or "no extension"
        raise DataError(f"{where}: expected one of .{', .'.join(_FILE_TYPES)}, found {found!r}; convert it")
    return name


def _checked(path: Path) -> None:
    """Raise DataError when the pairs in a file have errors."""
    from preftune.pairs import check  # noqa: PLC0415 - a client that checks nothing need not know how

    check(path).raise_for_errors()


class _Meter:
    """Adds up what is on its way in several parts; an attempt that begins again counts from its start."""

    def __init__(self, size: int, progress: Progress | None) -> None:
        self._size, self._progress = size, progress
        self._sent: dict[int, int] = {}
        self._lock = threading.Lock()

    def of(self, part: int) -> Callable[[int], None] | None:
        """Return who is told of one part."""
        if self._progress is None:
            return None
        return lambda count: self._tell(part, count)

    def _tell(self, part: int, count: int) -> None:
        assert self._progress is not None  # noqa: S101 - `of`
        with self._lock:
            self._sent[part] = count
            self._progress(sum(self._sent.values()), self._size)


def _presigned(taken: _Taken, purpose: str, meter: _Meter) -> Flow[File]:
    """Ask where to put it, put it there, and say so."""
    form = {"purpose": purpose, "file_name": taken.name, "file_type": taken.file_type, "checksum": taken.sha256}
    opened = yield Request("POST", "/files", form=form, expect=_REDIRECTS, retry_conflict=False)
    location, file_id = _where_to(opened)
    yield from _watched(taken, _put(location, taken.part(told=meter.of(0)), taken.name))
    done = read((yield Request("POST", f"/files/{path_id(file_id, 'file')}/preprocess")), File)
    return done if done.id else (yield from retrieve(file_id))


def _direct(taken: _Taken, purpose: str, meter: _Meter) -> Flow[File]:
    """Send it to the API itself, as one form."""
    boundary = f"preftune-{(yield Token())}"
    fields = {"purpose": purpose, "file_name": taken.name, "file_type": taken.file_type}
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    quoted = taken.name.replace("\\", "\\\\").replace('"', "%22")
    head += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    body = taken.part(head=head.encode(), tail=f"\r\n--{boundary}--\r\n".encode(), told=meter.of(0))
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    request = Request("POST", "/files/upload", body=body, headers=headers, retry_conflict=False)
    return read((yield from _watched(taken, _only(request))), File)


def _multipart(taken: _Taken, purpose: str, meter: _Meter) -> Flow[File]:
    """Send it in parts, some at once, each tried again by itself; when that fails for good, the server is told."""
    spans = _spans(taken.size)
    begun = {
        "file_name": taken.name,
        "file_size": taken.size,
        "num_parts": len(spans),
        "purpose": purpose,
        "file_type": taken.file_type,
        "checksum": taken.sha256,
    }
    opened = yield Request("POST", "/files/multipart/initiate", json=begun, retry_conflict=False)
    started = read_object(opened)
    ids = {"upload_id": started.get("upload_id"), "file_id": started.get("file_id")}
    try:
        requests = [
            Request("PUT", place.url, body=taken.part(start, size, told=meter.of(i)), headers=place.headers)
            for i, (place, (start, size)) in enumerate(zip(_places(opened, len(spans)), spans, strict=True))
        ]
        answers = yield from _watched(taken, _only(All(tuple(requests), _AT_ONCE)))
        parts = [{"part_number": i, "etag": _tag(answer)} for i, answer in enumerate(answers, 1)]
        done = yield Request("POST", "/files/multipart/complete", json={**ids, "parts": parts})
    except BaseException as error:
        if not isinstance(error, GeneratorExit):  # a flow that is closed may ask for nothing more
            yield from _aborted(ids)
        raise
    whole = read_object(done)
    return File.model_validate(whole["file"] if isinstance(whole.get("file"), dict) else whole)


_FORMS: Mapping[str, Callable[[_Taken, str, _Meter], Flow[File]]] = {
    "presigned": _presigned,
    "multipart": _multipart,
    "direct": _direct,
}


def _aborted(ids: Mapping[str, Any]) -> Flow[None]:
    """Tell the server that no more parts come; a failure of this must not hide the one before."""
    try:
        yield Request("POST", "/files/multipart/abort", json=ids, tidies=True)
    except APIError as error:
        _log.warning("the parts of upload %s may stay in storage: %s", ids["upload_id"], error)


def _spans(size: int) -> list[tuple[int, int]]:
    """Return the start and size of each part: parts of one size, but the last."""
    count = max(1, min(_MOST_PARTS, math.ceil(size / _PART)))
    each = math.ceil(size / count)
    return [(start, min(each, size - start)) for start in range(0, size, each)] if size else [(0, 0)]


@dataclass(frozen=True)
class _Place:
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)


def _places(opened: Response, count: int) -> list[_Place]:
    """Return where each part goes, in order; the wire spells the names in two ways."""
    numbered = {}
    for part in read_items(opened, "parts"):
        url = part.get("URL") or part.get("UploadURL") or ""
        numbered[part.get("PartNumber") or part.get("part_number")] = _Place(str(url), part.get("Headers") or {})
    places = [numbered.get(number, _Place("")) for number in range(1, count + 1)]
    if not all(place.url.startswith(("http://", "https://")) for place in places):
        found = sum(place.url.startswith(("http://", "https://")) for place in places)
        raise _misled("POST", "/files/multipart/initiate", f"expected {count} absolute addresses, found {found}")
    return places


def _tag(answer: Response) -> str:
    tag = answer.headers.get("etag", "").strip('"')
    if not tag:
        raise _misled("PUT", bare(answer.request.path), "expected an ETag for the part, found none")
    return tag


def _watched(taken: _Taken, sending: Flow[Any]) -> Flow[Any]:
    """Send, and make sure that what was sent is what was measured: a file that changes fails in odd ways."""
    try:
        answer = yield from sending
    except (APIError, OSError):
        yield Call(taken.expect_unchanged)
        raise
    yield Call(taken.expect_unchanged)
    return answer


def _only(step: Request | All) -> Flow[Any]:
    return (yield step)


def _where_to(opened: Response) -> tuple[str, str]:
    location, file_id = opened.headers.get("location", ""), opened.headers.get("x-together-file-id", "")
    if not location.startswith(("http://", "https://")) or not file_id:
        found = f"expected an absolute Location and X-Together-File-Id, found {location[:9]!r}… and {file_id!r}"
        raise _misled("POST", "/files", found)
    return location, file_id


def _put(location: str, body: Part, name: str) -> Flow[None]:
    for _ in range(_MAX_HOPS):
        answer = yield Request("PUT", location, body=body, expect=_REDIRECTS)
        if answer.status not in _REDIRECTS:
            return
        location = _next_hop(location, answer)
    raise IntegrityError(f"upload of {name}: expected storage, found {_MAX_HOPS} redirects in a row; try again later")


def _next_hop(location: str, answer: Response) -> str:
    """Return where a redirected PUT goes: another storage, never the API, and never from https down to http."""
    stated = answer.headers.get("location", "")
    hop = urljoin(location, stated)
    if not stated or not hop.startswith("https://" if location.startswith("https://") else ("http://", "https://")):
        where = bare(location)
        raise APIResponseValidationError(
            f"PUT {where}: {answer.status}, expected a Location to go on to, found {stated.partition('?')[0]!r}; "
            "upload again",
            method="PUT",
            path=where,
        )
    return hop


def _misled(method: str, path: str, found: str) -> APIResponseValidationError:
    sentence = f"{method} {path}: {found}; is base_url an API of this kind?"
    return APIResponseValidationError(sentence, method=method, path=path)
