"""What the commands on the API share: which job is meant, tables, and JSON whose shape has a version."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import click

from preftune.api.models import FineTuneJob
from preftune.cli.data import print_json
from preftune.client.clients import Client
from preftune.errors import ConfigError

_JSON_VERSION = 1  # of what --json prints; a name that goes or changes its meaning makes another

job_argument = click.argument("job", required=False)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object; docs/commands.md has its shape."
)


def chosen(client: Client, job: str | None) -> str:
    """Return the id of the job that is meant: the one that is named, else the last that this machine asked for."""
    if job:
        return job
    try:
        return client.fine_tuning.last().id
    except ConfigError:
        raise click.UsageError("name the job: this machine asked this API for none; preftune jobs lists all") from None


def print_versioned(**values: Any) -> None:
    """Print values as one JSON object with the version of its shape."""
    print_json({"version": _JSON_VERSION, **values})


def show_table(rows: Sequence[Sequence[str]]) -> None:
    """Print a line for each row; in a terminal that is too narrow, the last cell on a line of its own."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    is_narrow = sys.stdout.isatty() and sum(widths) + 2 * len(widths[1:]) > shutil.get_terminal_size().columns
    for row in rows:
        *cells, last = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        line = "  ".join(cells)
        click.echo(f"{line.rstrip()}\n    {last.rstrip()}" if is_narrow else f"{line}  {last}".rstrip())


def cell(value: object) -> str:
    """Return what stands in a table for a value of any kind."""
    if isinstance(value, datetime):
        value = f"{value.astimezone(UTC) if value.tzinfo else value:%Y-%m-%d %H:%M}"
    if isinstance(value, float):
        value = f"{value:.4g}"
    return "".join(char if char.isprintable() else "?" for char in str("-" if value is None or value == "" else value))


def method_name(job: FineTuneJob) -> str | None:
    """Return what a job's method is called."""
    return job.training_method.get("method") if isinstance(job.training_method, dict) else None


def is_coloured() -> bool:
    """Tell whether standard output shows colours: a terminal does, unless NO_COLOR is set (https://no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None] | None]:
    """Show how many bytes have moved, on standard error where that is a terminal; yield what is told of them."""
    if not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def told(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield told
