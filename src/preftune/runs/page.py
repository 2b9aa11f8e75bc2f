"""A run, or several, as one HTML page that can be sent: no script, nothing to load, light and dark."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from html import escape

from preftune.api.config import DPO
from preftune.charts import draw_svg
from preftune.runs.compare import Comparison
from preftune.runs.panels import panels
from preftune.runs.run import Run

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
  background: light-dark(#ffffff, #16181c); color: light-dark(#1c1e21, #e4e6ea); }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: .15rem 1rem .15rem 0;
  overflow-wrap: break-word; }
pre { white-space: pre-wrap; } svg { max-width: 100%; height: auto; } .verdict { border-left: 4px solid #0072b2;
  padding-left: 1rem; }
"""
_NANO = 1e9  # nano-dollars in a dollar


def run_page(run: Run, *, data: str) -> str:
    """Return the page of a run; `data` is HTML that says what the check of its training file found."""
    job = run.job
    config = run.config
    explanation = (
        config.explain() if config else "The server's fields do not read as a configuration; they stand below."
    )
    method = run.method if isinstance(run.method, DPO) else None
    pictures = "".join(draw_svg(panel) for panel in panels(run.rows, method=method))
    price = "unknown" if job.total_price is None else f"${job.total_price / _NANO:,.2f}"
    asked = [("model", job.model or "-"), *((name, value) for name, value in run.asked.items() if name != "model")]
    sections = [
        ("", _table([("status", _status(run)), ("becomes", job.model_output_name or "-"), ("price", price)])),
        ("Verdict", f'<div class="verdict">{run.diagnosis._repr_html_()}</div>' if run.diagnosis else "No rows yet."),
        ("Curves", pictures or "No rows yet."),
        ("What was trained", f"<pre>{escape(explanation)}</pre>{_table(asked)}"),
        ("Data", data),
        ("Checkpoints", _table([(cell(one.step), one.checkpoint_type, one.path or "") for one in run.checkpoints])),
        ("Events", _table([(cell(one.created_at), one.type, one.message) for one in run.events])),
    ]
    return page(f"{job.id}: {job.status}", sections)


def comparison_page(comparison: Comparison) -> str:
    """Return the page of a comparison."""
    jobs = _table(
        [(name, run.job.id, run.job.status) for name, run in zip(comparison.names, comparison.runs, strict=True)]
    )
    return page(" / ".join(comparison.names), [("", comparison.to_html()), ("Jobs", jobs)])


def page(title: str, sections: Iterable[tuple[str, str]]) -> str:
    """Return a whole page from headings and their HTML."""
    body = "".join(f"{f'<h2>{escape(head)}</h2>' if head else ''}{content or 'none'}" for head, content in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{body}</body></html>\n"
    )


def cell(value: object) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return "-" if value is None else str(value)


def _status(run: Run) -> str:
    job = run.job
    reason = f": {run.events[-1].message}" if job.has_failed and run.events else ""
    return f"{job.status}{reason}, {job.steps_completed or 0} of {job.total_steps or '?'} steps"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(each))}</td>" for each in row) + "</tr>" for row in rows)
    return f"<table>{lines}</table>" if lines else ""
