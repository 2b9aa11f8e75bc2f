"""`preftune check FILE`."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.cli.data import FORMATS, exit_code, progress_bar, ready_to_paste, show
from preftune.pairs import check
from preftune.pairs.summary import SAMPLE


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--validation", type=click.Path(path_type=Path), help="The validation file: is a prompt in both?")
@click.option("--max-seq-length", type=click.IntRange(1), help="The model's context; half of it is one side's budget.")
@click.option("--tokens-per-side", type=click.IntRange(1), help="The budget of one side itself.")
@click.option("--tokenizer", type=click.Path(path_type=Path), help="A tokenizer.json; without it tokens are estimated.")
@click.option(
    "--sample", type=click.IntRange(0), default=SAMPLE, show_default=True, help="Pairs for the costlier rules."
)
@click.option("--workers", type=click.IntRange(1), help="Processes that read a large file; one a core by default.")
@click.option("--json", "form", flag_value="json", help="Print the report as one JSON object.")
@click.option(
    "--format", "form", type=click.Choice(FORMATS), default="text", show_default=True, help="github: annotations."
)
@click.option("--strict", is_flag=True, help="Exit with 1 when there are warnings.")
def command(  # noqa: PLR0917 - click passes them by name
    file: Path,
    validation: Path | None,
    max_seq_length: int | None,
    tokens_per_side: int | None,
    tokenizer: Path | None,
    sample: int,
    workers: int | None,
    form: str,
    *,
    strict: bool,
) -> int:
    """Say what is wrong with the preference file FILE (.jsonl), line by line, before it is uploaded.

    Exit code: 0 clean, 1 warnings under --strict, 2 errors.
    """
    with progress_bar(file) as progress:
        report = check(
            file,
            validation=validation,
            max_seq_length=max_seq_length,
            tokens_per_side=tokens_per_side,
            tokenizer=tokenizer,
            sample=sample,
            workers=workers,
            progress=progress,
        )
    show(ready_to_paste(report), form)
    return exit_code(report, strict=strict)
