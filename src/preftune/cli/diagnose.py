"""`preftune diagnose JOB`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from preftune import runs
from preftune.api.models import MetricRow
from preftune.cli.remote import chosen, json_option, print_versioned
from preftune.client.clients import Client
from preftune.errors import DataError
from preftune.runs.diagnose import Diagnosis

_FILES = (".jsonl", ".json")


@click.command("diagnose")
@click.argument("job", metavar="[JOB|FILE]", required=False)
@click.option("--strict", is_flag=True, help="Exit with 1 unless the verdict is healthy, or too early.")
@json_option
def command(job: str | None, *, strict: bool, as_json: bool) -> int:
    """Say what the curves of a run say: a verdict, the numbers that speak for it, and what to do.

    JOB may run still; without it, it is the last one that this machine asked for. FILE holds rows that
    `preftune metrics -o` wrote.
    """
    if job and (Path(job).is_file() or Path(job).suffix in _FILES):
        job_id, diagnosis = job, _read(job, runs.load(job))
    else:
        with Client() as client:
            job_id = chosen(client, job)
            found = client.fine_tuning.retrieve(job_id)
            rows = client.fine_tuning.list_metrics(job_id)
        total = max((row.step or 0 for row in rows), default=0) if found.is_final else found.total_steps
        diagnosis = _read(job_id, rows, method=runs.method_of(found), total_steps=total)
    if as_json:
        print_versioned(job=job_id, diagnosis=diagnosis.to_dict())
    else:
        width = min(shutil.get_terminal_size().columns, 100)
        for line in str(diagnosis).splitlines():
            click.echo(click.wrap_text(line, width, subsequent_indent="  "))
    return 1 if strict and diagnosis.verdict not in ("healthy", "too-early") else 0


def _read(
    name: str, rows: list[MetricRow], *, method: runs.Method | None = None, total_steps: int | None = None
) -> Diagnosis:
    try:
        return runs.diagnose(rows, config=method, total_steps=total_steps)
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
