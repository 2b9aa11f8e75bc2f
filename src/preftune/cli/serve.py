"""`preftune serve`."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

import click

from preftune.local.serve import LocalServer

_LOOK = 0.05  # seconds; a handler that did more than take a note could come between anything


@click.command("serve")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; 0.0.0.0 is all.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Keep files and jobs in this folder; without it they are gone at the end.",
)
@click.option("--api-key", help="The key to ask for; without it a new one is made and printed.")
@click.option(
    "--speed",
    default="instant",
    show_default=True,
    help="How long jobs queue and models are stored: instant, real, or a factor of real.",
)
@click.option("--fault", "faults", multiple=True, metavar="RULE", help="What is to go wrong; may be given repeatedly.")
@click.option(
    "--event-case",
    type=click.Choice(["lower", "upper"]),
    default="lower",
    show_default=True,
    help="How event types are written; official clients of the 1.x line want upper.",
)
def command(  # noqa: PLR0917 - click calls by keyword
    port: int, host: str, data_dir: Path | None, api_key: str | None, speed: str, faults: tuple[str, ...],
    event_case: str,
) -> None:  # fmt: skip
    """Run the fine-tuning API on this machine: it validates files, trains jobs, and needs no account.

    Paste the two lines it prints into another terminal and run your script there, unchanged. Requests that change
    something or fail are printed as they come. Ctrl-C ends it, a second one at once; with --data-dir the jobs that run
    go on at the next start.

    A fault is a request's, "POST /fine-tunes 500 once", "GET */metrics 429 retry-after=2 every 3", with a status,
    drop, lose, truncate or slow=SECONDS; or of the next jobs and files: "job-error at step 5", user_error, refund,
    "early-stop at step 5", stuck-queued, invalid-format.
    """
    server = LocalServer(
        data_dir, port, host=host, api_key=api_key, speed=speed, faults=faults, event_case=event_case
    )  # fmt: skip
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: os._exit(128 + number) if asked else asked.append(number))
    with server:
        kept = server.data_dir if data_dir else "a temporary folder, gone at the end"
        click.echo(f"preftune serves the fine-tuning API at {server.url}, data in {kept}. Ctrl-C ends it.\n")
        click.echo(f"export PREFTUNE_BASE_URL={server.url}\nexport PREFTUNE_API_KEY={server.api_key}\n")
        _log_to_terminal()
        while not asked:
            time.sleep(_LOOK)
        waiting = server.unfinished
    if waiting:
        jobs = "1 job" if waiting == 1 else f"{waiting} jobs"
        ending = f"kept in {kept}, to go on at the next start" if data_dir else "given up with the temporary folder"
        click.echo(f"Ended; {jobs} {ending}.")
    else:
        click.echo("Ended.")


def _log_to_terminal() -> None:
    """Print what the server logs: requests that change something or fail, and its own failures."""
    terminal = logging.StreamHandler()
    terminal.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("preftune")
    logger.addHandler(terminal)
    logger.setLevel(logging.INFO)
