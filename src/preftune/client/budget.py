"""The seconds of a call and of its attempts, asked before each pause and between any two chunks.

A server that sends a byte a second holds nobody up for longer than was agreed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy

from preftune.api.steps import Part, Request
from preftune.client import exchange
from preftune.errors import APITimeoutError

_TIDYING = 5.0  # seconds of a request that cleans up behind a call


class Budget:
    """The seconds that a call has, with all its requests and pauses; endless where there is no deadline."""

    def __init__(self, seconds: float | None, now: Callable[[], float]) -> None:
        self._seconds, self._now = seconds, now
        self._end = math.inf if seconds is None else now() + seconds
        self._is_given_up = False
        self._request = Request("", "")

    def part(self) -> Budget:
        """Return the same budget for requests that may be given up together."""
        return copy(self)

    def give_up(self) -> None:
        """End what runs on this budget, at its next chunk or attempt."""
        self._is_given_up = True

    def left(self) -> float:
        """Return the seconds that are left."""
        return 0.0 if self._is_given_up else self._end - self._now()

    def allow(self, seconds: float) -> float:
        """Return the seconds of a pause; raise APITimeoutError at once for one that the deadline would end."""
        if seconds >= self.left():
            raise self._over(ambiguous=False)
        return seconds

    def attempt(self, request: Request, timeout: float) -> Attempt:
        """Begin an attempt at a request. Raises APITimeoutError when no time is left for one."""
        if request.tidies:
            return Attempt(Budget(None, self._now), request, min(timeout, _TIDYING), self._now)
        self._request = request
        if self.left() <= 0:
            raise self._over(ambiguous=False)
        return Attempt(self, request, min(timeout, self.left()), self._now)

    def check(self) -> None:
        """Raise APITimeoutError in the middle of a request when no time is left."""
        if self.left() <= 0:
            raise self._over(ambiguous=True)

    def _over(self, *, ambiguous: bool) -> APITimeoutError:
        where = f"{self._request.method} {exchange.bare(self._request.path)}: " if self._request.method else ""
        late = APITimeoutError(
            f"{where}not done within the deadline of {self._seconds or 0:g} s for the whole call; raise deadline",
            method=self._request.method,
            path=exchange.bare(self._request.path),
            ambiguous=ambiguous,
        )
        late.retry_hint = False
        return late


class Attempt:
    """One attempt: an answer that is read at once has `seconds` in all, one to or from a file as long as it moves."""

    def __init__(self, budget: Budget, request: Request, seconds: float, now: Callable[[], float]) -> None:
        self.seconds = seconds
        self._budget, self._request, self._now, self._started = budget, request, now, now()
        self._part = request.body if isinstance(request.body, Part) else None
        self._sent = 0
        moves_a_file = self._part is not None or request.into is not None
        self._longest = math.inf if moves_a_file else seconds

    @property
    def longest(self) -> float | None:
        """Return the seconds until the attempt or the call has taken too long; none where nothing says so."""
        seconds = min(self._longest, self._budget.left())
        return None if math.isinf(seconds) else seconds

    def elapsed(self) -> float:
        """Return the seconds since the attempt began."""
        return self._now() - self._started

    def check(self) -> None:
        """Raise APITimeoutError when the attempt or the call has taken too long."""
        self._budget.check()
        if self.elapsed() > self._longest:
            where = f"{self._request.method} {exchange.bare(self._request.path)}"
            raise APITimeoutError(
                f"{where}: no whole answer within {self.seconds:g} s; try again, or raise timeout",
                method=self._request.method,
                path=exchange.bare(self._request.path),
                ambiguous=True,
            )

    def received(self, chunk: bytes) -> bytes:
        """Return a chunk that came in time."""
        self.check()
        return chunk

    def sent(self, chunk: bytes) -> bytes:
        """Return a chunk that is to be sent, and tell whoever wants to know how far it is."""
        self.check()
        self._sent += len(chunk)
        part = self._part
        if part is not None and part.told is not None:
            part.told(min(max(0, self._sent - len(part.head)), part.size))
        return chunk
