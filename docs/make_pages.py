"""Write what is made from the code: rules.md from the catalog of rules, formats.md from the layouts, the figures.

Usage: python docs/make_pages.py. A test fails while a page differs from what this writes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import click
import numpy as np

from preftune.charts import Panel, Series, draw_svg
from preftune.cli import cli
from preftune.losses import (
    DPO,
    conservative_dpo_loss,
    curve,
    dpo_loss,
    hinge_loss,
    ipo_loss,
    k1,
    k2,
    k3,
    robust_dpo_loss,
)
from preftune.pairs import check
from preftune.pairs.finding import Finding
from preftune.pairs.formats.layout import Layout
from preftune.pairs.formats.table import LAYOUTS
from preftune.pairs.rules.catalog import RULES, Rule

HERE = Path(__file__).parent
DIFFERENCE, RELATED_TOP = "log-ratio difference, nats", 7
_HELP = 80  # columns
SHOWN_LINES, SHOWN_CHARACTERS = 2, 460  # of an example


def main() -> None:
    """Write the pages."""
    (HERE / "figures").mkdir(exist_ok=True)
    for name, page in (pages() | figures()).items():
        (HERE / name).write_text(page, encoding="utf-8", newline="\n")


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    made = {"rules.md": _rules(), "formats.md": _formats(), "command-help.md": _command_help()}
    return {name: "\n".join(lines) + "\n" for name, lines in made.items()}


def _command_help() -> Iterator[str]:
    """Yield what each command says of itself."""
    yield "# Command help"
    yield ""
    yield "What `--help` says of each command, made from the commands; what they are for: [Commands](commands.md)."
    whole = click.Context(cli, info_name="preftune", max_content_width=_HELP, terminal_width=_HELP)
    whole.help_option_names = ["-h", "--help"]
    for name in cli.list_commands(whole):
        command = cli.get_command(whole, name)
        within = click.Context(command, info_name=name, parent=whole)
        yield from _help(within)
        for part in command.commands.values() if isinstance(command, click.Group) else ():
            yield from _help(click.Context(part, info_name=part.name, parent=within))


def _help(context: click.Context) -> Iterator[str]:
    yield from ("", f"## {context.command_path}", "", "```text", context.get_help(), "```")


def figures() -> dict[str, str]:
    """Return the pictures of losses.md by their file names; numbers are rounded to what can be seen."""
    differences = np.linspace(-60, 60, 121)
    plain = curve(DPO(dpo_beta=0.05), DPO(dpo_beta=0.1), DPO(dpo_beta=0.5), differences=differences.tolist())
    per_token = curve(
        DPO(dpo_beta=5, dpo_normalize_logratios_by_length=True),
        DPO(dpo_beta=2.5, simpo_gamma=1.375),
        DPO(dpo_beta=0.1, dpo_normalize_logratios_by_length=True),
        differences=np.linspace(-2, 2, 121).tolist(),
    )
    drawn = {
        "beta": plain.panels(),
        "per-token": per_token.panels(),
        "related": [_related(differences)],
        "kl": [_estimators()],
    }
    return {
        f"figures/{name}-{number}.svg": draw_svg(panel) + "\n"
        for name, panels in drawn.items()
        for number, panel in enumerate(panels, start=1)
    }


def _related(differences: np.ndarray) -> Panel:
    zero = np.zeros_like(differences)
    logps = {
        "policy_chosen_logps": differences,
        "policy_rejected_logps": zero,
        "reference_chosen_logps": zero,
        "reference_rejected_logps": zero,
    }
    losses = {
        "DPO": dpo_loss(**logps),
        "conservative": conservative_dpo_loss(**logps, label_smoothing=0.2),
        "robust": robust_dpo_loss(**logps, label_smoothing=0.2),
        "hinge": hinge_loss(**logps),
        "IPO / 25": ipo_loss(**logps) / 25,
    }
    shown = [
        (name, [(x, y) for x, y in zip(differences, loss, strict=True) if y <= RELATED_TOP])
        for name, loss in losses.items()
    ]
    return Panel("related losses, beta 0.1", [Series(name, points) for name, points in shown], x_label=DIFFERENCE)


def _estimators() -> Panel:
    ratios = np.linspace(-3, 3, 121)
    zero = np.zeros_like(ratios)
    named = {"k1": k1(ratios, zero), "k2": k2(ratios, zero), "k3": k3(ratios, zero)}
    shown = [Series(name, list(zip(ratios, values, strict=True))) for name, values in named.items()]
    return Panel("estimators of KL", shown, ("no divergence", 0.0), x_label="log policy - log reference, nats")


def findings(rule: Rule, folder: Path) -> list[Finding]:
    """Return what `check` finds in the example of a rule, of that rule alone."""
    path, other = folder / "pairs.jsonl", folder / "validation.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in rule.lines))
    other.write_bytes(b"".join(line + b"\n" for line in rule.validation))
    report = check(path, validation=other if rule.validation else None, **rule.options)
    return [finding for finding in report.findings if finding.rule == rule.id]


def _rules() -> Iterator[str]:
    yield (HERE / "rules.head.md").read_text(encoding="utf-8").rstrip() + "\n"
    yield "| rule | finds | sees |\n|---|---|---|"
    yield from (f"| [{rule.id}](#{rule.id}) | {rule.finds} | {rule.sees} |" for rule in RULES)
    with tempfile.TemporaryDirectory() as folder:
        for rule in RULES:
            yield from _rule(rule, Path(folder))


def _rule(rule: Rule, folder: Path) -> Iterator[str]:
    yield f"\n## {rule.id}\n\n{rule.finds} Sees {rule.sees}; stands in `pairs/rules/{rule.module}.py`.\n"
    yield "```text"
    for line in rule.lines[:SHOWN_LINES]:
        text = line.decode("utf-8", "backslashreplace")
        yield (
            text
            if len(text) <= SHOWN_CHARACTERS
            else f"{text[: SHOWN_CHARACTERS // 2]} … {text[-SHOWN_CHARACTERS // 2 :]}"
        )
    if len(rule.lines) > SHOWN_LINES:
        yield f"… {len(rule.lines)} lines in all"
    if rule.validation:
        yield f"and the validation file:\n{rule.validation[0].decode()}"
    yield "```\n"
    options = ", ".join(f"{name}={value}" for name, value in rule.options.items())
    if options:
        yield f"Checked with `{options}`:\n"
    for _, alike in groupby(findings(rule, folder), key=lambda finding: finding.hint):
        yield from _told(list(alike))


def _told(alike: list[Finding]) -> Iterator[str]:
    first = alike[0]
    what = "; ".join(finding.message for finding in alike)
    refused = " The hosted side refuses the file for it." if first.refused else ""
    fixable = " `preftune fix` mends it." if first.fixable else ""
    yield f"- **{first.severity}**: {what}. *{first.hint}.*{refused}{fixable}"


def _formats() -> Iterator[str]:
    yield (HERE / "formats.head.md").read_text(encoding="utf-8").rstrip() + "\n"
    yield "| `--from`, `source=` | known as | keys | choices |\n|---|---|---|---|"
    for layout in LAYOUTS:
        keys = ", ".join(f"`{key}`" for key in layout.keys)
        yield f"| [{layout.name}](#{layout.name}) | {layout.title} | {keys} | {_choices(layout)} |"
    for layout in LAYOUTS:
        yield f"\n## {layout.name}\n\n{layout.title}.\n\n```json"
        yield from (json.dumps(row, ensure_ascii=False) for row in layout.example)
        yield "```"


def _choices(layout: Layout) -> str:
    labels = [f"`label={label}`" for label in layout.labels]
    pairings = [f"`pairing={pairing}`" for pairing in layout.pairings]
    return ", ".join([*labels, *pairings, *(["`ties=drop`"] if layout.ties else [])])


if __name__ == "__main__":
    main()
