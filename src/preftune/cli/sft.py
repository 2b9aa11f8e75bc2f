"""`preftune sft SRC DST`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from preftune.pairs.sft import LAYOUTS, to_sft


@click.command("sft")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@click.option(
    "--from", "source", default="auto", show_default=True, help="The layout of SRC; auto tells it by its keys."
)
@click.option("--layout", type=click.Choice(list(LAYOUTS)), default="conversational", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object.")
def command(src: Path, dst: Path, source: str, layout: str, *, as_json: bool) -> int:
    """Write the prompts of SRC with their chosen answers to DST, for the supervised job before DPO."""
    done = to_sft(src, dst, source=source, layout=layout)
    click.echo(json.dumps(asdict(done), default=str, ensure_ascii=False, indent=2) if as_json else str(done))
    return 0
