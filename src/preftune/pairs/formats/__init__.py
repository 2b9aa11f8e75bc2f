"""The layouts that preference data comes in: one table, the most telling keys first."""

from preftune.pairs.formats import arena, hosted, judged, rated, sharegpt, texts, together, trl, unpaired
from preftune.pairs.formats.layout import Layout, Row

LAYOUTS: tuple[Layout, ...] = (
    together.LAYOUT,
    *hosted.LAYOUTS,
    *sharegpt.LAYOUTS,
    *arena.LAYOUTS,
    *judged.LAYOUTS,
    trl.SCORED_LAYOUT,
    *rated.LAYOUTS,
    *texts.LAYOUTS,
    *unpaired.LAYOUTS,
    trl.LAYOUT,
)

__all__ = ["LAYOUTS", "Layout", "layout_of"]


def layout_of(row: Row) -> Layout | None:
    """Return the first layout of the table that a row looks like, or None."""
    return next((layout for layout in LAYOUTS if layout.matches(row)), None)
