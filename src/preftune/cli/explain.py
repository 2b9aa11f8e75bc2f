"""`preftune explain`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from preftune.api.config import JobConfig, first_fault, load_fields
from preftune.cli.knobs import given, knob_options
from preftune.cli.remote import json_option, print_versioned
from preftune.errors import ConfigError, ConfigWarning


@click.command("explain")
@click.option("--config", type=click.Path(path_type=Path), help="A .toml or .json file with the job's fields.")
@knob_options
@click.option("--epochs", "n_epochs", type=int, help="Epochs. [default: 1]")
@json_option
def command(config: Path | None, *, as_json: bool, **knobs: Any) -> None:
    """Say what a configuration trains: the loss in words and as a formula, what a knob implies, what is ignored.

    Knobs beside --config are laid over it. Nothing is sent.
    """
    named: dict[str, Any] = {"model": "the model", "training_method": "dpo"} if config is None else load_fields(config)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConfigWarning)  # the explanation says it
            explained = JobConfig(**named | given(knobs))
    except ValidationError as error:
        raise ConfigError(f"{config}: {first_fault(error)}" if config else first_fault(error)) from None
    if as_json:
        print_versioned(config=explained.to_wire(), explanation=explained.explain())
    else:
        click.echo(explained.explain())
