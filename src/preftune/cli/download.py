"""`preftune download JOB`."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.cli.remote import chosen, job_argument, json_option, print_versioned, progress_bar
from preftune.client.clients import Client


@click.command("download")
@job_argument
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The folder to unpack into. [default: JOB's name]"
)
@click.option("--step", type=click.IntRange(0), help="An intermediate checkpoint.")
@click.option("--checkpoint", type=click.Choice(["adapter", "merged"]), help="What to load; else what was trained.")
@click.option("--archive", is_flag=True, help="Keep the archive as it is.")
@json_option
def command(
    job: str | None, *, output: Path | None, step: int | None, checkpoint: str | None, archive: bool, as_json: bool
) -> None:
    """Download what JOB trained, verify it, and unpack it into a folder.

    Without JOB it is the last one that this machine asked for. A download that broke off is gone on with.
    """
    with Client() as client:
        job_id = chosen(client, job)
        target = output or Path(job_id if step is None else f"{job_id}-{step}")
        with progress_bar(job_id) as progress:
            path = client.fine_tuning.download(
                job_id, to=target, step=step, checkpoint=checkpoint, extract=not archive, progress=progress
            )
    if as_json:
        print_versioned(job=job_id, path=str(path))
    else:
        click.echo(f"{path}")
