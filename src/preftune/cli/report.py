"""`preftune report JOB`."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.cli.remote import chosen, job_argument, json_option, print_versioned
from preftune.client.clients import Client
from preftune.recipes.report import report


@click.command("report")
@job_argument
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The page to write. [default: JOB.html]")
@json_option
def command(job: str | None, *, output: Path | None, as_json: bool) -> None:
    """Write one HTML page about JOB that can be sent: configuration, loss, data, curves, verdict, events, price.

    Without JOB it is the last one that this machine asked for. The training file is fetched and checked again.
    """
    with Client() as client:
        job_id = chosen(client, job)
        page = report(client, job_id)
    path = output or Path(f"{job_id}.html")
    path.write_text(page, encoding="utf-8")
    if as_json:
        print_versioned(job=job_id, path=str(path))
    else:
        click.echo(str(path))
