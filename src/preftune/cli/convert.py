"""`preftune convert SRC DST`."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.cli.data import field_map, print_result, reading_options, told_in_options
from preftune.pairs.conversion import WRITERS, convert


@click.command("convert")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@reading_options
@click.option(
    "--to", "target", type=click.Choice(list(WRITERS)), default="together", show_default=True, help="The layout of DST."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
def command(  # noqa: PLR0917 - click passes them by name
    src: Path,
    dst: Path,
    source: str,
    fields: tuple[str, ...],
    target: str,
    label: str | None,
    pairing: str | None,
    ties: str | None,
    unfit: str | None,
    *,
    as_json: bool,
) -> int:
    """Write the pairs of SRC (.jsonl, .json, .parquet; also .gz) to DST (.jsonl) in the hosted layout.

    Any other layout is read by a field map, as in: --field prompt=question --field chosen=good --field rejected=bad

    What has no place in the target is counted and named. A choice that would change the meaning has no default.
    """
    if fields and source != "auto":
        raise click.UsageError("--from names a layout and --field maps one: give one of them")
    read_as = field_map(fields) or source
    with told_in_options():
        done = convert(src, dst, source=read_as, target=target, label=label, pairing=pairing, ties=ties, unfit=unfit)
    print_result(done, as_json=as_json)
    return 0
