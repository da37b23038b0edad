"""What figures are drawn on: axes without boxes, legend above, text as text. Only figure objects: no pyplot, no window."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from .theme import Theme

SIZE = 9.5


def sheet(theme: Theme, height: float) -> Figure:
    """Return an empty figure of `look.width` x `height` CSS pixels (96 to the inch)."""
    return Figure(figsize=(theme.width / 96, height / 96), dpi=96, layout="constrained")


def canvas(theme: Theme, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of `look.width` x `height` CSS pixels and its axes."""
    figure = sheet(theme, height)
    axes = figure.add_subplot()
    clear(axes, theme)
    return figure, axes


def clear(axes: Axes, theme: Theme) -> None:
    """Take paper, boxes and ticks away from axes."""
    axes.patch.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelcolor=theme.ink, labelsize=SIZE)


def name_bars(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    """Name horizontal bars from the top down; `$` is a letter here, not mathematics."""
    axes.set_yticks(range(len(names)), [label(name, theme) for name in names], parse_math=False)
    axes.invert_yaxis()
    axes.grid(axis="x", color=theme.grid, linewidth=0.8)


def name_axes(axes: Axes, theme: Theme, x: str, y: str = "") -> None:
    """Name the axes."""
    axes.set_xlabel(x, color=theme.faint, fontsize=SIZE)
    axes.set_ylabel(y, color=theme.faint, fontsize=SIZE)


def finish(figure: Figure, axes: Axes, theme: Theme, x: str, y: str = "") -> None:
    """Name the axes and put the legend above them, in as many columns as there is room for."""
    name_axes(axes, theme, x, y)
    labels = axes.get_legend_handles_labels()[1]
    room = (44 if theme.narrow else 120) // (5 + max(map(len, labels), default=0))
    legend = figure.legend(loc="outside upper left", ncols=max(min(room, len(labels)), 1), frameon=False)
    for text in (*legend.get_texts(), *axes.texts):
        text.set(parse_math=False, fontsize=SIZE, color=theme.ink)


def label(name: str, theme: Theme) -> str:
    """Return `name` without what SVG cannot hold or what turns the line around, cut to the room there is."""
    room = 16 if theme.narrow else 32
    clean = "".join(letter for letter in name if letter.isprintable()).lstrip("_") or "?"
    return clean if len(clean) <= room else clean[: room - 1] + "…"


def to_svg(figure: Figure) -> str:
    """Return `figure` as SVG text, the same for the same figure; words stay words, in the reader's own font."""
    buffer = io.StringIO()
    with _rendering():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue().replace("'DejaVu Sans', ", "system-ui, ")


def to_png(figure: Figure, theme: Theme, scale: float = 2) -> bytes:
    """Return `figure` as a PNG of 256 colours on the paper of `look`, `scale` pixels to a CSS pixel."""
    drawn, small = io.BytesIO(), io.BytesIO()
    with _rendering():
        figure.savefig(drawn, format="png", dpi=96 * scale, facecolor=theme.paper)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()


@contextmanager
def _rendering() -> Iterator[None]:
    """Keep text as text, and say nothing of glyphs that the measuring font lacks: the reader's browser has them."""
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "actgen"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(?s).*[Gg]lyph")
        yield
