"""`preftune fix FILE TARGET`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from preftune.cli.data import exit_code, print_json, ready_to_paste, show
from preftune.pairs import check, fix


@click.command("fix")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--log", type=click.Path(path_type=Path), help="A JSONL file that gets one line a change.")
@click.option("--json", "as_json", is_flag=True, help="Print the changes, and what is left, as one JSON object.")
def command(file: Path, target: Path, log: Path | None, *, as_json: bool) -> int:
    """Write a copy of FILE to TARGET with all mended that needs no guess, and check what is left.

    Exit code: 0 when no error is left, 2 when one is.
    """
    done = fix(file, target, log=log)
    report = ready_to_paste(check(target))
    if as_json:
        print_json({"fixed": asdict(done), "left": report.to_dict()})
    else:
        click.echo(f"{done}\n")
        show(report, "text")
    return exit_code(report, strict=False)
