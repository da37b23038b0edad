"""A bench -> one self-contained page, and its figures as PNG files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ...core.files import write_bytes
from ...report.canvas import to_png
from ...report.markup import Markup, join, name, tag
from ...report.page import document
from ...report.pictures import uri
from ...report.sections import section, table
from ...report.theme import LIGHT, THEMES, Theme
from .compare import Comparison, best_first, compare
from .contrasts import measure_contrasts
from .figures import arms_figure, cost_figure, epochs_figure, gain_figure
from .protocol import Protocol
from .rows import Row, kind, options, right_of, unit
from .table import cells, contrast_cells, contrast_heads, declared_note, extra, heads, interval_words, notes, points, unit_name
from .words import caption, headline, lead, remarks, tone

Draw = Callable[[Theme], Figure]
PARTS = {
    "arms": ("Gain by arm", "Bars: mean paired difference to real only. Lines: 95% intervals (Student's t). Dots: seeds."),
    "gain": ("Gain against number of images", "95% intervals. In small panels, the other arms are grey."),
    "cost": ("Gain against cost", "Time of a run, training and generation; 95% intervals."),
    "epochs": (
        "Accuracy by epoch",
        "Mean over the seeds with its 95% interval, at the largest budget; dashed: real only. The "
        "axis does not start at zero, and early epochs are cut off.",
    ),
}
"""The figures: title, and what is to be known of it."""


def write_figures(out: Path, rows: Sequence[Row]) -> None:
    """Write the figures of every recipe as PNG: OUT/arms.png or, of several recipes, OUT/RECIPE-arms.png, and so on."""
    for recipe, part in by_recipe(rows).items():
        prefix = "" if len(by_recipe(rows)) == 1 else f"{recipe}-"
        for figure, draw in generated(part).items():
            write_bytes(out / f"{prefix}{figure}.png", to_png(draw(LIGHT), LIGHT))


def render(rows: Sequence[Row], protocol: Protocol | None = None) -> str:
    """Return the page about all recipes in `rows`; of a `protocol`, as `Protocol.shown` gives them."""
    parts = by_recipe(rows)
    primary = [] if protocol is None else [_primary(rows, protocol)]
    title = headline(compare(rows), protocol) if len(parts) == 1 else f"{len(parts)} recipes compared"
    return document(title, *primary, *(_recipe(recipe, part, protocol) for recipe, part in parts.items()))


def by_recipe(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows of every recipe."""
    return {recipe: [row for row in rows if row["recipe"] == recipe] for recipe in dict.fromkeys(row["recipe"] for row in rows)}


def generated(rows: Sequence[Row]) -> dict[str, Draw]:
    """Return what draws the figures of one recipe; those that would be empty are left out."""
    compared = compare(rows)
    paired = [one for one in compared if one.gain is not None]
    found: dict[str, Draw] = {}
    if paired:
        found["arms"] = lambda theme: arms_figure(compared, theme)
    if len({one.images for one in paired if one.images}) > 1:
        found["gain"] = lambda theme: gain_figure(compared, theme)
    if paired:
        found["cost"] = lambda theme: cost_figure(compared, theme)
    if any(value is not None for row in rows for value in row.get("by_epoch") or ()):
        found["epochs"] = lambda theme: epochs_figure(rows, compared, theme)
    return found


def _primary(rows: Sequence[Row], protocol: Protocol) -> Markup:
    titles, right = contrast_heads(protocol), right_of(rows[0])
    lines = [tag("tr", *_cells(titles, contrast_cells(one, protocol.alpha))) for one in measure_contrasts(rows, protocol)]
    note = declared_note(protocol, 0 if right is None else len(right), final=False)
    return section("Primary contrasts", table(titles, lines, "long"), tag("p", note, class_="note"))


def _recipe(recipe: str, rows: Sequence[Row], protocol: Protocol | None) -> Markup:
    compared = best_first(compare(rows))
    said = tag("ul", *(tag("li", remark) for remark in remarks(compared, rows, protocol)), class_="remarks")
    title = tag("h1", headline(compared, protocol), class_=tone(compared, protocol))
    count, repeated = len({unit(row) for row in rows}), unit_name(rows)
    origin = (
        f"actgen bench · {recipe} · {count} {repeated if count > 1 else repeated[:-1]} · measured on {kind(rows[0])} images"
    )
    figures = (_figure(figure, draw, compared) for figure, draw in generated(rows).items())
    return join(
        tag("header", tag("p", origin, class_="eyebrow"), title, said),
        section("Result", _results(compared, kind(rows[0]), repeated, protocol)),
        *figures,
        _numbers(compared),
        _settings(rows),
    )


def _results(compared: Sequence[Comparison], measured: str, repeated: str, protocol: Protocol | None) -> Markup:
    more, also = extra(compared, protocol)
    titles, first = (*heads(measured, repeated), *more), lead(compared, protocol)
    rows = [
        tag("tr", *_cells(titles, (*cells(one), *own)), class_="lead" if one is first else "")
        for one, own in zip(compared, also, strict=True)
    ]
    return join(table(titles, rows, "long"), *(tag("p", note.replace("`", ""), class_="note") for note in notes(compared)))


def _cells(titles: Sequence[str], values: Sequence[str]) -> list[Markup]:
    head = tag("th", name(values[0]), scope="row")
    return [head, *(tag("td", value, data_label=title) for title, value in zip(titles[1:], values[1:], strict=True))]


def _figure(figure: str, draw: Draw, compared: Sequence[Comparison]) -> Markup:
    """Return one picture in four looks: the browser takes the one for its width and its light."""
    title, note = PARTS[figure]
    drawn = [(theme, uri("image/png", to_png(draw(theme), theme))) for theme in THEMES]
    sources = [tag("source", media=theme.media, srcset=data) for theme, data in drawn[:-1]]
    shown = tag("picture", *sources, tag("img", class_="plot", alt=caption(title, compared), src=drawn[-1][1]))
    return section(title, shown, tag("p", note, class_="note"))


def _numbers(compared: Sequence[Comparison]) -> Markup:
    titles = ("arm", "budget", "accuracy of every seed, %", "difference of every seed", "bootstrap interval")
    rows = [tag("tr", *_cells(titles, _all(one))) for one in compared]
    note = "The bootstrap (bias-corrected and accelerated) knows these seeds only; of few seeds its interval is too narrow."
    return section(
        "All numbers", tag("details", tag("summary", "Every seed"), table(titles, rows), tag("p", note, class_="note"))
    )


def _all(one: Comparison) -> tuple[str, ...]:
    return (
        one.arm,
        f"{one.budget:g}",
        ", ".join(f"{value:.2f}" for value in one.accuracies),
        ", ".join(points(value) for value in one.differences or ()),
        interval_words(one.bootstrap),
    )


def _settings(rows: Sequence[Row]) -> Markup:
    """Return what the arms share, and what each changes."""
    first = rows[0]
    declared = {row["arm"]: ", ".join(row.get("declared", ())) for row in rows}
    shared = "\n".join(f"{key} = {value!r}" for key, value in options(first).items())
    changes = "\n".join(f"{arm}: {keys}" for arm, keys in declared.items())
    return section(
        "What was run",
        tag("details", tag("summary", f"Settings of {first['arm']}"), tag("pre", shared, dir="ltr")),
        tag("details", tag("summary", "Settings that an arm changes"), tag("pre", changes, dir="ltr")),
    )
