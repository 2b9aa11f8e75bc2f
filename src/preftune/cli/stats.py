"""`preftune stats FILE`."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.cli.data import print_json, progress_bar, ready_to_paste
from preftune.pairs import check
from preftune.pairs.summary import SAMPLE


@click.command("stats")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--tokenizer", type=click.Path(path_type=Path), help="A tokenizer.json; without it tokens are estimated.")
@click.option("--sample", type=click.IntRange(1), default=SAMPLE, show_default=True, help="Pairs that are measured.")
@click.option("--price", type=click.FloatRange(0), help="What a million tokens cost, in any currency.")
@click.option("--epochs", type=click.IntRange(1), default=1, show_default=True, help="Epochs to price.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as one JSON object.")
def command(file: Path, tokenizer: Path | None, sample: int, price: float | None, epochs: int, *, as_json: bool) -> int:
    """Print what FILE holds: pairs, turns, lengths of each side, tokens, and what training on them costs."""
    with progress_bar(file) as progress:
        report = ready_to_paste(check(file, tokenizer=tokenizer, sample=sample, progress=progress))
    if not report.pairs:
        report.raise_for_errors()
    stats = report.stats
    cost = None if price is None else stats.price(price, epochs=epochs)
    if as_json:
        print_json(stats.to_dict() | {"price": cost})
        return 0
    click.echo(str(stats))
    if cost is not None:
        click.echo(f"{'price':<22}{cost:,.2f} for {epochs} epoch{'s' * (epochs > 1)} at {price:g} a million tokens")
    return 0
