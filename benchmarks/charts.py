"""What it costs to look at a run: pictures, the screen of a terminal, a notebook's sheet, the page of a report.

Medians in milliseconds of nine runs; there is no peer that draws the same from the same rows.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

from preftune.api.models import FineTuneJob, MetricRow
from preftune.charts import Panel, Series, draw_svg, draw_text
from preftune.runs import Run, compare, diagnose
from preftune.runs.page import run_page
from preftune.runs.view import View, screen, sheet

NOW = datetime(2026, 11, 24, tzinfo=UTC)
FIELDS = ("accuracy", "margin", "kl_chosen", "kl_rejected", "logps_chosen", "logps_rejected", "grad_norm")


def median_ms(work: Callable[[], object], times: int = 9) -> float:
    """Return the median of the milliseconds that the work takes, each time on fresh objects."""
    taken = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        taken.append(1000 * (time.perf_counter() - begin))
    return statistics.median(taken)


def rows_of(count: int, chance: random.Random) -> tuple[MetricRow, ...]:
    """Return a run of so many training rows, with an evaluation at each tenth of it."""
    train = [
        MetricRow("train", step=step, loss=chance.random(), **{name: chance.random() for name in FIELDS})
        for step in range(1, count + 1)
    ]
    evals = [
        MetricRow("eval", step=step, loss=0.5, accuracy=0.7) for step in range(count // 10, count + 1, count // 10)
    ]
    return (*train, *evals)


def main() -> None:
    """Measure and print."""
    chance = random.Random(7)
    points = [[(float(step), chance.random()) for step in range(100_000)] for _ in range(2)]

    def panel() -> Panel:
        return Panel("p", [Series("a", points[0]), Series("b", points[1])], ("line", 0.5))

    print(f"two series of 100,000 points: SVG {median_ms(lambda: draw_svg(panel())):.0f} ms")
    print(f"  letters {median_ms(lambda: draw_text(panel())):.0f} ms")
    print(f"  braille {median_ms(lambda: draw_text(panel(), colour=True)):.0f} ms")
    job = FineTuneJob(id="ft-1", status="running", total_steps=20_000, training_method={"method": "dpo"})
    for count in (1_000, 10_000):
        rows = rows_of(count, chance)
        print(f"{count:,} rows: screen {median_ms(lambda rows=rows: screen(View(job, rows), NOW)):.0f} ms")
        print(f"  sheet {median_ms(lambda rows=rows: sheet(View(job, rows), NOW)):.0f} ms")
        print(f"  diagnosis {median_ms(lambda rows=rows: diagnose(rows)):.0f} ms")
        both = [Run(job.model_copy(update={"id": name}), rows) for name in ("ft-1", "ft-2")]
        print(f"  comparison of two {median_ms(lambda both=both: compare(both).to_text()):.0f} ms")
        size = len(run_page(Run(job, rows), data=""))
        print(f"  page {median_ms(lambda rows=rows: run_page(Run(job, rows), data='')):.0f} ms, {size:,} bytes")


if __name__ == "__main__":
    main()
