"""`preftune watch JOB`."""

from __future__ import annotations

import click

from preftune.cli.remote import chosen, job_argument
from preftune.client.clients import Client
from preftune.recipes.watch import watch


@click.command("watch")
@job_argument
@click.option("--every", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Seconds between two looks.")
def command(job: str | None, *, every: float) -> int:
    """Show JOB while it runs: its state, its curves, and what they say so far; in a log, a line a minute.

    Without JOB it is the last one that this machine asked for. Ctrl-C leaves the job running.

    Exit code: 0 when it is completed, 1 when it ended otherwise.
    """
    with Client() as client:
        job_id = chosen(client, job)
        try:
            ended = watch(client, job_id, poll_interval=every)
        except KeyboardInterrupt:
            click.echo(f"\n{job_id} goes on; come back with: preftune watch {job_id}", err=True)
            return 130
    return 1 if ended.has_failed else 0
