"""`preftune convert SRC DST`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from preftune.pairs.conversion import WRITERS, convert


@click.command("convert")
@click.argument("src", type=click.Path(path_type=Path))
@click.argument("dst", type=click.Path(path_type=Path))
@click.option(
    "--from", "source", default="auto", show_default=True, help="The layout of SRC; auto tells it by its keys."
)
@click.option("--field", "fields", multiple=True, metavar="NAME=KEY", help="For any other layout: where NAME stands.")
@click.option("--to", "target", type=click.Choice(list(WRITERS)), default="together", show_default=True)
@click.option("--label", help="Which label decides, where rows carry several.")
@click.option("--pairing", help="Which of several answers make pairs: best-worst, best-random, all or first.")
@click.option("--ties", type=click.Choice(["drop"]), help="Leave ties out.")
@click.option("--unfit", type=click.Choice(["drop"]), help="Leave out rows that cannot be read.")
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
    done = convert(
        src, dst, source=_map(fields) or source, target=target, label=label, pairing=pairing, ties=ties, unfit=unfit
    )
    click.echo(
        json.dumps(asdict(done) | {"path": str(done.path)}, ensure_ascii=False, indent=2) if as_json else str(done)
    )
    return 0


def _map(fields: tuple[str, ...]) -> dict[str, str]:
    wrong = next((field for field in fields if "=" not in field), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r}: expected NAME=KEY, as in prompt=question", param_hint="--field")
    return dict(field.split("=", 1) for field in fields)
