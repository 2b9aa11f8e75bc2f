"""Which failures pass by themselves, and how long to wait: decided here, done by whoever drives or flows.

Source: docs/reliability.md, Retries.
"""

from __future__ import annotations

from preftune.errors import APIConnectionError, APIError, APIStatusError

LONGEST_PAUSE = 120.0  # seconds a server may ask us to wait; beyond, the error is raised at once
_FIRST_PAUSE, _PAUSE_CAP, _JITTER = 0.5, 8.0, 0.25  # seconds, seconds, share
_DOUBLINGS = 10  # more than reach the cap; without a bound, a long outage would leave the floats
_RETRIED = frozenset({408, 409, 429})


def is_transient(error: BaseException, *, retry_conflict: bool = True) -> bool:
    """Tell whether the same request may succeed later."""
    if not isinstance(error, APIError) or (error.retry_after or 0) > LONGEST_PAUSE:
        return False
    if error.retry_hint is not None:
        return error.retry_hint
    if isinstance(error, APIStatusError):
        if error.status == 409:  # noqa: PLR2004
            return retry_conflict
        return error.status >= 500 or error.status in _RETRIED  # noqa: PLR2004
    return isinstance(error, APIConnectionError)


def pause(error: BaseException | None, attempt: int, chance: float) -> float:
    """Return the seconds to wait after attempt number `attempt`, from 0; `chance` is uniform in 0..1.

    What the server asked for is honoured to the letter; else min(0.5 * 2**n, 8), shortened by up to a quarter.
    """
    asked = getattr(error, "retry_after", None)
    if asked is not None:
        return float(asked)
    return min(_FIRST_PAUSE * 2.0 ** min(attempt, _DOUBLINGS), _PAUSE_CAP) * (1 - _JITTER * chance)
