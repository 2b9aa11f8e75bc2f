"""What a job would cost, before it costs anything."""

from __future__ import annotations

import math
from typing import Any, Unpack

from preftune.api.config import JobConfig, method_to_wire
from preftune.api.fields import JobFields, job_config
from preftune.api.models import PriceEstimate
from preftune.api.polling import Pauses
from preftune.api.reading import read
from preftune.api.steps import Flow, Now, Request, Sleep
from preftune.errors import APITimeoutError, ConfigError

_LONGEST_WAIT = 3600.0  # seconds for a file to be read; the largest are gigabytes
_PATH = "/fine-tunes/estimate-price"


def estimate_price(config: JobConfig | JobFields | None = None, /, **fields: Unpack[JobFields]) -> Flow[PriceEstimate]:
    """Return what a job would cost, in dollars, or why that cannot be said; asking costs nothing.

    Takes what `create` takes. `is_pending` tells that a file is still being read: ask again later.
    """
    config = job_config(config, **fields)
    body: dict[str, Any] = {
        "training_file": config.training_file,
        "validation_file": config.validation_file or "",
        "model": config.model or "",
        "from_checkpoint": config.from_checkpoint or "",
        "n_epochs": config.n_epochs,
        "n_evals": config.n_evals,
        "training_method": method_to_wire(config.training_method),
        "training_type": config.training_type.model_dump(exclude_none=True) if config.training_type else None,
    }
    return read((yield Request("POST", _PATH, json=body)), PriceEstimate)


def affordable(config: JobConfig, max_price: float) -> Flow[PriceEstimate]:
    """Return the estimate of a job that costs at most `max_price` dollars; raise ConfigError for any other."""
    estimate = yield from _settled(config)
    price = _dollars(estimate.estimated_total_price)
    if price is None or estimate.estimation_available is False:
        reason = estimate.unavailable_reason or "the server gave no price"
        raise ConfigError(
            f"max_price: expected an estimate, found none ({reason}); mend that, or create the job without max_price"
        )
    if not price <= max_price:  # a max_price that is no number allows nothing
        raise ConfigError(
            f"max_price: expected at most ${max_price:,.2f}, found an estimate of ${price:,.2f}; raise max_price, or "
            "train on less: fewer epochs, fewer evaluations, fewer pairs"
        )
    if estimate.allowed_to_proceed is False:
        allowed = _dollars(estimate.user_limit)
        limit = "no limit is stated" if allowed is None else f"${allowed:,.2f}"
        raise ConfigError(
            f"max_price: the estimate of ${price:,.2f} is more than the account allows "
            f"({limit}); raise the limit in the provider's settings"
        )
    return estimate


def _settled(config: JobConfig) -> Flow[PriceEstimate]:
    """Return the estimate once the files have been read."""
    pauses, end = Pauses(), (yield Now()) + _LONGEST_WAIT
    while True:
        estimate = yield from estimate_price(config)
        if not estimate.is_pending:
            return estimate
        if (yield Now()) >= end:
            raise APITimeoutError(
                f"POST {_PATH}: expected the files to be read within {_LONGEST_WAIT:g} s, found "
                f"{estimate.unavailable_reason}; look at them with client.files.retrieve()",
                method="POST",
                path=_PATH,
            )
        yield Sleep(pauses.after(progress=False))


def _dollars(value: object) -> float | None:
    """Return an amount; None for what is none, as the server may send anything."""
    return value if isinstance(value, float) and math.isfinite(value) else None
