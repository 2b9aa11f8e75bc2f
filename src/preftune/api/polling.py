"""How often to ask again, and how much trouble to bear while asking."""

from __future__ import annotations

import math

from preftune.api.steps import Flow, Now, Sleep
from preftune.api.transient import is_transient, pause
from preftune.errors import APIError, APIResponseValidationError

_SHORTEST, _LONGEST = 0.05, 10.0  # seconds between two polls
PATIENCE = 900.0  # seconds of uninterrupted failure that a wait or a stream bears; a job runs for hours


class Pauses:
    """Pauses that shorten while there is progress and lengthen while there is none; a fixed interval stays fixed."""

    def __init__(self, fixed: float | None = None) -> None:
        self._fixed = fixed
        self._current = _SHORTEST

    def after(self, *, progress: bool) -> float:
        """Return the seconds to wait after a poll that brought something new, or nothing."""
        if self._fixed is not None:
            return self._fixed
        seconds = self._current
        self._current = max(_SHORTEST, seconds / 2) if progress else min(_LONGEST, seconds * 1.5)
        return seconds


class Patience:
    """Bears transient failures of a long wait by time, where single calls bear them by count; until `end` at most."""

    def __init__(self, end: float = math.inf) -> None:
        self._end = end
        self._since: float | None = None
        self._failures = 0
        self._proven = False  # whether what answers there has ever made sense

    def reset(self) -> None:
        """Forget past failures: an answer came."""
        self._since, self._failures, self._proven = None, 0, True

    def bear(self, error: APIError) -> Flow[None]:
        """Wait a little after a transient failure; raise it when it is not transient or lasts too long.

        Nonsense is transient from a server that has talked sense before: something stands in between for a while.
        """
        now = yield Now()
        self._since = now if self._since is None else self._since
        passing = is_transient(error) or (self._proven and isinstance(error, APIResponseValidationError))
        if not passing or now - self._since > PATIENCE or now >= self._end:
            raise error
        yield Sleep(min(pause(error, self._failures, 0.0), self._end - now))
        self._failures += 1
