"""`preftune rehearse FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from preftune.api.config import load_fields
from preftune.cli.data import print_json, told_in_options
from preftune.cli.knobs import given, knob_options
from preftune.errors import ConfigError
from preftune.recipes.rehearse import FOLDS, PAIRS, rehearse


@click.command("rehearse")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--config", type=click.Path(path_type=Path), help="A .toml or .json file with the job's fields.")
@knob_options
@click.option("--epochs", "n_epochs", type=int, help="Epochs of preference tuning. [default: 3]")
@click.option("--max-seq-length", type=int, help="Bytes of a prompt with an answer; longer answers are cut.")
@click.option("--pairs", type=click.IntRange(1), default=PAIRS, show_default=True, help="How many are taken.")
@click.option(
    "--folds", type=click.IntRange(2), default=FOLDS, show_default=True, help="Parts that prompts are dealt to."
)
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one JSON object.")
def command(file: Path, config: Path | None, pairs: int, folds: int, *, as_json: bool, **knobs: Any) -> None:
    """Say what a small model learns from the pairs of FILE, which pairs stand out, and what the knobs would do.

    FILE is in any layout that `preftune convert` tells by its keys. Nothing is sent, nothing is paid.
    """
    named = given(knobs)
    if config is not None and named:
        raise ConfigError(f"--config: expected no other knobs beside it, found {', '.join(named)}; write them into it")
    job: Any = named if config is None else load_fields(config)
    with told_in_options():
        found = rehearse(file, job, pairs=pairs, folds=folds, progress=_tell)
    if as_json:
        print_json(found.to_dict())
    else:
        click.echo(str(found))


def _tell(done: int, folds: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{done} of {folds} folds{'' if done < folds else chr(10)}", err=True, nl=False)
