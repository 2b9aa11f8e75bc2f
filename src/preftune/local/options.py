"""How a local server behaves, and what it remembers of the requests that came."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from preftune.local.faults import Faults

_KEPT = 2000  # requests


@dataclass(frozen=True)
class RecordedRequest:
    """One request as it came, and the status of its answer (None: the connection was broken off)."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]  # names in lower case; no authorization, other keys are "***"
    body: bytes = field(repr=False)  # the first 64 KiB, secrets "***"; empty for what is put to storage
    status: int | None
    seconds: float

    @property
    def json(self) -> Any:
        """Return the body as JSON. Raises ValueError when it is none."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Options:
    """What a server was started with, and its record."""

    api_key: str = field(repr=False)
    event_case: str = "lower"
    faults: Faults = field(default_factory=Faults)
    requests: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=_KEPT))
