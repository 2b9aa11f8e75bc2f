"""`preftune files`: upload, list, show, download, delete."""

from __future__ import annotations

from pathlib import Path

import click

from preftune.api.models import File
from preftune.cli.remote import cell, json_option, print_versioned, progress_bar, show_table
from preftune.client.clients import Client

_COLUMNS = ("file", "status", "bytes", "purpose", "name")


@click.group("files")
def command() -> None:
    """Upload files and look after those that are there."""


@command.command("upload")
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def upload(path: Path, *, as_json: bool) -> None:
    """Upload PATH, wait until the other side has read it, and print its id.

    A file that is there already is not sent again. One that is refused is an error, with the line and the reason.
    """
    with Client() as client:
        with progress_bar(path.name) as progress:
            sent = client.files.upload(path, progress=progress)
        file = client.files.wait(sent)
    if as_json:
        print_versioned(file=file.model_dump(mode="json"))
    else:
        click.echo(file.id)


@command.command("list")
@json_option
def list_files(*, as_json: bool) -> None:
    """List the files, newest first."""
    with Client() as client:
        files = client.files.list()
    if as_json:
        print_versioned(files=[file.model_dump(mode="json") for file in files])
    elif files:
        show_table([_COLUMNS, *map(_row, files)])
    else:
        click.echo("no files")


@command.command("show")
@click.argument("file")
@json_option
def show(file: str, *, as_json: bool) -> None:
    """Show what FILE is, and what was found in it."""
    with Client() as client:
        found = client.files.retrieve(file)
    if as_json:
        print_versioned(file=found.model_dump(mode="json"))
        return
    report = found.validation_report
    facts: dict[str, object] = dict(zip(_COLUMNS, _row(found), strict=True))
    if report:
        facts |= {"format": report.dataset_format, "rows": report.nlines}
        facts |= {"refused": report.error} if report.error else {}
    show_table([(name, cell(value)) for name, value in facts.items()])


@command.command("download")
@click.argument("file")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=".", help="A path, or a folder. [default: .]")
@json_option
def download(file: str, output: Path, *, as_json: bool) -> None:
    """Download FILE and print where it lies; a name that is taken gets a number."""
    with Client() as client, progress_bar(file) as progress:
        path = client.files.download(file, to=output, progress=progress)
    if as_json:
        print_versioned(file=file, path=str(path))
    else:
        click.echo(str(path))


@command.command("delete")
@click.argument("file")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(file: str, *, yes: bool, as_json: bool) -> None:
    """Delete FILE; jobs that were trained on it stay."""
    with Client() as client:
        if not yes:
            click.confirm(f"Delete {file} ({cell(client.files.retrieve(file).filename)})?", abort=True, err=True)
        client.files.delete(file)
    if as_json:
        print_versioned(file=file, deleted=True)
    else:
        click.echo(f"{file}: deleted")


def _row(file: File) -> tuple[str, ...]:
    return tuple(map(cell, (file.id, file.processing_status, file.bytes, file.purpose, file.filename)))
