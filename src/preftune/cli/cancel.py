"""`preftune cancel JOB`."""

from __future__ import annotations

import click

from preftune.cli.remote import json_option, print_versioned
from preftune.client.clients import Client


@click.command("cancel")
@click.argument("job")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(job: str, *, yes: bool, as_json: bool) -> None:
    """Cancel JOB; what it has trained so far is paid, and its checkpoints stay."""
    with Client() as client:
        if not yes:
            found = client.fine_tuning.retrieve(job)
            steps = f"step {found.steps_completed or 0} of {found.total_steps or '?'}"
            click.confirm(f"Cancel {found.id} ({found.status}, {steps})?", abort=True, err=True)
        cancelled = client.fine_tuning.cancel(job)
    if as_json:
        print_versioned(job=cancelled.model_dump(mode="json"))
    else:
        click.echo(f"{cancelled.id}: {cancelled.status}")
