"""The time of what the local server only simulates: waiting in a queue, storing a model.

The speed is "instant" (nothing is waited for), "real", or a factor of it; 0 stands still until a test turns the clock.
Server and worker read one clock, which is kept in the store, so it goes on with the jobs when a server begins again.
"""

from __future__ import annotations

import math
import time

from preftune.errors import LocalServerError
from preftune.local.store import Store

PENDING, QUEUED, UPLOADING = 5.0, 30.0, 20.0  # seconds of each phase at real speed; a guess at a quiet day
_NAMES = {"instant": math.inf, "real": 1.0}


def speed_of(given: str | float) -> float:
    """Return a speed as a factor, infinite for instant. Raises LocalServerError."""
    try:
        speed = _NAMES[given] if isinstance(given, str) and given in _NAMES else float(given)
    except (ValueError, TypeError):
        speed = math.nan
    if not speed >= 0:
        raise LocalServerError(f"speed: expected instant, real, or a factor of at least 0, found {given!r}")
    return speed


class Clock:
    """Seconds of simulated time."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def start(self, speed: float) -> None:
        """Go on from where the clock stood, at a speed."""
        self._set(speed, self._reading() if self._store.note("clock") else 0.0)

    def now(self) -> float:
        """Return the time; at instant speed everything has come already."""
        return math.inf if self._speed() == math.inf else self._reading()

    def after(self, seconds: float) -> float:
        """Return when a phase of so many seconds ends that begins now."""
        return 0.0 if self._speed() == math.inf else self._reading() + seconds

    def until(self, moment: float) -> float | None:
        """Return the real seconds until a moment; None when only `turn` brings it."""
        left, speed = moment - self.now(), self._speed()
        if left <= 0:
            return 0.0
        return left / speed if speed else None

    def turn(self, seconds: float) -> None:
        """Move the clock forward."""
        self._set(self._speed(), self._reading() + seconds)

    def _speed(self) -> float:
        return float((self._store.note("clock") or {"speed": math.inf})["speed"])

    def _reading(self) -> float:
        kept = self._store.note("clock")
        if kept is None or kept["speed"] == math.inf:
            return 0.0 if kept is None else float(kept["reading"])
        return float(kept["reading"] + kept["speed"] * (time.time() - kept["at"]))

    def _set(self, speed: float, reading: float) -> None:
        self._store.set_note("clock", {"speed": speed, "reading": reading, "at": time.time()})
