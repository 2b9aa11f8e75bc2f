"""A panel as inline SVG: no script, no font of its own, readable on a light and on a dark page."""

from __future__ import annotations

from html import escape

from preftune.charts.panel import Panel, label

# told apart by colour-blind readers too (Okabe and Ito)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 30, 24  # pixels around the plot
_LETTER, _GAP, _ROW = 7, 12, 16  # pixels that a letter of the legend may take, between two names, of a row of them


def draw_svg(panel: Panel, *, width: int = 480, height: int = 220) -> str:
    """Return the panel as an SVG element of `width` by `height` pixels."""
    low_x, high_x, low_y, high_y = panel.bounds
    names, top = _legend(panel, width)

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - low_x) / (high_x - low_x) * (width - _LEFT - _RIGHT)
        down = height - _BOTTOM - (y - low_y) / (high_y - low_y) * (height - top - _BOTTOM)
        return f"{across:.1f},{down:.1f}"

    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="sans-serif" font-size="11" fill="#808080">'
    )
    parts = [
        f"{opening}<title>{escape(panel.title)}</title>",
        f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(panel.title)}</text>',
        *_axes(panel, width, height, top),
    ]
    below = [panel.x_label] if panel.x_label else []
    if panel.baseline:
        name, value = panel.baseline
        below.append(f"dashed: {name}")
        points = f"{place(low_x, value)} {place(high_x, value)}"
        parts.append(f'<polyline points="{points}" stroke="#808080" stroke-dasharray="3 3" fill="none"/>')
    middle = (width + _LEFT) // 2
    parts.append(f'<text x="{middle}" y="{height - 8}" text-anchor="middle">{escape(" · ".join(below))}</text>')
    for colour, series in zip(COLOURS, panel.series, strict=False):
        points = " ".join(place(x, y) for x, y in series.finite)
        parts.append(f'<polyline points="{points}" stroke="{colour}" stroke-width="1.5" fill="none"/>')
    return "".join([*parts, *names, "</svg>"])


def _axes(panel: Panel, width: int, height: int, top: int) -> list[str]:
    low_x, high_x, low_y, high_y = panel.bounds
    frame = f'<path d="M{_LEFT} {top}V{height - _BOTTOM}H{width - _RIGHT}" stroke="#808080" fill="none"/>'
    texts = [
        (_LEFT - 6, top + 4, "end", label(high_y, low_y, high_y)),
        (_LEFT - 6, height - _BOTTOM, "end", label(low_y, low_y, high_y)),
        (_LEFT, height - 8, "start", f"{low_x:.4g}"),
        (width - _RIGHT, height - 8, "end", f"{high_x:.4g}"),
    ]
    labels = [f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>' for x, y, anchor, text in texts]
    return [frame, *labels]


def _legend(panel: Panel, width: int) -> tuple[list[str], int]:
    """Return the names of the series, beside the title or, where that is too narrow, below it; and the plot's top."""
    room = width - _LEFT - _RIGHT
    sizes = [_LETTER * len(series.name) + _GAP for series in panel.series]
    if _LETTER * len(panel.title) + sum(sizes) <= room:
        places = [(width - _RIGHT - sum(sizes[at:]) + _GAP, 0) for at in range(len(sizes))]
    else:
        places, across, row = [], 0, 1
        for size in sizes:
            if across and across + size > room:
                across, row = 0, row + 1
            places.append((_LEFT + across, row))
            across += size
    named = zip(COLOURS, panel.series, places, strict=False)
    entries = [
        f'<text x="{x}" y="{16 + _ROW * row}" fill="{colour}">{escape(series.name)}</text>'
        for colour, series, (x, row) in named
    ]
    return entries, _TOP + _ROW * max((row for _, row in places), default=0)
