"""A folder -> `report.html`: one page that opens offline, runs nothing, and shows data as text only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..core.files import write_text
from . import sections
from .filtered import filtered
from .gallery import gallery
from .markup import Markup, join, tag
from .reading import RunView, lead, read_arms
from .style import CSS, SOURCE
from .words import headline, next_command, remarks, verdict

POLICY = f"default-src 'none'; img-src data:; style-src {SOURCE}; base-uri 'none'; form-action 'none'"


def write_report(folder: Path) -> Path:
    """Write `folder/report.html` for a run or a demo, whole or not at all, and return its path.

    Raises:
        UserError: if `folder` holds neither a run nor a demo.
    """
    return write_page(folder / "report.html", render(read_arms(folder)))


def write_page(target: Path, page: str) -> Path:
    """Write `page` to `target`, whole or not at all, and return its path."""
    write_text(target, page)
    return target


def render(arms: Sequence[RunView]) -> str:
    """Return the page about `arms`: a single run, or the arms of a demo."""
    title = headline(arms)
    body = (
        tag("header", tag("p", _origin(arms), class_="eyebrow"), tag("h1", title, **_tone(arms)), _remarks(arms), _next(arms)),
        sections.results(arms),
        sections.curves(arms),
        sections.classes(arms),
        sections.cost(arms),
        gallery(arms),
        filtered(arms),
        sections.configuration(arms),
    )
    return document(title, *body)


def document(title: str, *body: str) -> str:
    """Return a whole page."""
    page = tag("html", tag("head", *_head(title)), tag("body", tag("main", *body)), lang="en")
    return f"<!doctype html>\n{page}\n"


def _head(title: str) -> tuple[Markup, ...]:
    return (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(CSS)),
    )


def _origin(arms: Sequence[RunView]) -> Markup:
    """Return what the numbers are about: data, model, generator, seed."""
    facts = lead(arms).summary.facts
    known = [facts[fact] for fact in ("data", "model", "generator") if fact in facts]
    seed = [f"seed {facts['seed']}"] if "seed" in facts else []
    return join(" · ".join(["actgen report", *known, *seed]))


def _tone(arms: Sequence[RunView]) -> dict[str, str]:
    """Return the class of the headline: its colour goes with the verdict, which its first word says."""
    found = verdict(arms)
    return {} if found is None else {"class_": found.word.replace(" ", "-")}


def _next(arms: Sequence[RunView]) -> Markup:
    why, command = next_command(arms)
    return tag("p", f"Next. {why}:", tag("code", command, dir="ltr"), class_="next")


def _remarks(arms: Sequence[RunView]) -> Markup:
    return tag("ul", *(tag("li", remark) for remark in remarks(arms)), class_="remarks")
