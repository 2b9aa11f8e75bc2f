"""`preftune check FILE`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from preftune.pairs import check


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@click.option("--strict", is_flag=True, help="Exit with 1 when there are warnings.")
def command(file: Path, *, as_json: bool, strict: bool) -> int:
    """Say what is wrong with the preference file FILE (.jsonl), line by line, before it is uploaded.

    Exit code: 0 clean, 1 warnings under --strict, 2 errors.
    """
    report = check(file)
    click.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2) if as_json else str(report))
    if not report.ok:
        return 2
    return 1 if strict and report.count("warning") else 0
