"""What a job would be, before it is paid for: its data checked and uploaded, its price, and jobs just like it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from preftune.api.config import DPO, JobConfig
from preftune.api.creation import body_of
from preftune.api.files import wait
from preftune.api.history import Asked, asked_since
from preftune.api.models import PriceEstimate
from preftune.api.pricing import estimate_price
from preftune.api.steps import Call, Flow
from preftune.client.uploading import upload
from preftune.errors import ConfigError
from preftune.pairs import Report, check

_RECENT = timedelta(days=1)  # a job like one of the last day is probably a slip


@dataclass(frozen=True)
class Proposal:
    """A job that can be created now: `config` names files on the server, `reports` are of the local ones."""

    config: JobConfig
    reports: tuple[Report, ...]
    price: PriceEstimate
    alike: Sequence[Asked]  # calls of the last day, by this machine, for the same training

    @property
    def cost(self) -> str:
        """Return the price in words."""
        if self.price.estimated_total_price is not None and self.price.estimation_available is not False:
            return f"about ${self.price.estimated_total_price:,.2f}"
        return f"unknown ({self.price.unavailable_reason or 'the server gave none'})"


def propose(config: JobConfig) -> Flow[Proposal]:
    """Check the files of a configuration that lie here, upload them, and return what the job would be.

    A file is a path here, or the id of one on the server. Nothing is created. Raises DataError for pairs with errors,
    before anything is sent, FileProcessingError for a file that the server refuses, ConfigError without a file.
    """
    if not config.training_file:
        raise ConfigError("training_file: expected a file of this machine or its id on the server, found none; name it")
    here = {name: path for name in ("training_file", "validation_file") if (path := _here(getattr(config, name)))}
    reports: list[Report] = []
    for name, path in here.items() if isinstance(config.training_method, DPO) else ():
        held_out = here.get("validation_file") if name == "training_file" else None
        of = partial(check, path, validation=held_out, max_seq_length=config.max_seq_length)
        report: Report = yield Call(of)
        report.raise_for_errors()
        reports.append(report)
    ids: dict[str, str] = {}
    for name, path in here.items():
        ids[name] = (yield from wait((yield from upload(path)))).id
    ready = config.replace(**ids)
    price = yield from estimate_price(ready)
    alike = yield from asked_since(datetime.now(UTC) - _RECENT, (yield from body_of(ready)))
    return Proposal(ready, tuple(reports), price, alike)


def _here(name: str | None) -> Path | None:
    """Return the file of this machine that is meant; None for an id. Raises ConfigError for a path with nothing."""
    path = Path(name or "")
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise ConfigError(f"{name}: expected a file, found none; check the path, or give the id of an uploaded file")
    return None
