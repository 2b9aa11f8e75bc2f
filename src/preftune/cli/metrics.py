"""`preftune metrics JOB`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import click

from preftune import runs
from preftune.api.models import MetricRow
from preftune.charts import draw_text
from preftune.cli.remote import cell, chosen, is_coloured, job_argument, json_option, print_versioned
from preftune.client.clients import Client

_COLUMNS = {
    "step": "step", "split": "split", "loss": "loss", "accuracy": "accuracy", "kl_chosen": "KL chosen",
    "kl_rejected": "KL rejected", "logps_chosen": "logp chosen", "logps_rejected": "logp rejected",
}  # fmt: skip


@click.command("metrics")
@job_argument
@click.option("--chart", is_flag=True, help="Draw the curves in place of the table.")
@click.option("--follow", is_flag=True, help="Go on until the job ends; Ctrl-C leaves it running.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the rows to a .jsonl or .csv file.")
@json_option
def command(job: str | None, *, chart: bool, follow: bool, output: Path | None, as_json: bool) -> None:
    """Print the metrics of JOB, a line for each row: those of training, and those of its evaluations.

    Without JOB it is the last one that this machine asked for. With --follow and --json, the server's rows, one a line.
    """
    if follow and (chart or output):
        raise click.UsageError("--follow prints rows as they come; leave out --chart and --output")
    with Client() as client:
        job_id = chosen(client, job)
        if follow:
            for number, row in enumerate(client.fine_tuning.stream_metrics(job_id)):
                _follow(row, number, as_json=as_json)
            return
        rows = client.fine_tuning.list_metrics(job_id)
    if output:
        click.echo(f"{output}: {runs.save(rows, output)} rows")
    elif as_json:
        print_versioned(job=job_id, metrics=runs.wire_rows(rows))
    elif chart:
        width = min(shutil.get_terminal_size().columns, 120)
        pictures = [draw_text(panel, width=width, colour=is_coloured()) for panel in runs.panels(rows)]
        click.echo("\n\n".join(pictures) or "no rows yet")
    else:
        click.echo("\n".join([_head(), *map(_line, rows)]) if rows else "no rows yet")


def _follow(row: MetricRow, number: int, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(dict(row.raw)))
    else:
        click.echo(_line(row) if number else f"{_head()}\n{_line(row)}")


def _head() -> str:
    return "  ".join(title.rjust(max(len(title), 6)) for title in _COLUMNS.values())


def _line(row: MetricRow) -> str:
    values = [cell(getattr(row, name)) for name in _COLUMNS]
    return "  ".join(value.rjust(max(len(title), 6)) for value, title in zip(values, _COLUMNS.values(), strict=True))
