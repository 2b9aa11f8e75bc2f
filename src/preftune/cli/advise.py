"""`preftune advise FILE`."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.cli.data import print_result, progress_bar, ready_to_paste
from preftune.pairs import advise, check


@click.command("advise")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--works/--needs-sft", default=None, help="Does the model to start from answer such prompts acceptably?")
@click.option("--json", "as_json", is_flag=True, help="Print the advice as one JSON object.")
def command(file: Path, *, works: bool | None, as_json: bool) -> int:
    """Say what to train with FILE: supervised, supervised then DPO, or DPO, and what decides it."""
    with progress_bar(file) as progress:
        report = ready_to_paste(check(file, progress=progress))
    advice = advise(report, works=works)
    print_result(advice, as_json=as_json)
    return 0
