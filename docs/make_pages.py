"""Write the pages that are made from the code: rules.md from the catalog of rules, formats.md from the layouts.

Usage: python docs/make_pages.py. A test fails while a page differs from what this writes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from preftune.pairs import check
from preftune.pairs.finding import Finding
from preftune.pairs.formats.layout import Layout
from preftune.pairs.formats.table import LAYOUTS
from preftune.pairs.rules.catalog import RULES, Rule

HERE = Path(__file__).parent
SHOWN_LINES, SHOWN_CHARACTERS = 2, 460  # of an example


def main() -> None:
    """Write the pages."""
    for name, page in pages().items():
        (HERE / name).write_text(page, encoding="utf-8", newline="\n")


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {"rules.md": "\n".join(_rules()) + "\n", "formats.md": "\n".join(_formats()) + "\n"}


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
