"""A panel as text.

Without colour each curve has a letter, so that it reads in any terminal and in a log; with colour the curves are drawn
in braille, eight dots a character.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeAlias

from preftune.charts.panel import Panel, Points, Series, label

_LETTERS = "oxs+=%"
_FAINT, _BASELINE, _BOTH, _BEST = ".", "·", "#", "*"
_LABEL = 10  # columns of the y axis
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character, by row and column
_BRAILLE = 0x2800
_DASH = 2  # of four columns of dots
_HUES = (33, 208, 36, 175, 178, 75)  # of the 256 colours: nearest to the SVG's that read on dark and on light
_SIGNS = {"faint": "⠂", "line": "━", "dashed": "╍", "points": "●"}  # of a legend
_DIM = "\x1b[2m"
_RESET = "\x1b[0m"
_Cell: TypeAlias = tuple[str, str]  # a character and its colour, which is empty or an escape sequence


def draw_text(panel: Panel, *, width: int = 78, height: int = 10, colour: bool = False) -> str:
    """Return the panel as lines of `width` columns: a title with its legend, `height` rows, the x axis."""
    low_x, high_x, low_y, high_y = panel.bounds
    columns = max(1, width - _LABEL)
    draw = _braille if colour else _letters
    labels = {0: label(high_y, low_y, high_y), height - 1: label(low_y, low_y, high_y)}
    lines = [
        f"{labels.get(at, ''):>{_LABEL - 2}} |{_joined(row)}".rstrip()
        for at, row in enumerate(draw(panel, columns, height))
    ]
    low, high = f"{low_x:g}", f"{high_x:g}"
    axis = low + panel.x_label.center(columns - len(low) - len(high)) + high
    return "\n".join([*_title(panel, width, colour=colour), *lines, " " * _LABEL + axis])


def _letters(panel: Panel, columns: int, height: int) -> list[list[_Cell]]:
    """Return the plot in letters; `#` stands where two lines meet."""
    grid = [[" "] * columns for _ in range(height)]
    place = _placing(panel, columns, height)
    if panel.baseline:
        grid[place(panel.bounds[0], panel.baseline[1])[1]] = [_BASELINE] * columns
    for series, points in _in_order(panel, columns):
        mark = _mark(panel, series)
        for x, y in points:
            column, row = place(x, y)
            over = series.style == "points" or grid[row][column] in (" ", _BASELINE, _FAINT, mark)
            grid[row][column] = mark if over else _BOTH
    if panel.best:
        column, row = place(*panel.best[1:])
        grid[row][column] = _BEST
    return [[(mark, "") for mark in row] for row in grid]


def _braille(panel: Panel, columns: int, height: int) -> list[list[_Cell]]:
    """Return the plot in dots; of two curves in one character the later one gives the colour."""
    dots = [[0] * columns for _ in range(height)]
    grid: list[list[_Cell]] = [[(" ", "")] * columns for _ in range(height)]
    place, place_mark = _placing(panel, 2 * columns, 4 * height), _placing(panel, columns, height)
    if panel.baseline:
        grid[place_mark(panel.bounds[0], panel.baseline[1])[1]] = [("┈", _DIM)] * columns
    for series, points in _in_order(panel, 2 * columns):
        hue = _hue(panel, series)
        if series.style == "points":
            for point in points:
                column, row = place_mark(*point)
                grid[row][column] = ("●", hue)
            continue
        places = [place(*point) for point in points]
        dots_of = places if series.style == "faint" else _connected(places)
        for x, y in (each for each in dots_of if series.style != "dashed" or each[0] % 4 < _DASH):
            row, column = y // 4, x // 2
            fresh = not _BRAILLE < ord(grid[row][column][0]) < _BRAILLE + 256 or grid[row][column][1] != hue
            dots[row][column] = _DOTS[y % 4][x % 2] | (0 if fresh else dots[row][column])
            grid[row][column] = (chr(_BRAILLE + dots[row][column]), hue)
    if panel.best:
        column, row = place_mark(*panel.best[1:])
        grid[row][column] = ("★", "")
    return grid


def _connected(places: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the dots of the straight lines between some places."""
    yield from places[:1]
    for (x, y), (to_x, to_y) in pairwise(places):
        count = max(abs(to_x - x), abs(to_y - y), 1)
        for at in range(1, count + 1):
            yield x + round((to_x - x) * at / count), y + round((to_y - y) * at / count)


def _placing(panel: Panel, columns: int, rows: int) -> Callable[[float, float], tuple[int, int]]:
    """Return a function from a point to its column and row, the first row at the top."""
    low_x, high_x, low_y, high_y = panel.bounds

    def place(x: float, y: float) -> tuple[int, int]:
        across, up = (x - low_x) / (high_x - low_x), (y - low_y) / (high_y - low_y)
        return round(across * (columns - 1)), rows - 1 - round(up * (rows - 1))

    return place


def _in_order(panel: Panel, columns: int) -> Iterator[tuple[Series, Points]]:
    """Yield the series with what is drawn of them, single values behind lines, and points before them."""
    low_x, high_x, _, _ = panel.bounds
    for series in sorted(panel.series, key=lambda one: ("faint", "line", "dashed", "points").index(one.style)):
        yield series, series.thinned(low_x, high_x, columns)


def _mark(panel: Panel, series: Series) -> str:
    """Return the letter of a series: that of its side; in capitals, the points beside a line."""
    if series.style == "faint":
        return _FAINT
    letter = _LETTERS[panel.keys.index(series.key) % len(_LETTERS)]
    beside = any(one.key == series.key and one.style == "line" for one in panel.series)
    return letter.upper() if series.style in ("points", "dashed") and beside else letter


def _hue(panel: Panel, series: Series) -> str:
    hue = _HUES[panel.keys.index(series.key) % len(_HUES)]
    return f"\x1b[{'2;' if series.style == 'faint' else ''}38;5;{hue}m"


def _joined(row: list[_Cell]) -> str:
    """Return a row of cells as text, each run of one colour in one escape sequence."""
    parts, before = [], ""
    for mark, hue in row:
        if hue != before:
            parts.append((_RESET if before else "") + hue)
            before = hue
        parts.append(mark)
    return "".join(parts) + (_RESET if before else "")


def _title(panel: Panel, width: int, *, colour: bool) -> list[str]:
    """Return the title and the legend, on one line where there is room."""
    signs: dict[str, list[str]] = {}  # by what they stand for
    for series in panel.series:
        found = signs.setdefault(series.name, [])
        sign = _sign(panel, series) if colour else _mark(panel, series)
        if sign not in found:
            found.append(sign)
    if panel.baseline:
        signs[panel.baseline[0]] = ["┈" if colour else _BASELINE]
    if panel.best:
        signs[panel.best[0]] = ["★" if colour else _BEST]
    lines = [panel.title]
    for name, found in signs.items():
        entry = f"{' '.join(found)} {name}"
        taken = len(visible(lines[-1])) + 3 + len(visible(entry))
        lines = [*lines[:-1], f"{lines[-1]}   {entry}"] if taken <= width else [*lines, f"  {entry}"]
    return lines


def _sign(panel: Panel, series: Series) -> str:
    if series.style == "faint":
        return _SIGNS["faint"]
    return f"{_hue(panel, series)}{_SIGNS[series.style]}{_RESET}"


def visible(text: str) -> str:
    """Return a text without its escape sequences."""
    parts = text.split("\x1b[")
    return parts[0] + "".join(part.partition("m")[2] for part in parts[1:])
