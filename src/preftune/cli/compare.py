"""`preftune compare JOB JOB ...`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from preftune.cli.remote import is_coloured, json_option, print_versioned
from preftune.client.clients import Client
from preftune.runs import By, compare, fetch
from preftune.runs.page import comparison_page


@click.command("compare")
@click.argument("jobs", metavar="JOB JOB...", nargs=-1, required=True)
@click.option(
    "--by", type=click.Choice(["step", "tokens"]), default="step", show_default=True, help="What curves go over."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write one HTML page instead.")
@json_option
def command(jobs: tuple[str, ...], *, by: By, output: Path | None, as_json: bool) -> None:
    """Compare jobs: in what they were asked for differently, which went best, and their curves in one picture.

    They are ranked by their evaluations, where these can be compared: with the same validation file.
    """
    with Client() as client:
        found = compare([client.run(fetch(job)) for job in jobs], by=by)
    if output:
        output.write_text(comparison_page(found), encoding="utf-8")
        click.echo(str(output))
    elif as_json:
        print_versioned(comparison=found.to_dict())
    else:
        click.echo(found.to_text(width=min(shutil.get_terminal_size().columns, 120), colour=is_coloured()))
