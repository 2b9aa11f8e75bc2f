"""Answers of the local server without a server: a recording of the sample's job, one answer to each kind of request.

`python docs/record_answers.py` makes `recorded.json`; a test holds its answers to the shape of live ones.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

BASE_URL = "https://preftune.test"  # there is no such host
KEY = "recorded"
BINARY = "application/octet-stream"
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@dataclass(frozen=True)
class Recorded:
    """An answer of the local server to one kind of request."""

    name: str  # of the operation, as in the server's description
    method: str
    path: str  # a regular expression
    status: int
    headers: dict[str, str]
    content: bytes = field(repr=False)

    def answer(self, asked: str | None) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; of a download, the part that the Range header `asked` is for."""
        found = _RANGE.fullmatch(asked or "")
        if not found or self.headers.get("content-type") != BINARY:
            return self.status, self.headers, self.content
        end = len(self.content)
        if int(found[1]) >= end:
            return 416, {"content-range": f"bytes */{end}"}, b""
        first, last = int(found[1]), min(int(found[2] or end), end - 1)
        return 206, self.headers | {"content-range": f"bytes {first}-{last}/{end}"}, self.content[first : last + 1]


@cache
def recorded() -> tuple[Recorded, ...]:
    """Return the recording."""
    kept = json.loads((files("preftune.recipes") / "recorded.json").read_text(encoding="utf-8"))
    return tuple(Recorded(**{**one, "content": base64.b64decode(one["content"])}) for one in kept)
