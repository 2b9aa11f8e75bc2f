"""Numbers to pictures: a panel or a histogram described once, drawn as terminal text and as SVG."""

from preftune.charts.histogram import Histogram, draw_blocks, draw_histogram
from preftune.charts.panel import Panel, Series
from preftune.charts.svg import draw_sheet, draw_svg
from preftune.charts.text import draw_text, visible

__all__ = [
    "Histogram",
    "Panel",
    "Series",
    "draw_blocks",
    "draw_histogram",
    "draw_sheet",
    "draw_svg",
    "draw_text",
    "visible",
]
