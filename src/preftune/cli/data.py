"""What the commands on data files share: how a report is shown, what its exit code is, a bar for large files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from preftune.pairs.finding import Finding
from preftune.pairs.report import Report

FORMATS = ("text", "json", "github")
_LARGE = 32 * 2**20  # bytes that take long enough to show how far it is
_ANNOTATIONS = {"error": "error", "warning": "warning", "info": "notice"}


def show(report: Report, form: str) -> None:
    """Print a report: as text, in colour on a terminal; as JSON; or as annotations that GitHub puts on the lines."""
    if form == "json":
        click.echo(json.dumps(report.to_dict(), ensure_ascii=False, indent=2))
    elif form == "github":
        for finding in report.findings:
            for line in finding.lines or (None,):
                click.echo(_annotation(report.path, finding, line))
        click.echo(f"{report.path.name}: {report.summary()}. {report.verdict()}")
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415 - only where there is a terminal

        Console().print(report)
    else:
        click.echo(str(report))


def exit_code(report: Report, *, strict: bool) -> int:
    """Return 2 for errors, 1 for warnings that are to count, 0 otherwise."""
    if not report.ok:
        return 2
    return 1 if strict and report.count("warning") else 0


@contextmanager
def progress_bar(file: Path) -> Iterator[Callable[[int, int], None] | None]:
    """Show on standard error how much of a large file is read; nothing where no terminal is."""
    if not (sys.stderr.isatty() and file.is_file() and file.stat().st_size >= _LARGE):
        yield None
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(f"reading {file.name}")
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _annotation(path: Path, finding: Finding, line: int | None) -> str:
    """Return a workflow command. Source: GitHub Actions documentation, workflow commands."""
    place = f"file={_escaped(str(path), of_property=True)}" + ("" if line is None else f",line={line}")
    title = f"preftune {finding.rule}"
    return f"::{_ANNOTATIONS[finding.severity]} {place},title={title}::{_escaped(f'{finding.message}; {finding.hint}')}"


def _escaped(text: str, *, of_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if of_property else text
