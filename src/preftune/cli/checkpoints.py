"""`preftune checkpoints JOB`."""

from __future__ import annotations

import click

from preftune.cli.remote import cell, chosen, job_argument, json_option, print_versioned, show_table
from preftune.client.clients import Client

_COLUMNS = ("step", "holds", "created (UTC)", "kind")


@click.command("checkpoints")
@job_argument
@json_option
def command(job: str | None, *, as_json: bool) -> None:
    """List the checkpoints of JOB, newest first: each can be downloaded, or trained on from as JOB:STEP.

    Without JOB it is the last one that this machine asked for.
    """
    with Client() as client:
        job_id = chosen(client, job)
        found = client.fine_tuning.list_checkpoints(job_id)
    if as_json:
        print_versioned(job=job_id, checkpoints=[one.model_dump(mode="json") for one in found])
    elif found:
        rows = [tuple(map(cell, (o.step, o.checkpoint, o.created_at, o.checkpoint_type))) for o in found]
        show_table([_COLUMNS, *rows])
    else:
        click.echo(f"{job_id} has no checkpoint yet")
