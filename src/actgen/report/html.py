"""A folder -> `report.html`: one page that opens offline, runs nothing, and shows data as text only."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from ..core.files import write_text
from . import sections
from .explorer import write_explorer
from .filtered import filtered
from .gallery import gallery
from .markup import Markup, join, tag
from .page import document
from .reading import RunView, lead, read_arms
from .words import headline, next_command, remarks, verdict


def write_report(folder: Path, *, explorer: bool = True) -> Path:
    """Write `folder/report.html` for a run or a demo, whole or not at all, and return its path.

    And the pages of all generated images in every arm's folder `explorer`, unless told otherwise.

    Raises:
        UserError: if `folder` holds neither a run nor a demo.
    """
    arms = read_arms(folder)
    found = [(arm, write_explorer(arm)) for arm in arms] if explorer else []
    links = {arm.name: quote(os.path.relpath(path, folder)) for arm, path in found if path is not None}
    return write_page(folder / "report.html", render(arms, links))


def write_page(target: Path, page: str) -> Path:
    """Write `page` to `target`, whole or not at all, and return its path."""
    write_text(target, page)
    return target


def render(arms: Sequence[RunView], explorers: Mapping[str, str] | None = None) -> str:
    """Return the page about `arms`: a single run, or the arms of a demo; `explorers`: where all images of an arm are shown."""
    title = headline(arms)
    body = (
        tag("header", tag("p", _origin(arms), class_="eyebrow"), tag("h1", title, **_tone(arms)), _remarks(arms), _next(arms)),
        sections.results(arms),
        sections.curves(arms),
        sections.classes(arms),
        sections.cost(arms),
        gallery(arms, explorers or {}),
        filtered(arms),
        sections.configuration(arms),
    )
    return document(title, *body)


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
