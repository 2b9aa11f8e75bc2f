"""`preftune split FILE TRAIN VALIDATION`."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.cli.data import print_result
from preftune.pairs import split


@click.command("split")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("train", type=click.Path(path_type=Path))
@click.argument("validation", type=click.Path(path_type=Path))
@click.option(
    "--fraction", type=float, default=0.1, show_default=True, help="The validation file's share of the pairs."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed takes other prompts.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
def command(file: Path, train: Path, validation: Path, fraction: float, seed: int, *, as_json: bool) -> int:
    """Write the pairs of FILE to TRAIN and VALIDATION, so that no prompt is on both sides."""
    done = split(file, train, validation, fraction=fraction, seed=seed)
    print_result(done, as_json=as_json)
    return 0
