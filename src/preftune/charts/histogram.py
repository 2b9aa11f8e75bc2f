"""Counts over steps of a quantity, one row of counts a series, drawn as a line of blocks and as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from preftune.charts.svg import COLOURS

_BLOCKS = " ▁▂▃▄▅▆▇█"
_PAPER = 'font-family="sans-serif" font-size="11" fill="#808080"'


@dataclass(frozen=True)
class Histogram:
    """A title, a unit, n + 1 edges in rising order, and n counts for each series."""

    title: str
    unit: str
    edges: Sequence[float]
    counts: Mapping[str, Sequence[int]]


def draw_blocks(counts: Sequence[int]) -> str:
    """Return a line of block characters, one a count; a count above zero is never drawn as nothing."""
    highest = max([*counts, 1])
    return "".join(_BLOCKS[-(-count * (len(_BLOCKS) - 1) // highest)] for count in counts)


def draw_histogram(histogram: Histogram, *, width: int = 360, height: int = 110) -> str:
    """Return the histogram as an SVG element of `width` by `height` pixels: one stepped outline a series."""
    left, right, top, bottom = 8, 8, 22, 20
    highest = max([count for counts in histogram.counts.values() for count in counts] + [1])
    step = (width - left - right) / (len(histogram.edges) - 1)
    floor = height - bottom
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img" {_PAPER}'
    parts = [
        f'{opening} viewBox="0 0 {width} {height}"><title>{escape(histogram.title)}</title>',
        f'<text x="{left}" y="14" font-weight="bold">{escape(histogram.title)}</text>',
        f'<path d="M{left} {floor}H{width - right}" stroke="#808080"/>',
        f'<text x="{left}" y="{height - 6}">{histogram.edges[0]:,.0f}</text>',
        f'<text x="{width // 2}" y="{height - 6}" text-anchor="middle">{escape(histogram.unit)}</text>',
        f'<text x="{width - right}" y="{height - 6}" text-anchor="end">{histogram.edges[-1]:,.0f}</text>',
    ]
    for index, counts in enumerate(histogram.counts.values()):
        colour = COLOURS[index % len(COLOURS)]
        tops = [floor - count / highest * (floor - top) for count in counts]
        outline = "".join(f"V{y:.1f}h{step:.2f}" for y in tops)
        parts.append(
            f'<path d="M{left} {floor}{outline}V{floor}" fill="{colour}" fill-opacity="0.2" stroke="{colour}"/>'
        )
    return "".join([*parts, *_legend(histogram, width - right), "</svg>"])


def _legend(histogram: Histogram, edge: int) -> Iterator[str]:
    """Yield a square and a name for each series, the last one up to the right edge."""
    for index, name in reversed(list(enumerate(histogram.counts))):
        edge -= 6 * len(name) + 13
        yield f'<rect x="{edge}" y="5" width="9" height="9" fill="{COLOURS[index % len(COLOURS)]}"/>'
        yield f'<text x="{edge + 13}" y="14">{escape(name)}</text>'
        edge -= 14
