"""Draw the run of `preftune demo` for the README: python docs/draw_demo.py, once the engine or the pictures changed."""

import tempfile
from pathlib import Path

from preftune.charts import draw_sheet
from preftune.recipes.demo import run_demo
from preftune.runs import diagnose, panels


def main() -> None:
    """Run the demo and write docs/demo.svg."""
    with tempfile.TemporaryDirectory() as folder:
        rows = run_demo(out=Path(folder)).dpo_rows
    found = diagnose(rows, total_steps=rows[-1].step)
    sheet = draw_sheet(panels(rows)[:4], [], [f"verdict: {found.verdict}. {found.description}"])
    (Path(__file__).parent / "demo.svg").write_text(sheet, encoding="utf-8")


if __name__ == "__main__":
    main()
