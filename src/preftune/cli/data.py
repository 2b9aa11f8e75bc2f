"""What the commands on data files share: how a report is shown, its exit code, a bar for large files, options."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from preftune.errors import DataError
from preftune.pairs.finding import Finding
from preftune.pairs.report import Report

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

FORMATS = ("text", "json", "github")
_LARGE = 32 * 2**20  # bytes that take long enough to show how far it is
_ANNOTATIONS = {"error": "error", "warning": "warning", "info": "notice"}
_OPTIONS = {"source": "from", "target": "to", "label": "label", "pairing": "pairing", "ties": "ties", "unfit": "unfit"}
_ARGUMENT = re.compile(rf"(?:(?<=^)|(?<= ))({'|'.join(_OPTIONS)})=(?=([', ]))")
_MAP = 'a field map such as {"prompt": "q", "chosen": "good", "rejected": "bad"}'
_FIELDS = "a field map such as --field prompt=q --field chosen=good --field rejected=bad"
_Command = TypeVar("_Command", bound=Callable[..., Any])


def show(report: Report, form: str) -> None:
    """Print a report: as text, in colour on a terminal; as JSON; or as annotations that GitHub puts on the lines."""
    if form == "json":
        print_json(report.to_dict())
    elif form == "github":
        for finding in report.findings:
            for line in finding.lines or (None,):
                click.echo(_annotation(report.path, finding, line))
        click.echo(f"{report.path.name}: {report.summary()}. {report.verdict()}")
    else:
        _print_text(report)
        for command in dict.fromkeys(_proposed(report)):
            click.echo(f"\nTo convert it:\n{command}")  # again and unwrapped, so that it can be copied


def ready_to_paste(report: Report) -> Report:
    """Return the report with commands in its hints that work as they stand, wherever the file lies."""
    path = report.path
    target = f"{path.stem}.pairs.jsonl"
    command = f"preftune convert {shlex.quote(str(path))} {shlex.quote(target)}"
    proposed = ("preftune convert FILE pairs.jsonl", f"preftune convert {path.name} {target}")
    findings = report.findings
    for each in proposed:
        findings = [replace(finding, hint=finding.hint.replace(each, command)) for finding in findings]
    return replace(report, findings=findings)


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


def reading_options(command: _Command) -> _Command:
    """Give a command the options that say how a file of any layout is read."""
    for option in reversed(_READING):
        command = option(command)
    return command


_READING = (
    click.option(
        "--from", "source", default="auto", show_default=True, help="The layout of SRC; auto tells it by its keys."
    ),
    click.option(
        "--field", "fields", multiple=True, metavar="NAME=KEY", help="For any other layout: where NAME stands."
    ),
    click.option("--label", help="Which label decides, where rows carry several."),
    click.option("--pairing", help="Which of several answers make pairs: best-worst, best-random, all, first."),
    click.option("--ties", type=click.Choice(["drop"]), help="Leave ties out."),
    click.option("--unfit", type=click.Choice(["drop"]), help="Leave out rows that cannot be read."),
)


def field_map(fields: tuple[str, ...]) -> dict[str, str]:
    """Return what --field says as the field map of `read`."""
    wrong = next((field for field in fields if "=" not in field), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r}: expected NAME=KEY, as in prompt=question", param_hint="--field")
    named = dict(field.split("=", 1) for field in fields)
    if named and not {"chosen", "rejected"} <= named.keys():
        found = f"{' and '.join(named)} alone"
        raise click.BadParameter(f"{found}: expected chosen and rejected as well", param_hint="--field")
    return named


@contextmanager
def told_in_options() -> Iterator[None]:
    """Let a DataError of the library name its arguments as the command line takes them."""
    try:
        yield
    except DataError as error:
        raise DataError(_in_options(str(error)), error.findings) from None


def print_json(value: object) -> None:
    """Print one JSON object, in ASCII, which every terminal, pipe and code page carries."""
    click.echo(json.dumps(value, default=str, indent=2))


def print_result(done: DataclassInstance, *, as_json: bool) -> None:
    """Print what a command did, in words or as one JSON object."""
    if as_json:
        print_json(asdict(done))
    else:
        click.echo(str(done))


def _print_text(report: Report) -> None:
    if not sys.stdout.isatty():
        click.echo(str(report))
        return
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal

    Console().print(report)


def _proposed(report: Report) -> Iterator[str]:
    """Yield the commands on the file itself with which hints end."""
    start = f"preftune convert {shlex.quote(str(report.path))} "
    for finding in report.findings:
        _, found, words = finding.hint.partition(start)
        if found:
            yield start + words


def _in_options(message: str) -> str:
    message = message.replace(_MAP, _FIELDS)
    return _ARGUMENT.sub(lambda match: f"--{_OPTIONS[match[1]]}" + " " * (match[2] == "'"), message)


def _annotation(path: Path, finding: Finding, line: int | None) -> str:
    """Return a workflow command. Source: GitHub Actions documentation, workflow commands."""
    place = f"file={_escaped(str(path), of_property=True)}" + ("" if line is None else f",line={line}")
    title = f"preftune {finding.rule}"
    return f"::{_ANNOTATIONS[finding.severity]} {place},title={title}::{_escaped(f'{finding.message}; {finding.hint}')}"


def _escaped(text: str, *, of_property: bool = False) -> str:
    text = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return text.replace(":", "%3A").replace(",", "%2C") if of_property else text
