"""Runs -> the sections of the page that hold numbers: results, curves, classes, cost, configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure

from . import plots
from .canvas import to_svg
from .markup import Markup, join, name, tag
from .pictures import uri
from .reading import RunView, lead, real_only
from .theme import THEMES, Theme
from .words import MISSING, arm_name, duration, percent, points, signed, whole

Percents = Mapping[str, float]


def section(title: str, *children: str) -> Markup:
    """Return one section of the page."""
    return tag("section", tag("h2", title), *children)


def results(arms: Sequence[RunView]) -> Markup:
    """Return the table of results, one row per arm."""
    base = real_only(arms)
    head = (
        "arm",
        f"{lead(arms).summary.measured} accuracy",
        "against real only",
        "real images",
        "synthetic images",
        "steps",
        "training",
        "generation",
    )
    rows = [tag("tr", *_cells(head, arm, base), class_="lead" if arm is lead(arms) else "") for arm in arms]
    return section("Result", table(head, rows))


def _cells(head: Sequence[str], arm: RunView, base: RunView | None) -> list[Markup]:
    end = arm.summary
    values = (
        percent(end.accuracy),
        _against(end.accuracy, base.summary.accuracy if base and base is not arm else None),
        whole(end.real_images),
        whole(end.synthetic_images),
        whole(end.optimizer_steps),
        duration(end.train_seconds),
        duration(end.generation_seconds),
    )
    cells = [tag("td", value, data_label=label) for label, value in zip(head[1:], values, strict=True)]
    return [tag("th", name(arm_name(arm.name)), scope="row"), *cells]


def _against(value: float | None, base: float | None) -> str:
    return MISSING if value is None or base is None else signed(points(base, value))


def curves(arms: Sequence[RunView]) -> Markup:
    """Return accuracy by epoch, as a picture."""
    measured = lead(arms).summary.measured
    if not any(row.accuracy is not None for arm in arms for row in arm.epochs):
        return section("Accuracy by epoch", tag("p", f"No epoch measured the {measured} accuracy.", class_="note"))
    ends = "; ".join(f"{arm_name(arm.name)} ends at {percent(arm.summary.accuracy)}" for arm in arms)
    generated = _figure(lambda theme: plots.accuracy_figure(arms, theme), f"{measured.capitalize()} accuracy by epoch: {ends}")
    note = "One run per line; the axis does not start at zero."
    return section("Accuracy by epoch", generated, tag("p", note, class_="note"))


def classes(arms: Sequence[RunView]) -> Markup:
    """Return accuracy per class, real only against the lead arm (of a single run: first epoch against last)."""
    before, after, names = _two_sides(arms)
    arm, shown = lead(arms), plots.most_changed(before, after)
    count = arm.samples.by_class()
    parts: list[Markup] = []
    if shown:
        sides = f"{names[0]} against {names[1]}"
        alt = f"{arm.summary.measured.capitalize()} accuracy of {len(shown)} classes, {sides}; the table below has the numbers"
        parts.append(_figure(lambda theme: plots.class_figure(before, after, names, arm, theme), alt))
        all_shown = len(shown) == len(set(before) & set(after))
        first = "" if all_shown else f"The {len(shown)} classes that changed most. "
        worth = ": one seed, and a class has few images, so most of it may be noise" if len(arms) > 1 else ""
        note = f"{first}At the right, the change in points{worth}."
        parts.append(tag("p", note, class_="note"))
    head = ("class", *names, "change", "images generated")
    rows = [_class_row(head, each, before, after, count) for each in {**before, **after, **count}]
    return section("Accuracy by class", *parts, tag("details", tag("summary", "All numbers"), table(head, rows)))


def _two_sides(arms: Sequence[RunView]) -> tuple[Percents, Percents, tuple[str, str]]:
    arm, base = lead(arms), real_only(arms)
    if base and base is not arm:
        return base.summary.per_class, arm.summary.per_class, ("real only", arm.name)
    measured = [row for row in arm.epochs if row.per_class]
    if not measured:
        return {}, arm.summary.per_class, ("at first", "at the end")
    first, last = measured[0], measured[-1]
    return first.per_class, last.per_class, (f"epoch {first.epoch + 1}", f"epoch {last.epoch + 1}")


def _class_row(head: Sequence[str], each: str, before: Percents, after: Percents, count: Mapping[str, int]) -> Markup:
    first, last = before.get(each), after.get(each)
    values = (percent(first), percent(last), _against(last, first), whole(count.get(each, 0)))
    cells = (tag("td", value, data_label=label) for label, value in zip(head[1:], values, strict=True))
    return tag("tr", tag("th", name(each), scope="row"), *cells)


def cost(arms: Sequence[RunView]) -> Markup:
    """Return the time that every arm took, as a picture."""
    spent = "; ".join(
        f"{arm_name(arm.name)} {duration(arm.summary.train_seconds)} training and "
        f"{duration(arm.summary.generation_seconds)} generating"
        for arm in arms
    )
    return section("Cost", _figure(lambda theme: plots.cost_figure(arms, theme), f"Time: {spent}"))


def configuration(arms: Sequence[RunView]) -> Markup:
    """Return what was run: the facts of the lead arm, and the recipe of every arm, folded."""
    facts = [join(tag("dt", key.replace("_", " ")), tag("dd", name(fact))) for key, fact in lead(arms).summary.facts.items()]
    recipes = [
        tag("details", tag("summary", f"recipe.toml of {arm_name(arm.name)}"), tag("pre", arm.recipe, dir="ltr"))
        for arm in arms
        if arm.recipe
    ]
    return section("What was run", tag("dl", *facts), *recipes)


def table(head: Sequence[str], rows: Sequence[Markup], kind: str = "") -> Markup:
    """Return a table: titles of its columns, and rows made of cells; `kind` is a class of the style sheet."""
    titles = [tag("th", title, scope="col") for title in head]
    attributes = {"class_": kind} if kind else {}
    return tag("table", tag("thead", tag("tr", *titles)), tag("tbody", *rows), **attributes)


def _figure(draw: Callable[[Theme], Figure], alt: str) -> Markup:
    """Return one picture in four looks: the browser takes the one for its width and its light."""
    generated = [(theme, uri("image/svg+xml", to_svg(draw(theme)).encode())) for theme in THEMES]
    sources = [tag("source", media=theme.media, srcset=data) for theme, data in generated[:-1]]
    return tag("picture", *sources, tag("img", class_="plot", alt=alt, src=generated[-1][1]))
