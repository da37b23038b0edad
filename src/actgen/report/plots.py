"""Runs -> matplotlib figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .canvas import canvas, finish, label, name_bars
from .reading import REAL_ONLY, RunView, lead
from .theme import LIGHT, Theme
from .words import arm_name, duration_unit, points, signed

MOST_CLASSES = 20
LEAST_SPAN = 2.0
"""Points that an axis of accuracies spans at least."""


def accuracy_figure(arms: Sequence[RunView], theme: Theme = LIGHT) -> Figure:
    """Draw accuracy by epoch, one line per arm; epochs without a measurement are bridged."""
    figure, axes = canvas(theme, height=260 if theme.narrow else 320)
    for position, arm in enumerate(arms):
        rows = [(row.epoch + 1, row.accuracy) for row in arm.epochs if row.accuracy is not None]
        epochs, percents = [epoch for epoch, _ in rows], [percent for _, percent in rows]
        colour, style = theme.colour(arm.name, position), "--" if arm.name == REAL_ONLY else "-"
        axes.plot(epochs, percents, style, color=colour, linewidth=1.9, label=label(arm_name(arm.name), theme))
        axes.plot(epochs[-1:], percents[-1:], "o", color=colour, markersize=5)
    low, high = axes.get_ylim()
    if high - low < LEAST_SPAN:  # a run at chance is flat, not a mountain range
        axes.set_ylim((low + high - LEAST_SPAN) / 2, (low + high + LEAST_SPAN) / 2)
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(figure, axes, theme, x="epoch", y=f"{lead(arms).summary.measured} accuracy, %")
    return figure


def class_figure(
    before: Mapping[str, float], after: Mapping[str, float], names: tuple[str, str], arm: RunView, theme: Theme = LIGHT
) -> Figure:
    """Draw two bars per class, `names` being their legend, and at the right the change; `arm` gives the colour."""
    classes = most_changed(before, after)
    figure, axes = canvas(theme, height=95 + 34 * len(classes))
    kinds = ((-0.19, before, names[0], theme.colour(REAL_ONLY)), (0.19, after, names[1], theme.colour(arm.name)))
    for shift, values, title, colour in kinds:
        places = [place + shift for place in range(len(classes))]
        axes.barh(places, [values[name] for name in classes], height=0.34, color=colour, label=label(title, theme))
    for place, name in enumerate(classes):
        change = signed(points(before[name], after[name]))
        axes.annotate(change, (1.015, place), xycoords=("axes fraction", "data"), va="center")
    name_bars(axes, classes, theme)
    axes.set_xlim(0, 100)
    finish(figure, axes, theme, x=f"{arm.summary.measured} accuracy, %")
    return figure


def cost_figure(arms: Sequence[RunView], theme: Theme = LIGHT) -> Figure:
    """Draw one stacked bar per arm: time spent in training, then in generating."""
    totals = [arm.summary.train_seconds + arm.summary.generation_seconds for arm in arms]
    unit, length = duration_unit(max(totals, default=0.0))
    figure, axes = canvas(theme, height=95 + 40 * len(arms))
    training = [arm.summary.train_seconds / length for arm in arms]
    generating = [arm.summary.generation_seconds / length for arm in arms]
    places = range(len(arms))
    axes.barh(places, training, height=0.56, color=theme.colour(REAL_ONLY), label="training")
    axes.barh(places, generating, height=0.56, left=training, color=theme.others[0], label="generating")
    for place, total in enumerate(totals):
        at, away = (total / length, place), (6, 0)
        axes.annotate(f"{total / length:.1f}", at, away, textcoords="offset points", va="center")
    name_bars(axes, [arm_name(arm.name) for arm in arms], theme)
    axes.set_xlim(0, 1.14 * max(*totals, 1e-9) / length)
    finish(figure, axes, theme, x=f"time, {unit}")
    return figure


def most_changed(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Return the classes that both measured, in their order; of many, the `MOST_CLASSES` that changed most."""
    both = [name for name in before if name in after]
    kept = set(sorted(both, key=lambda name: -abs(after[name] - before[name]))[:MOST_CLASSES])
    return [name for name in both if name in kept]
