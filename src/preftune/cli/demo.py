"""`preftune demo`."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import click

from preftune.api.models import MetricRow
from preftune.charts import draw_text
from preftune.cli.remote import is_coloured
from preftune.recipes.demo import Demo, run_demo
from preftune.runs import diagnose, panels

TERMINATED = 143  # what a shell gives for SIGTERM
_EVERY = 10  # training steps between two printed rows; evaluation rows are all printed
_HEAD = "stage  step split   loss accuracy  KL chosen rejected  logp chosen rejected"


@click.command("demo")
@click.option("--data", type=click.Path(path_type=Path), help="Your own pairs (.jsonl or .json) instead of the demo's.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end, and nothing else.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("preftune-demo/adapter"),
    show_default=True,
    help="The folder for the trained adapter.",
)
def command(data: Path | None, out: Path, *, as_json: bool) -> None:
    """Show the whole product on this machine, without a key.

    The pairs are checked, a supervised job trains on the chosen answers, a DPO job goes on from its checkpoint, the
    metrics stream in while it trains, and the adapter is downloaded.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # an end that cleans up
    if as_json:
        click.echo(json.dumps(run_demo(data, out=out).to_dict()))
        return
    click.echo(f"Checking {data or 'the demo data'}, then SFT, then DPO, on a local server ...")
    _tell(run_demo(data, out=out, on_row=_print_row))


def _print_row(stage: str, row: MetricRow) -> None:
    if (stage, row.step) == ("sft", 1):
        click.echo(f"\n{_HEAD}")
    if row.split == "eval" or row.step == 1 or (row.step or 0) % _EVERY == 0:
        click.echo(_line(stage, row))


def _line(stage: str, row: MetricRow) -> str:
    cells = (
        _cell(row.loss, 7, ".3f"), _cell(row.accuracy, 9, ".0%"), _cell(row.kl_chosen, 11, ".1f"),
        _cell(row.kl_rejected, 9, ".1f"), _cell(row.logps_chosen, 13, ".1f"), _cell(row.logps_rejected, 9, ".1f"),
    )  # fmt: skip
    return f"{stage:<5}{row.step:>6} {row.split:<5}{''.join(cells)}".rstrip()


def _cell(value: float | None, width: int, form: str) -> str:
    return f"{'' if value is None else format(value, form):>{width}}"


def _tell(demo: Demo) -> None:
    click.echo(f"\n{demo.report}\n")
    for panel in panels(demo.dpo_rows):
        if panel.title in ("loss", "reward accuracy"):
            click.echo(draw_text(panel, height=8, colour=is_coloured()) + "\n")
    click.echo(_paragraph(demo))
    click.echo(
        f"\nThe adapter is in {demo.adapter}.\nThe same on the hosted service needs two lines changed:\n{_CHANGE}"
    )


_CHANGE = """
with pt.LocalServer() as server:                                 # drop
client = pt.Client(base_url=server.url, api_key=server.api_key)  # pt.Client()

and set PREFTUNE_API_KEY (or TOGETHER_API_KEY) to your key."""


def _paragraph(demo: Demo) -> str:
    diagnosis = diagnose(demo.dpo_rows, total_steps=demo.dpo_rows[-1].step)
    first, _ = demo.to_dict()["eval_accuracy"]
    text = (
        f"What was learned, from {demo.report.pairs} pairs in {demo.seconds:.1f} s, judged on held-out prompts. "
        f"{diagnosis.description} Reward accuracy, the share of held-out pairs whose chosen answer has the larger "
        f"reward, was {first:.0%} at the first evaluation already: it counts signs, so it moves before the loss does. "
        f"Verdict: {diagnosis.matches[0]}. A small byte-level model did this on your machine: the curves show the "
        "method on these pairs, not what a large model would reach."
    )
    return click.wrap_text(text, width=78)
