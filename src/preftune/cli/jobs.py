"""`preftune jobs`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from preftune.api.models import FineTuneJob
from preftune.client.clients import Client

_COLUMNS = ("job", "status", "method", "created (UTC)", "model")  # the widest last: it may need a line of its own


@click.command("jobs")
@click.option("--mine", is_flag=True, help="Only those that this machine asked for, also when the answer was lost.")
@click.option("--json", "as_json", is_flag=True, help="Print the jobs as one JSON list.")
def command(*, mine: bool, as_json: bool) -> None:
    """List the fine-tuning jobs, newest first.

    The key and the address come from PREFTUNE_API_KEY and PREFTUNE_BASE_URL (or TOGETHER_...).
    """
    with Client() as client:
        jobs = client.fine_tuning.list(mine=mine)
    if as_json:
        click.echo(json.dumps([job.model_dump(mode="json") for job in jobs], indent=1))
    elif jobs:
        _show([_COLUMNS, *map(_row, jobs)])
    else:
        click.echo("no job that this machine asked for; all jobs: preftune jobs" if mine else "no jobs")


def _show(rows: Sequence[Sequence[str]]) -> None:
    """Print a line for each row; in a terminal that is too narrow, the last cell on a line of its own."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_narrow = sys.stdout.isatty() and sum(widths) + 2 * len(widths[1:]) > shutil.get_terminal_size().columns
    for row in rows:
        *cells, last = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        line = "  ".join(cells)
        click.echo(f"{line.rstrip()}\n    {last.rstrip()}" if is_narrow else f"{line}  {last}".rstrip())


def _row(job: FineTuneJob) -> Sequence[str]:
    method = job.training_method.get("method") if isinstance(job.training_method, dict) else None
    return tuple(map(_cell, (job.id, job.status, method, job.created_at, job.model or job.from_checkpoint)))


def _cell(value: object) -> str:
    """Return what stands in a table for a value of any kind."""
    if isinstance(value, datetime):
        value = f"{value.astimezone(UTC) if value.tzinfo else value:%Y-%m-%d %H:%M}"
    return "".join(char if char.isprintable() else "?" for char in str(value or "-"))
