"""Numbers to pictures: a panel described once, drawn as terminal text and as SVG."""

from preftune.charts.panel import Panel, Series
from preftune.charts.svg import draw_svg
from preftune.charts.text import draw_text

__all__ = ["Panel", "Series", "draw_svg", "draw_text"]
