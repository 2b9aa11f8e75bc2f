"""`preftune submit`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from preftune.cli.knobs import config_of, config_options
from preftune.cli.remote import json_option, print_versioned
from preftune.client.clients import Client
from preftune.recipes.submit import Proposal, propose


@click.command("submit")
@click.argument("training_file", metavar="[FILE]", required=False)
@click.option("--validation", "validation_file", help="A file to evaluate on, here or on the server.")
@click.option("--model", help="The model to tune; preftune models lists them.")
@click.option("--from-checkpoint", help="A job to go on from, ft-...[:step], in place of a model.")
@click.option("--method", "training_method", type=click.Choice(["dpo", "sft"]), help="[default: dpo]")
@click.option("--type", "training_type", type=click.Choice(["Lora", "Full"]), help="[default: the model's]")
@config_options
@click.option("--batch-size", help="Pairs in a step, or max. [default: max]")
@click.option("--evals", "n_evals", type=int, help="Evaluations on the validation file. [default: 0]")
@click.option("--checkpoints", "n_checkpoints", type=int, help="Checkpoints to keep. [default: 1]")
@click.option("--seed", "random_seed", type=int, help="The seed of the job.")
@click.option("--suffix", help="A part of the name of what is trained.")
@click.option("--max-price", type=float, help="Dollars; an estimate above it creates nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def command(
    config: Path | None, *, max_price: float | None, batch_size: str | None, yes: bool, as_json: bool, **options: Any
) -> None:
    """Start a job on FILE, pairs of this machine or the id of an uploaded file; print the job's id.

    What the check found, what is trained and what it costs is shown first, and asked for. Options are laid over
    --config. Pairs with errors are never sent. A job just like one of the last day is told.
    """
    size = int(batch_size) if batch_size and batch_size.isdigit() else batch_size
    wanted = config_of(config, options | {"batch_size": size})
    with Client() as client:
        proposal = client.run(propose(wanted))
        if not (yes and as_json):
            _show(proposal)
        if not yes:
            click.confirm("Start this job?", abort=True, err=True)
        job = client.fine_tuning.create(proposal.config, max_price=max_price)
    if as_json:
        checks = [report.to_dict() for report in proposal.reports]
        alike = [call.job for call in proposal.alike]
        price = proposal.price.model_dump(mode="json")
        print_versioned(job=job.model_dump(mode="json"), checks=checks, price=price, alike=alike)
    else:
        click.echo(job.id)
        click.echo(f"look at it with: preftune watch {job.id}", err=True)


def _show(proposal: Proposal) -> None:
    """Show on standard error what is to be decided on, so that standard output is the job alone."""
    for report in proposal.reports:
        click.echo(f"{report}\n", err=True)
    click.echo(f"{proposal.config.explain()}\n\nPrice: {proposal.cost}.", err=True)
    if proposal.price.allowed_to_proceed is False:
        click.echo("The account does not allow this price; the server will refuse the job.", err=True)
    for call in proposal.alike:
        name = call.job or "a job whose answer was lost"
        click.echo(f"Warning: this machine asked for just this at {call.at[:16]} UTC: {name}.", err=True)
