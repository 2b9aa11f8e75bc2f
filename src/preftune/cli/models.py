"""`preftune models`."""

from __future__ import annotations

import click

from preftune.cli.remote import cell, json_option, print_versioned, show_table
from preftune.client.clients import Client


@click.command("models")
@click.argument("name", required=False)
@json_option
def command(name: str | None, *, as_json: bool) -> None:
    """List the models that can be tuned; with NAME, what that one can be asked for."""
    with Client() as client:
        if name is None:
            names = client.fine_tuning.supported_models()
            if as_json:
                print_versioned(models=names)
            else:
                click.echo("\n".join(names) or "no models")
            return
        limits = client.fine_tuning.model_limits(name)
    if as_json:
        print_versioned(limits=limits.model_dump(mode="json"))
        return
    facts = limits.model_dump(mode="json", exclude_none=True)
    blocks = {key: value for key, value in facts.items() if isinstance(value, dict)}
    show_table([(key, cell(value)) for key, value in facts.items() if key not in blocks])
    for title, block in blocks.items():
        click.echo(f"\n{title}")
        show_table(
            [(f"  {key}", cell(", ".join(value) if isinstance(value, list) else value)) for key, value in block.items()]
        )
