"""All layouts, the most telling keys first, and which of them a row is in."""

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

_BY_KEYS = tuple((frozenset(layout.keys), layout) for layout in LAYOUTS)  # sets compare at once, key by key does not


def layout_of(row: Row) -> Layout | None:
    """Return the first layout of the table that a row looks like, or None."""
    keys = frozenset(row)
    for needed, layout in _BY_KEYS:
        if needed <= keys and layout.matches(row):
            return layout
    return None
