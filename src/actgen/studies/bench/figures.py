"""Comparisons -> matplotlib figures: gains with their intervals by arm, against images, against time; accuracy by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ...report.canvas import SIZE, clear, label, name_axes, name_bars, sheet
from ...report.theme import LIGHT, NAMED, Theme
from ...report.words import duration_unit
from .arms import BASE
from .compare import Comparison
from .curves import ROUND, Style, draw_lines
from .lines import accuracy_by_epoch, gains_by_images, gains_by_seconds, is_base, seconds
from .rows import Row, kind
from .table import points

GAIN = "gain over real only, points"


def arms_figure(compared: Sequence[Comparison], theme: Theme = LIGHT) -> Figure:
    """Draw a bar an arm for every budget: the mean gain, its interval as a line, and the gain of every seed as a dot."""
    drawn = [one for one in compared if one.gain is not None]
    budgets = sorted({one.budget for one in drawn if one.budget}) or [0.0]
    arms, colours = list(dict.fromkeys(one.arm for one in drawn)), arm_colours(compared, theme)
    shape = (len(budgets), 1) if theme.narrow else (1, len(budgets))
    figure = sheet(theme, height=shape[0] * (100 + 30 * len(arms)))
    panels = figure.subplots(*shape, squeeze=False, sharex=True, sharey=True).flatten()
    for panel, budget in zip(panels, budgets, strict=True):
        clear(panel, theme)
        panel.set_title(f"{100 * budget:g}% generated images" if budget else "", loc="left", fontsize=SIZE, color=theme.ink)
        for one in drawn:
            if one.budget in (budget, 0.0):
                _bar(panel, one, arms.index(one.arm), colours[one.arm], theme)
        panel.axvline(0, color=theme.colour(BASE), linewidth=1.2, zorder=1)
        panel.xaxis.set_major_locator(MaxNLocator(5, steps=ROUND))
        panel.xaxis.set_major_formatter(FuncFormatter(signed_tick))
        panel.grid(axis="x", color=theme.grid, linewidth=0.8)
        name_axes(panel, theme, x=GAIN if panel is panels[-1] or not theme.narrow else "")
    name_bars(panels[0], arms, theme)
    panels[0].set_xlim(*_reach(drawn))
    return figure


def gain_figure(compared: Sequence[Comparison], theme: Theme = LIGHT) -> Figure:
    """Draw the gain against the number of generated images."""
    style = Style(x="generated images", y=GAIN, ticks=signed_tick, zero=True, from_zero=True)
    return draw_lines(gains_by_images(compared), None, style, arm_colours(compared, theme), theme)


def cost_figure(compared: Sequence[Comparison], theme: Theme = LIGHT) -> Figure:
    """Draw the gain against the time that a run takes, training and generation together."""
    unit, length = duration_unit(max(map(seconds, compared), default=0.0))
    style = Style(x=f"time of a run, {unit}", y=GAIN, ticks=signed_tick, zero=True, from_zero=True, unit=length)
    return draw_lines(gains_by_seconds(compared), None, style, arm_colours(compared, theme), theme)


def epochs_figure(rows: Sequence[Row], compared: Sequence[Comparison], theme: Theme = LIGHT) -> Figure:
    """Draw the mean accuracy by epoch, every arm at its largest budget, real only dashed; the first third is cut off."""
    lines = accuracy_by_epoch(rows)
    base = next((line for line in lines if is_base(line)), None)
    style = Style(x="epoch", y=f"{kind(rows[0])} accuracy, %", band=True, late=0.34)
    return draw_lines([line for line in lines if not is_base(line)], base, style, arm_colours(compared, theme), theme)


def arm_colours(compared: Sequence[Comparison], theme: Theme) -> Mapping[str, str]:
    """Return the colour of every arm, the same in all figures of a recipe."""
    arms = list(dict.fromkeys(one.arm for one in compared))
    others = [arm for arm in arms if arm not in NAMED]
    return {arm: theme.colour(arm, others.index(arm) if arm in others else 0) for arm in arms}


def signed_tick(value: float, _: object = None) -> str:
    """Return "+0.5", "−0.5" or "0"."""
    return f"{value:+g}".replace("-", "−") if abs(value) > 1e-9 else "0"


def _bar(axes: Axes, one: Comparison, place: int, colour: str, theme: Theme) -> None:
    assert one.gain is not None
    assert one.differences is not None
    axes.barh(place, one.gain, height=0.56, color=colour, alpha=0.5)
    if (interval := one.interval) is not None:
        axes.plot(
            [interval.low, interval.high], [place, place], color=theme.ink, linewidth=1.4, solid_capstyle="butt", zorder=4
        )
    axes.plot(
        one.differences,
        [place] * len(one.differences),
        "o",
        color=colour,
        markersize=3.6,
        markeredgecolor=theme.paper,
        markeredgewidth=0.5,
        zorder=5,
    )
    axes.annotate(
        label(points(one.gain), theme),
        (1.0, place),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="center",
        fontsize=SIZE,
        color=theme.ink,
    )


def _reach(drawn: Sequence[Comparison]) -> tuple[float, float]:
    """Return the ends of the axis: all that is drawn, and room for the numbers at the right."""
    ends = [0.0, *(value for one in drawn for value in one.differences or ())]
    ends += [end for one in drawn if (interval := one.interval) for end in (interval.low, interval.high)]
    room = max(max(ends) - min(ends), 0.1)
    return min(ends) - 0.05 * room, max(ends) + 0.3 * room
