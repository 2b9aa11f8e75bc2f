"""Files that go out: whole or in one range, with a size, an entity tag and a digest to hold them against."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from preftune.local.reading import error_answer
from preftune.local.refusal import Refused

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")
_BLOCK = 2**18  # bytes
_BYTES = "application/octet-stream"


async def send_file(request: Request, path: Path, what: str, *, filename: str | None = None) -> Response:
    """Return a file as an answer; `what` is its name in the 404 when it is not there.

    A Range that cannot be read is ignored, as RFC 9110 asks; one outside the file is refused with 416.
    """
    try:
        digest = await run_in_threadpool(_digest, path)
        file = await run_in_threadpool(path.open, "rb")  # held from here on: who deletes the file cannot cut it off
    except FileNotFoundError:
        raise Refused(f"{what} is not there", status=404) from None
    size = os.fstat(file.fileno()).st_size
    headers = {
        "accept-ranges": "bytes",
        "etag": f'"{digest.hex()}"',
        "repr-digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
    }
    if filename:
        headers["content-disposition"] = f"attachment; filename*=utf-8''{quote(filename, safe='')}"
    asked = _asked(request, headers["etag"])
    part = range(size) if asked is None else _part(asked, size)
    if not part and asked:
        file.close()
        refusal = error_answer(416, f"the range lies outside the {size} bytes of {what}", param="range")
        refusal.headers["content-range"] = f"bytes */{size}"
        return refusal
    headers["content-length"] = str(len(part))
    if asked:
        headers["content-range"] = f"bytes {part[0]}-{part[-1]}/{size}"
    if request.method == "HEAD":
        file.close()
        return Response(status_code=206 if asked else 200, headers=headers, media_type=_BYTES)
    return StreamingResponse(_blocks(file, part), 206 if asked else 200, headers=headers, media_type=_BYTES)


def _asked(request: Request, etag: str) -> re.Match[str] | None:
    """Return the range that a request asks for; it asks for the whole if what it holds is of another entity."""
    same = request.headers.get("if-range", etag) == etag
    return _RANGE.fullmatch(request.headers.get("range", "")) if same else None


def _part(asked: re.Match[str], size: int) -> range:
    """Return the positions of a range in a file, none when it lies outside."""
    first, last, suffix = asked.groups()
    if suffix is not None:
        return range(max(size - int(suffix), 0), size)
    return range(int(first), min(int(last) + 1 if last else size, size))


def _blocks(file: BinaryIO, part: range) -> Iterator[bytes]:
    with file:
        file.seek(part.start)
        left = len(part)
        while left and (block := file.read(min(left, _BLOCK))):
            left -= len(block)
            yield block


def _digest(path: Path) -> bytes:
    found = path.stat()
    return _digest_of(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=256)
def _digest_of(path: Path, _changed: int, _size: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
