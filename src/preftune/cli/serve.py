"""`preftune serve`."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from preftune.local.serve import LocalServer


@click.command("serve")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free port.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Keep files and jobs in this folder; without it they are gone at the end.",
)
@click.option("--api-key", help="The key to ask for; without it a new one is made and printed.")
def command(port: int, data_dir: Path | None, api_key: str | None) -> None:
    """Run the fine-tuning API on this machine: it validates files, trains jobs, and needs no account.

    Paste the two lines it prints into another terminal and run your script there, unchanged. Ctrl-C ends it; with
    --data-dir the jobs that run go on at the next start.
    """
    with LocalServer(data_dir, port, api_key=api_key) as server:
        kept = server.data_dir if data_dir else "a temporary folder, gone at the end"
        click.echo(f"preftune serves the fine-tuning API; data in {kept}. Ctrl-C ends it.\n")
        click.echo(f"export PREFTUNE_BASE_URL={server.url}\nexport PREFTUNE_API_KEY={server.api_key}")
        ended = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        ended.wait()
