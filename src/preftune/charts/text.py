"""A panel as text: one letter a series, so that it reads without colour, in any terminal, in a log."""

from __future__ import annotations

from preftune.charts.panel import Panel, label

_MARKS = "ox+*@%"
_LABEL = 9  # columns of the y axis


def draw_text(panel: Panel, *, width: int = 78, height: int = 10) -> str:
    """Return the panel as lines of `width` columns: a title with its legend, `height` rows, the x axis."""
    low_x, high_x, low_y, high_y = panel.bounds
    columns = max(1, width - _LABEL)
    grid = [[" "] * columns for _ in range(height)]
    if panel.baseline:
        grid[_row(panel.baseline[1], low_y, high_y, height)] = ["·"] * columns
    for mark, series in zip(_MARKS, panel.series, strict=False):
        for x, y in series.finite:
            column = round((x - low_x) / (high_x - low_x) * (columns - 1))
            row = grid[_row(y, low_y, high_y, height)]
            row[column] = mark if row[column] in (" ", "·", mark) else "#"  # two curves in one place
    labels = {0: label(high_y, low_y, high_y), height - 1: label(low_y, low_y, high_y)}
    lines = [f"{labels.get(at, ''):>{_LABEL - 2}} |{''.join(row)}".rstrip() for at, row in enumerate(grid)]
    low, high = f"{low_x:g}", f"{high_x:g}"
    axis = low + panel.x_label.center(columns - len(low) - len(high)) + high
    return "\n".join([_title(panel), *lines, " " * _LABEL + axis])


def _title(panel: Panel) -> str:
    legend = [f"{mark} {series.name}" for mark, series in zip(_MARKS, panel.series, strict=False)]
    if panel.baseline:
        legend.append(f"· {panel.baseline[0]}")
    return f"{panel.title}   {'   '.join(legend)}"


def _row(y: float, low: float, high: float, height: int) -> int:
    return height - 1 - round((y - low) / (high - low) * (height - 1))
