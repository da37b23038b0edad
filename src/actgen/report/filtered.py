"""Keep rates of the filters, and some of what they refused, with the reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .gallery import spread
from .markup import Markup, name, tag
from .pictures import picture
from .reading import RunView
from .samples import SampleRow, Samples
from .sections import section, table
from .values import as_count, as_number, as_object
from .words import arm_name, percent, whole

MOST_REJECTED = 12
HEAD = ("generated", "kept", "keep rate")


def filtered(arms: Sequence[RunView]) -> Markup:
    """Return what the filters let through, of every arm that has some; nothing if no arm has."""
    some = [arm for arm in arms if arm.summary.filters]
    return section("Filters", *(part for arm in some for part in _passed(arm))) if some else Markup()


def _passed(arm: RunView) -> list[Markup]:
    counts = arm.summary.filters
    generated, kept = as_count(counts.get("generated")) or 0, as_count(counts.get("kept")) or 0
    filters, classes = (as_object(counts.get(part)) for part in ("filters", "classes"))
    note = tag(
        "p",
        f"{arm_name(arm.name)}: {whole(kept)} of {whole(generated)} generated images passed the filters "
        f"({', '.join(filters) or 'none was on'}).",
        class_="note",
    )
    if kept == generated:
        return [note]
    by_class = tag("details", tag("summary", "By class"), _table("class", classes))
    return [note, _table("filter", filters), by_class, *_strip(arm.rejected)]


def _table(what: str, counts: Mapping[str, object]) -> Markup:
    return table((what, *HEAD), [_row(each, as_object(one)) for each, one in counts.items()])


def _row(each: str, counts: Mapping[str, object]) -> Markup:
    rate = as_number(counts.get("keep_rate"))
    values = (
        whole(as_count(counts.get("generated"))),
        whole(as_count(counts.get("kept"))),
        percent(None if rate is None else 100 * rate),
    )
    cells = (tag("td", value, data_label=label) for label, value in zip(HEAD, values, strict=True))
    return tag("tr", tag("th", name(each), scope="row"), *cells)


def _strip(rows: Samples) -> list[Markup]:
    """Return some of the refused pictures, if they were kept."""
    kept = [place for place, flag in enumerate(rows.kept_N) if flag]
    if not kept:
        return []
    shown = rows.read(spread(kept, MOST_REJECTED))
    note = f"{len(shown)} of {len(rows)} refused images, spread evenly over the run, with the reason."
    return [tag("h3", "Refused"), tag("p", note, class_="note"), tag("ul", *map(_card, shown), class_="strip")]


def _card(row: SampleRow) -> Markup:
    shown = picture(row.image)
    if shown is None:
        inner = tag("div", "not kept", class_="missing")
    else:
        inner = tag("img", class_="pixelated" if shown.pixelated else "smooth", alt=f"refused, {row.class_name}", src=shown.uri)
    return tag("li", tag("figure", inner, tag("figcaption", tag("span", name(row.class_name)), tag("span", row.reason))))
