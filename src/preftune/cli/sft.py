"""`preftune sft SRC DST`."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.cli.data import field_map, print_result, reading_options, told_in_options
from preftune.pairs.sft import LAYOUTS, to_sft


@click.command("sft")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@reading_options
@click.option(
    "--layout", type=click.Choice(list(LAYOUTS)), default="conversational", show_default=True, help="The layout of DST."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
def command(  # noqa: PLR0917 - click passes them by name
    src: Path,
    dst: Path,
    source: str,
    fields: tuple[str, ...],
    label: str | None,
    pairing: str | None,
    ties: str | None,
    unfit: str | None,
    layout: str,
    *,
    as_json: bool,
) -> int:
    """Write the prompts of SRC with their chosen answers to DST, for the supervised job before DPO."""
    read_as = field_map(fields) or source
    with told_in_options():
        done = to_sft(src, dst, source=read_as, layout=layout, label=label, pairing=pairing, ties=ties, unfit=unfit)
    print_result(done, as_json=as_json)
    return 0
