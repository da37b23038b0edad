"""Lines -> a figure: few arms on one pair of axes, many as small multiples, each before the faint lines of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...report.canvas import SIZE, canvas, clear, finish, label, sheet
from ...report.theme import Theme
from ...report.words import arm_name
from .arms import BASE
from .lines import Line

MOST_TOGETHER = 4
MARKS = "osD^"
ROUND = [1, 2, 5, 10]


@dataclass(frozen=True, kw_only=True)
class Style:
    """How lines are drawn. `band`: intervals as bands, else as bars; `zero`: a line at 0; `from_zero`: x begins there; `unit`:
    x is divided by it; `late`: the first fraction of x does not count for the height of the axis.
    """

    x: str
    y: str
    ticks: Callable[[float, object], str] | None = None
    band: bool = False
    zero: bool = False
    from_zero: bool = False
    unit: float = 1.0
    late: float = 0.0


def draw_lines(lines: Sequence[Line], base: Line | None, style: Style, colours: Mapping[str, str], theme: Theme) -> Figure:
    """Draw the lines of arms, and that of real images only where there is one."""
    drawn = _together if len(lines) <= MOST_TOGETHER else _apart
    return drawn(lines, base, style, colours, theme)


def _together(lines: Sequence[Line], base: Line | None, style: Style, colours: Mapping[str, str], theme: Theme) -> Figure:
    figure, axes = canvas(theme, height=300 if theme.narrow else 380)
    if base is not None:
        _base(axes, base, style, theme)
    width = max((max(line.x) for line in lines), default=1.0) / style.unit
    for number, line in enumerate(lines):
        aside = 0 if style.band else 0.01 * width * (number - (len(lines) - 1) / 2)  # no interval hides another
        _line(axes, line, style, colours[line.arm], MARKS[number % len(MARKS)], aside)
        axes.plot([], [], marker=MARKS[number % len(MARKS)], color=colours[line.arm], label=label(line.arm, theme))
    _frame(axes, [*lines, *([base] if base else [])], style, theme, ticks=4 if theme.narrow else 8)
    finish(figure, axes, theme, x=style.x, y=style.y)
    return figure


def _apart(lines: Sequence[Line], base: Line | None, style: Style, colours: Mapping[str, str], theme: Theme) -> Figure:
    columns = 2 if theme.narrow else 4
    rows = -(-len(lines) // columns)
    figure = sheet(theme, height=40 + 150 * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for panel, line in zip(panels, lines, strict=False):
        clear(panel, theme)
        for other in lines:
            faint = "." if len(other.x) == 1 else "-"
            panel.plot(_places(other, style), other.y, faint, color=theme.grid, linewidth=1.1, zorder=1)
        if base is not None:
            _base(panel, base, style, theme)
        _line(panel, line, style, colours[line.arm], "o", 0)
        _frame(panel, [*lines, *([base] if base else [])], style, theme, ticks=3)
        title = panel.set_title(label(line.arm, theme), loc="left", fontsize=SIZE, color=colours[line.arm], fontweight="bold")
        title.set_parse_math(False)
    for panel in panels[len(lines) :]:
        panel.set_visible(False)
    for number, panel in enumerate(panels[: len(lines)]):  # a column that ends early shows its numbers
        panel.tick_params(labelbottom=number + columns >= len(lines))
    figure.supxlabel(style.x, color=theme.faint, fontsize=SIZE)
    figure.supylabel(style.y, color=theme.faint, fontsize=SIZE)
    return figure


def _base(axes: Axes, base: Line, style: Style, theme: Theme) -> None:
    name = label(arm_name(BASE), theme)
    axes.plot(_places(base, style), base.y, "--", color=theme.colour(BASE), linewidth=1.7, label=name, zorder=2)


def _line(axes: Axes, line: Line, style: Style, colour: str, mark: str, aside: float) -> None:
    places = _places(line, style) + aside
    if style.band:
        axes.fill_between(places, line.low, line.high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(places[-1:], line.y[-1:], mark, color=colour, markersize=5, zorder=4)
    else:
        axes.vlines(places, line.low, line.high, color=colour, linewidth=1.4, alpha=0.75)
        axes.plot(places, line.y, mark, color=colour, markersize=5.5, zorder=4)
    axes.plot(places, line.y, "-", color=colour, linewidth=1.8, zorder=3)


def _frame(axes: Axes, lines: Sequence[Line], style: Style, theme: Theme, ticks: int) -> None:
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
    axes.xaxis.set_major_locator(MaxNLocator(ticks, steps=ROUND, integer=style.unit == 1.0))
    if style.zero:
        axes.axhline(0, color=theme.colour(BASE), linewidth=1.2, zorder=1)
    if style.from_zero:
        axes.set_xlim(0, 1.08 * max((max(line.x) for line in lines), default=1.0) / style.unit)
    if style.ticks is not None:
        axes.yaxis.set_major_formatter(FuncFormatter(style.ticks))
    if style.late and lines:
        first = style.late * max(max(line.x) for line in lines)
        seen = [
            value
            for line in lines
            for x, low, high in zip(line.x, line.low, line.high, strict=True)
            if x >= first
            for value in (low, high)
        ]
        room = max(max(seen) - min(seen), 0.1)
        axes.set_ylim(min(seen) - 0.05 * room, max(seen) + 0.05 * room)


def _places(line: Line, style: Style) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(line.x) / style.unit
