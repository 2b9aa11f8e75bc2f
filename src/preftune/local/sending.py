"""Files that go out: whole or in one range, with a size, an entity tag and a digest to hold them against."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from preftune.local.admission import Refused
from preftune.local.reading import error_answer

_RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


async def send_file(request: Request, path: Path, what: str, *, filename: str | None = None) -> Response:
    """Return a file as an answer; `what` is its name in the 404 when it is not there.

    A Range that cannot be read is ignored, as RFC 9110 asks; one outside the file is refused with 416.
    """
    try:
        found = await run_in_threadpool(path.stat)
        digest = await run_in_threadpool(_digest, path, found.st_mtime_ns, found.st_size)
    except FileNotFoundError:
        raise Refused(f"{what} is not there", status=404) from None
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    fits = asked and _fits(asked, found.st_size)
    if asked and not fits and "if-range" not in request.headers:
        refusal = error_answer(416, f"the range lies outside the {found.st_size} bytes of {what}", param="range")
        refusal.headers["content-range"] = f"bytes */{found.st_size}"
        return refusal
    if not fits:
        request.scope["headers"] = [(name, value) for name, value in request.scope["headers"] if name != b"range"]
    headers = {
        "etag": f'"{digest.hex()}"',
        "repr-digest": f"sha-256=:{base64.b64encode(digest).decode()}:",
        "content-length": str(found.st_size),
    }
    return FileResponse(path, media_type="application/octet-stream", filename=filename, headers=headers)


def _fits(asked: re.Match[str], size: int) -> bool:
    first, last, suffix = asked.groups()
    if suffix is not None:
        return int(suffix) > 0 and size > 0
    return int(first) < size and (not last or int(last) >= int(first))


@lru_cache(maxsize=256)
def _digest(path: Path, _changed: int, _size: int) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
