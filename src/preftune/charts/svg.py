"""A panel as inline SVG: no script, no font of its own, readable on a light and on a dark page."""

from __future__ import annotations

from html import escape

from preftune.charts.panel import Panel

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")  # told apart by colour-blind readers too (Okabe and Ito)
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 30, 24  # pixels around the plot


def draw_svg(panel: Panel, *, width: int = 480, height: int = 220) -> str:
    """Return the panel as an SVG element of `width` by `height` pixels."""
    low_x, high_x, low_y, high_y = panel.bounds

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - low_x) / (high_x - low_x) * (width - _LEFT - _RIGHT)
        down = height - _BOTTOM - (y - low_y) / (high_y - low_y) * (height - _TOP - _BOTTOM)
        return f"{across:.1f},{down:.1f}"

    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="sans-serif" font-size="11" fill="#808080">'
    )
    parts = [
        f"{opening}<title>{escape(panel.title)}</title>",
        f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(panel.title)}</text>',
        *_axes(panel, width, height),
    ]
    if panel.baseline:
        name, value = panel.baseline
        points = f"{place(low_x, value)} {place(high_x, value)}"
        parts.append(f'<polyline points="{points}" stroke="#808080" stroke-dasharray="3 3" fill="none"/>')
        middle = (width + _LEFT) // 2
        parts.append(f'<text x="{middle}" y="{height - 8}" text-anchor="middle">dashed: {escape(name)}</text>')
    for colour, series in zip(COLOURS, panel.series, strict=False):
        points = " ".join(place(x, y) for x, y in series.finite)
        parts.append(f'<polyline points="{points}" stroke="{colour}" stroke-width="1.5" fill="none"/>')
    return "".join([*parts, *_legend(panel, width), "</svg>"])


def _axes(panel: Panel, width: int, height: int) -> list[str]:
    low_x, high_x, low_y, high_y = panel.bounds
    frame = f'<path d="M{_LEFT} {_TOP}V{height - _BOTTOM}H{width - _RIGHT}" stroke="#808080" fill="none"/>'
    texts = [
        (_LEFT - 6, _TOP + 4, "end", high_y),
        (_LEFT - 6, height - _BOTTOM, "end", low_y),
        (_LEFT, height - 8, "start", low_x),
        (width - _RIGHT, height - 8, "end", high_x),
    ]
    labels = [f'<text x="{x}" y="{y}" text-anchor="{anchor}">{value:.4g}</text>' for x, y, anchor, value in texts]
    return [frame, *labels]


def _legend(panel: Panel, width: int) -> list[str]:
    entries, right = [], width - _RIGHT
    for colour, series in reversed(list(zip(COLOURS, panel.series, strict=False))):
        entries.append(f'<text x="{right}" y="16" text-anchor="end" fill="{colour}">{escape(series.name)}</text>')
        right -= 8 * len(series.name) + 12
    return entries
