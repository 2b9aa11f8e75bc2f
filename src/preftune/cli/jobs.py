"""`preftune jobs`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from preftune.api.models import FineTuneJob
from preftune.cli.remote import cell, json_option, method_name, print_versioned, show_table
from preftune.client.clients import Client

_COLUMNS = ("job", "status", "method", "created (UTC)", "model")  # the widest last: it may need a line of its own


@click.command("jobs")
@click.option("--mine", is_flag=True, help="Only those that this machine asked for, also when the answer was lost.")
@json_option
def command(*, mine: bool, as_json: bool) -> None:
    """List the fine-tuning jobs, newest first.

    The key and the address come from PREFTUNE_API_KEY and PREFTUNE_BASE_URL (or TOGETHER_...).
    """
    with Client() as client:
        jobs = client.fine_tuning.list(mine=mine)
    if as_json:
        print_versioned(jobs=[job.model_dump(mode="json") for job in jobs])
    elif jobs:
        show_table([_COLUMNS, *map(_row, jobs)])
    else:
        click.echo("no job that this machine asked for; all jobs: preftune jobs" if mine else "no jobs")


def _row(job: FineTuneJob) -> Sequence[str]:
    return tuple(map(cell, (job.id, job.status, method_name(job), job.created_at, job.model or job.from_checkpoint)))
