"""A panel as inline SVG: no script, no font of its own, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from textwrap import wrap
from typing import TypeAlias

from preftune.charts.panel import Panel, Series, ticks

# told apart by colour-blind readers too (Okabe and Ito)
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_GREY = "#808080"
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 30, 38  # pixels around the plot
_LETTER, _GAP, _ROW = 7, 12, 16  # pixels that a letter of the legend may take, between two names, of a row of them
_LINE = 18  # pixels of a line of text in a sheet
_EVERY_X, _EVERY_Y = 80, 36  # pixels that a tick has to itself at least
_LINES = {
    "faint": 'stroke-width="1" stroke-opacity="0.35"',
    "line": 'stroke-width="2"',
    "dashed": 'stroke-width="2" stroke-dasharray="6 4"',
    "points": 'stroke-width="1"',
}
_Place: TypeAlias = Callable[[float, float], tuple[float, float]]


def draw_svg(panel: Panel, *, width: int = 480, height: int = 220) -> str:
    """Return the panel as an SVG element of `width` by `height` pixels."""
    low_x, high_x, low_y, high_y = panel.bounds
    names, top = _legend(panel, width)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + (x - low_x) / (high_x - low_x) * (width - _LEFT - _RIGHT)
        return across, height - _BOTTOM - (y - low_y) / (high_y - low_y) * (height - top - _BOTTOM)

    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="sans-serif" font-size="11" fill="{_GREY}">'
    )
    parts = [
        f"{opening}<title>{escape(panel.title)}</title>",
        f'<text x="{_LEFT}" y="16" font-weight="bold">{escape(panel.title)}</text>',
        *_axes(panel, place, width=width, height=height, top=top),
    ]
    if panel.baseline:
        line = _path([place(low_x, panel.baseline[1]), place(high_x, panel.baseline[1])])
        parts.append(f'<path d="{line}" stroke="{_GREY}" stroke-dasharray="3 3" fill="none"/>')
    for style in _LINES:
        for series in panel.series:
            if series.style == style and series.columns[0]:
                parts += _curve(panel, series, place, columns=width - _LEFT - _RIGHT)
    if panel.best:
        x, y = place(*panel.best[1:])
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="none" stroke="{_GREY}" stroke-width="2"/>')
    middle, below = (width + _LEFT) // 2, escape(" · ".join(_below(panel)))
    parts.append(f'<text x="{middle}" y="{height - 6}" text-anchor="middle">{below}</text>')
    return "".join([*parts, *names, "</svg>"])


def draw_sheet(panels: Sequence[Panel], above: Sequence[str], below: Sequence[str], *, columns: int = 2) -> str:
    """Return one SVG element with lines of text, the panels in so many columns, and lines of text.

    A single picture is what every viewer of notebooks shows, also where markup is taken out.
    """
    width, height = 480 * columns, 220
    lines = [[part for line in lines for part in wrap(line, width // _LETTER)] for lines in (above, below)]
    top = _LINE * len(lines[0]) + 8
    floor = top + height * -(-len(panels) // columns)
    whole = floor + _LINE * len(lines[1]) + 8
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{whole}" viewBox="0 0 {width} {whole}"'
    parts = [f'{opening} role="img" font-family="sans-serif" font-size="13" fill="{_GREY}">']
    for begin, texts in ((0, lines[0]), (floor, lines[1])):
        for at, text in enumerate(texts):
            parts.append(f'<text x="8" y="{begin + _LINE * (at + 1)}">{escape(text)}</text>')
    for at, panel in enumerate(panels):
        x, y = 480 * (at % columns), top + height * (at // columns)
        parts.append(draw_svg(panel, height=height).replace("<svg ", f'<svg x="{x}" y="{y}" ', 1))
    return "".join([*parts, "</svg>"])


def colour_of(panel: Panel, series: Series) -> str:
    """Return the colour of a series: all of one side have one."""
    return COLOURS[panel.keys.index(series.key) % len(COLOURS)]


def _curve(panel: Panel, series: Series, place: _Place, *, columns: int) -> Iterator[str]:
    low_x, high_x, _, _ = panel.bounds
    places = [place(x, y) for x, y in series.thinned(low_x, high_x, columns)]
    colour = colour_of(panel, series)
    yield f'<path d="{_path(places)}" stroke="{colour}" {_LINES[series.style]} fill="none"/>'
    if series.style == "points" or len(places) == 1:
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places)


def _path(places: list[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)


def _below(panel: Panel) -> Iterator[str]:
    """Yield what stands under the plot: what is counted, and what the signs in it mean."""
    if panel.x_label:
        yield panel.x_label
    faint = next((series.name for series in panel.series if series.style == "faint"), None)
    if faint:
        yield f"faint: {faint}"
    if panel.baseline:
        yield f"dashed: {panel.baseline[0]}"
    if panel.best:
        yield f"ring: {panel.best[0]}"


def _axes(panel: Panel, place: _Place, *, width: int, height: int, top: int) -> Iterator[str]:
    low_x, high_x, low_y, high_y = panel.bounds
    yield f'<path d="M{_LEFT} {top}V{height - _BOTTOM}H{width - _RIGHT}" stroke="{_GREY}" fill="none"/>'
    for value in ticks(low_y, high_y, max(2, (height - top - _BOTTOM) // _EVERY_Y)):
        _, y = place(low_x, value)
        yield f'<path d="M{_LEFT} {y:.1f}H{width - _RIGHT}" stroke="{_GREY}" stroke-opacity="0.2"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_round(value, low_y, high_y)}</text>'
    for value in ticks(low_x, high_x, max(2, (width - _LEFT - _RIGHT) // _EVERY_X)):
        (x, _), text = place(value, low_y), _round(value, low_x, high_x)
        yield f'<text x="{x:.1f}" y="{height - _BOTTOM + 14}" text-anchor="middle">{text}</text>'


def _round(value: float, low: float, high: float) -> str:
    """Return a tick's value without the noise of its arithmetic."""
    return f"{value:.6g}" if abs(value) > 1e-9 * (high - low) else "0"


def _legend(panel: Panel, width: int) -> tuple[list[str], int]:
    """Return the names of the series, beside the title or, where that is too narrow, below it; and the plot's top."""
    room = width - _LEFT - _RIGHT
    colours: dict[str, str] = {}  # by name; grey for one that several sides have
    for series in panel.series:
        if series.style != "faint":
            text = f"{'● ' if series.style == 'points' else ''}{series.name}"
            colours[text] = _GREY if text in colours else colour_of(panel, series)
    sizes = [_LETTER * len(text) + _GAP for text in colours]
    if _LETTER * len(panel.title) + sum(sizes) <= room:
        places = [(width - _RIGHT - sum(sizes[at:]) + _GAP, 0) for at in range(len(sizes))]
    else:
        places, across, row = [], 0, 1
        for size in sizes:
            if across and across + size > room:
                across, row = 0, row + 1
            places.append((_LEFT + across, row))
            across += size
    entries = [
        f'<text x="{x}" y="{16 + _ROW * row}" fill="{colour}">{escape(text)}</text>'
        for (text, colour), (x, row) in zip(colours.items(), places, strict=True)
    ]
    return entries, _TOP + _ROW * max((row for _, row in places), default=0)
