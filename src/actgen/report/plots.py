"""Runs -> matplotlib figures -> SVG text. Only figure objects: no pyplot, no window, no global state."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .look import LIGHT, Look
from .reading import REAL_ONLY, RunView
from .words import arm_name, duration_unit, points, signed

MOST_CLASSES = 20
SIZE = 9.5


def accuracy_figure(arms: Sequence[RunView], look: Look = LIGHT) -> Figure:
    """Draw test accuracy by epoch, one line per arm; epochs without a measurement are bridged."""
    figure, axes = _canvas(look, height=260 if look.narrow else 320)
    for position, arm in enumerate(arms):
        rows = [(row.epoch + 1, row.test_accuracy) for row in arm.epochs if row.test_accuracy is not None]
        epochs, percents = [epoch for epoch, _ in rows], [percent for _, percent in rows]
        colour, style = look.colour(arm.name, position), "--" if arm.name == REAL_ONLY else "-"
        axes.plot(epochs, percents, style, color=colour, linewidth=1.9, label=_label(arm_name(arm.name), look))
        axes.plot(epochs[-1:], percents[-1:], "o", color=colour, markersize=5)
    axes.grid(axis="y", color=look.grid, linewidth=0.8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _finish(figure, axes, look, x="epoch", y="test accuracy, %")
    return figure


def class_figure(
    before: Mapping[str, float], after: Mapping[str, float], names: tuple[str, str], arm: str, look: Look = LIGHT
) -> Figure:
    """Draw two bars per class, `names` being their legend, and at the right the change; `arm` gives the colour."""
    classes = most_changed(before, after)
    figure, axes = _canvas(look, height=95 + 34 * len(classes))
    kinds = ((-0.19, before, names[0], look.colour(REAL_ONLY)), (0.19, after, names[1], look.colour(arm)))
    for shift, values, label, colour in kinds:
        places = [place + shift for place in range(len(classes))]
        axes.barh(places, [values[name] for name in classes], height=0.34, color=colour, label=_label(label, look))
    for place, name in enumerate(classes):
        change = signed(points(before[name], after[name]))
        axes.annotate(change, (1.015, place), xycoords=("axes fraction", "data"), va="center")
    _name_bars(axes, classes, look)
    axes.set_xlim(0, 100)
    _finish(figure, axes, look, x="test accuracy, %")
    return figure


def cost_figure(arms: Sequence[RunView], look: Look = LIGHT) -> Figure:
    """Draw one stacked bar per arm: time spent in training, then in generating."""
    totals = [arm.summary.train_seconds + arm.summary.generation_seconds for arm in arms]
    unit, length = duration_unit(max(totals, default=0.0))
    figure, axes = _canvas(look, height=95 + 40 * len(arms))
    training = [arm.summary.train_seconds / length for arm in arms]
    generating = [arm.summary.generation_seconds / length for arm in arms]
    places = range(len(arms))
    axes.barh(places, training, height=0.56, color=look.colour(REAL_ONLY), label="training")
    axes.barh(places, generating, height=0.56, left=training, color=look.others[0], label="generating")
    for place, total in enumerate(totals):
        at, away = (total / length, place), (6, 0)
        axes.annotate(f"{total / length:.1f}", at, away, textcoords="offset points", va="center")
    _name_bars(axes, [arm_name(arm.name) for arm in arms], look)
    axes.set_xlim(0, 1.14 * max(*totals, 1e-9) / length)
    _finish(figure, axes, look, x=f"time, {unit}")
    return figure


def most_changed(before: Mapping[str, float], after: Mapping[str, float]) -> list[str]:
    """Return the classes that both measured, in their order; of many, the `MOST_CLASSES` that changed most."""
    both = [name for name in before if name in after]
    kept = set(sorted(both, key=lambda name: -abs(after[name] - before[name]))[:MOST_CLASSES])
    return [name for name in both if name in kept]


def to_svg(figure: Figure) -> str:
    """Return `figure` as SVG text, the same for the same figure; words stay words, in the reader's own font."""
    buffer = io.StringIO()
    with _rendering():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue().replace("'DejaVu Sans', ", "system-ui, ")


@contextmanager
def _rendering() -> Iterator[None]:
    """Keep text as text, and say nothing of glyphs that the measuring font lacks: the reader's browser has them."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "actgen"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph")
        yield


def _canvas(look: Look, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of `look.width` x `height` CSS pixels (96 to the inch) and its axes."""
    figure = Figure(figsize=(look.width / 96, height / 96), dpi=96, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[:].set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=look.ink, labelsize=SIZE)
    return figure, axes


def _name_bars(axes: Axes, names: Sequence[str], look: Look) -> None:
    """Name horizontal bars from the top down; `$` is a letter here, not mathematics."""
    axes.set_yticks(range(len(names)), [_label(name, look) for name in names], parse_math=False)
    axes.invert_yaxis()
    axes.grid(axis="x", color=look.grid, linewidth=0.8)


def _finish(figure: Figure, axes: Axes, look: Look, x: str, y: str = "") -> None:
    """Name the axes and put the legend above them."""
    axes.set_xlabel(x, color=look.faint, fontsize=SIZE)
    axes.set_ylabel(y, color=look.faint, fontsize=SIZE)
    labels = axes.get_legend_handles_labels()[1]
    one_row = sum(len(label) + 5 for label in labels) <= (44 if look.narrow else 120)
    legend = figure.legend(loc="outside upper left", ncols=max(one_row * len(labels), 1), frameon=False)
    for text in (*legend.get_texts(), *axes.texts):
        text.set(parse_math=False, fontsize=SIZE, color=look.ink)


def _label(name: str, look: Look) -> str:
    """Return `name` without what SVG cannot hold or what turns the line around, cut to the room there is."""
    room = 16 if look.narrow else 32
    clean = "".join(letter for letter in name if letter.isprintable()).lstrip("_") or "?"
    return clean if len(clean) <= room else clean[: room - 1] + "…"
