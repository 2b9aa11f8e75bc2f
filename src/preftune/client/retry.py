"""tenacity's part: how often a request is tried, for both drivers. What is worth it is decided in `api.transient`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import tenacity

from preftune.api.steps import Request
from preftune.api.transient import is_transient, pause
from preftune.client.exchange import bare

_log = logging.getLogger("preftune")


def policy(
    request: Request, *, max_retries: int, chance: Callable[[], float], time_left: Callable[[], float]
) -> dict[str, Any]:
    """Return the arguments of tenacity's Retrying or AsyncRetrying for one request."""

    def worth_it(error: BaseException) -> bool:
        return is_transient(error, retry_conflict=request.retry_conflict)

    def wait(state: tenacity.RetryCallState) -> float:
        return pause(_error(state), state.attempt_number - 1, chance())

    def stop(state: tenacity.RetryCallState) -> bool:
        retries = max_retries if request.retry else 0
        return state.attempt_number > retries or state.upcoming_sleep >= time_left()

    return {
        "retry": tenacity.retry_if_exception(worth_it),
        "wait": wait,
        "stop": stop,
        "before_sleep": lambda state: _log.debug(
            "%s %s: attempt %d failed (%s), again in %.2f s",
            request.method, bare(request.path), state.attempt_number,
            type(_error(state)).__name__, state.upcoming_sleep,
        ),
        "reraise": True,
    }  # fmt: skip


def _error(state: tenacity.RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome else None
