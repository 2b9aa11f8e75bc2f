"""`preftune events JOB`."""

from __future__ import annotations

from datetime import datetime

import click

from preftune.api.models import Event
from preftune.cli.remote import cell, chosen, job_argument, json_option, print_versioned
from preftune.client.clients import Client

_WIDEST = 33  # letters: validation_data_download_complete


@click.command("events")
@job_argument
@click.option("--follow", is_flag=True, help="Go on until the job ends; Ctrl-C leaves it running.")
@json_option
def command(job: str | None, *, follow: bool, as_json: bool) -> None:
    """List what has happened to JOB, oldest first.

    Without JOB it is the last one that this machine asked for. With --follow and --json, one object a line.
    """
    with Client() as client:
        job_id = chosen(client, job)
        if follow:
            for event in client.fine_tuning.stream_events(job_id):
                click.echo(event.model_dump_json() if as_json else _line(event))
            return
        events = client.fine_tuning.list_events(job_id)
    if as_json:
        print_versioned(job=job_id, events=[event.model_dump(mode="json") for event in events])
    else:
        for event in events:
            click.echo(_line(event))


def _line(event: Event) -> str:
    at = f"{event.created_at:%Y-%m-%d %H:%M:%S}" if isinstance(event.created_at, datetime) else cell(event.created_at)
    level = f"{event.level}: " if event.level in ("warning", "error") and event.level != event.type else ""
    return f"{at}  {cell(event.type):<{_WIDEST}}  {level}{cell(event.message)}"
