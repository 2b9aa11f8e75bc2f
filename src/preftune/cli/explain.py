"""`preftune explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from preftune.cli.knobs import config_of, config_options
from preftune.cli.remote import json_option, print_versioned


@click.command("explain")
@config_options
@json_option
def command(config: Path | None, *, as_json: bool, **knobs: Any) -> None:
    """Say what a configuration trains: the loss in words and as a formula, what a knob implies, what is ignored.

    Knobs beside --config are laid over it. Nothing is sent.
    """
    explained = config_of(config, knobs, **({} if config else {"model": "the model"}))
    if as_json:
        print_versioned(config=explained.to_wire(), explanation=explained.explain())
    else:
        click.echo(explained.explain())
