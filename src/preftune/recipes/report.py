"""A run as one page that can be sent: what was trained on which data, how it went, what it cost."""

from __future__ import annotations

from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

from preftune.api.config import SFT
from preftune.api.fine_tuning import JobOrId
from preftune.client.clients import Client
from preftune.errors import DataError, NotFoundError
from preftune.pairs import check
from preftune.runs import Run, fetch
from preftune.runs.page import run_page


def report(client: Client, job: JobOrId) -> str:
    """Return an HTML page about a job, which may run still: configuration, loss, data, curves, verdict, events, price.

    The training file is fetched and checked again. Raises NotFoundError.
    """
    run = client.run(fetch(job))
    return run_page(run, data=_checked(client, run))


def _checked(client: Client, run: Run) -> str:
    """Return what the check of the training file says, as HTML, or why there is none."""
    if isinstance(run.method, SFT):
        return "<p>Supervised rows; the check is one of preference pairs.</p>"
    if not run.job.training_file:
        return "<p>The server names no training file.</p>"
    try:
        with TemporaryDirectory(prefix="preftune-report-") as folder:
            path = client.files.download(run.job.training_file, to=Path(folder) / f"{run.job.training_file}.jsonl")
            return check(path)._repr_html_()
    except (NotFoundError, DataError) as error:
        return f"<p>Not checked: {escape(str(error))}</p>"
