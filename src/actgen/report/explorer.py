"""Every generated image, to be found: pages by class, least certain first, that need no script.

    RUN/explorer/index.html              counts of class by round, each a link; rejected images
    RUN/explorer/class-3.html            the least certain images of a class; class-3-page-2.html and so on
    RUN/explorer/class-3-round-7.html    of one round
    RUN/explorer/class-3-rejected.html   what the filters rejected

Pages link to the files of the store, so that they stay small, and how many images they show in all is bounded; what is not
shown is counted.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from ..core.files import make_folder
from .markup import Markup, join, name, tag
from .page import document
from .reading import RunView
from .samples import SampleRow, Samples
from .words import MISSING, arm_name, whole

FOLDER = "explorer"
PER_PAGE = 100
MOST_TILES = 12_000
"""Tiles of all pages of one kind together: by class, by class and round."""
MOST_PAGES = 10
MOST_LISTS = 600
"""Pages by class and round, at most; of more there are pages by class alone."""
IMAGES = "data: file: 'self'"
"""Where the pictures of these pages may come from: they lie beside the page."""


def write_explorer(arm: RunView) -> Path | None:
    """Write RUN/explorer anew and return its index; None if the run has generated nothing."""
    home = arm.folder / FOLDER
    if not len(arm.samples) and not len(arm.rejected):
        return None
    make_folder(home)
    written = set()
    for file, page in _pages(arm, home):
        (home / file).write_text(page, encoding="utf-8", newline="\n")  # made anew from the store at any time: no fsync
        written.add(file)
    for old in home.glob("*.html"):
        if old.name not in written:
            old.unlink()
    return home / "index.html"


def class_file(place: int) -> str:
    """Return the file name of the page of the class at `place` of `class_names`."""
    return f"class-{place}.html"


def class_names(arm: RunView) -> list[str]:
    """Return the classes that images were generated for, in their order in the pages."""
    return sorted({*arm.samples.names, *arm.rejected.names})


def _pages(arm: RunView, home: Path) -> Iterator[tuple[str, str]]:
    """Yield file name and text of every page."""
    classes, rounds = class_names(arm), arm.samples.rounds
    if len(classes) * len(rounds) > MOST_LISTS:
        rounds = []
    yield "index.html", _index(arm, classes, rounds)
    each = min(MOST_PAGES * PER_PAGE, max(20, MOST_TILES // max(1, len(classes))))
    few = min(PER_PAGE, max(10, MOST_TILES // max(1, len(classes) * len(rounds))))
    for place, class_name in enumerate(classes):
        ranked, lost = (rows.least_certain.get(class_name, []) for rows in (arm.samples, arm.rejected))
        by_round: dict[int, list[int]] = {}
        for one in ranked:
            by_round.setdefault(arm.samples.rounds_N[one], []).append(one)
        stem = f"class-{place}"
        kinds = [("all rounds", f"{stem}.html")] * bool(ranked)
        kinds += [(f"round {number}", f"{stem}-round-{number}.html") for number in rounds if number in by_round]
        kinds += [("rejected", f"{stem}-rejected.html")] * bool(lost)
        shown = _Pages(arm, home, class_name, kinds)
        yield from shown.of(arm.samples, ranked, each, stem, "")
        for number in rounds:
            yield from shown.of(arm.samples, by_round.get(number, []), few, f"{stem}-round-{number}", f", round {number}")
        yield from shown.of(arm.rejected, lost, each, f"{stem}-rejected", ", rejected by the filters")


def _index(arm: RunView, classes: Sequence[str], rounds: Sequence[int]) -> str:
    title = f"Generated images of {arm_name(arm.name)}"
    cells = Counter(zip(arm.samples.classes_N, arm.samples.rounds_N, strict=True))
    by_class, lost = arm.samples.by_class(), arm.rejected.by_class()
    head = ("class", "all", *(f"round {number}" for number in rounds), "rejected")
    rows = []
    for place, class_name in enumerate(classes):
        label = arm.samples.names.index(class_name) if class_name in arm.samples.names else -1
        counts = [
            (by_class[class_name], class_file(place)),
            *((cells[label, number], f"class-{place}-round-{number}.html") for number in rounds),
            (lost[class_name], f"class-{place}-rejected.html"),
        ]
        links = (
            tag("td", tag("a", whole(many), href=href) if many else MISSING, data_label=label)
            for (many, href), label in zip(counts, head[1:], strict=True)
        )
        rows.append(tag("tr", tag("th", name(class_name), scope="row"), *links))
    table = tag("table", tag("thead", tag("tr", *(tag("th", one, scope="col") for one in head))), tag("tbody", *rows))
    note = (
        "Each number leads to its images, those first of whose class the classifier of that time was least certain: a negative "
        "margin means that it took the image for another class."
    )
    body = (
        _head(title, tag("a", "Report", href=_report(arm))),
        tag("p", note, class_="note"),
        tag("div", table, class_="wide"),
    )
    return document(title, *body, images=IMAGES)


class _Pages:
    """The pages of one class."""

    def __init__(self, arm: RunView, home: Path, class_name: str, kinds: Sequence[tuple[str, str]]) -> None:
        self.arm, self.home, self.class_name, self.kinds = arm, home, class_name, kinds

    def of(self, rows: Samples, places: Sequence[int], most: int, stem: str, what: str) -> Iterator[tuple[str, str]]:
        """Yield file name and text of the pages that show the first `most` of `places`; nothing if there are none."""
        shown = places[:most]
        parts = [shown[start : start + PER_PAGE] for start in range(0, len(shown), PER_PAGE)]
        names = [f"{stem}{f'-page-{number}' if number > 1 else ''}.html" for number in range(1, len(parts) + 1)]
        title = f"{self.class_name}{what}"
        for number, (part, file) in enumerate(zip(parts, names, strict=True)):
            note = (
                f"{number * PER_PAGE + 1} to {number * PER_PAGE + len(part)} of {whole(len(places))} images, least certain "
                f"first{'' if len(shown) == len(places) else f'; the first {whole(len(shown))} have pages'}."
            )
            tiles = tag("ul", *(self._tile(row) for row in rows.read(part)), class_="tiles")
            turn = _turn(names, number)
            kinds = tag("nav", *(_link(text, href, href == names[0]) for text, href in self.kinds), aria_label="filter")
            yield (
                file,
                document(
                    title,
                    _head(title, tag("a", "All classes", href="index.html"), tag("a", "Report", href=_report(self.arm))),
                    kinds,
                    tag("p", note, class_="note"),
                    tiles,
                    turn,
                    images=IMAGES,
                ),
            )

    def _tile(self, row: SampleRow) -> Markup:
        """Return one image: at least 160 pixels, its key, what was asked and what it was taken for, how to have it again."""
        wrong = row.predicted not in ("", row.class_name)
        seen = name(row.predicted) if row.predicted else Markup("not kept")
        facts = [
            ("asked for", name(row.class_name)),
            ("taken for", seen),
            ("margin", Markup(MISSING if row.margin is None else f"{row.margin:+.2f}".replace("-", "−"))),
            ("probability", Markup(MISSING if row.probability is None else f"{100 * row.probability:.1f}%")),
            *([("rejected", join(row.reason))] if row.reason else []),
            *([("guide taken for", name(row.guide_predicted))] if row.guide_predicted else []),
            ("round", Markup(MISSING if row.round is None else str(row.round))),
        ]
        listed = tag("dl", *(part for title, value in facts for part in (tag("dt", title), tag("dd", value))))
        again = [] if row.reason else [tag("details", tag("summary", "generate again"), tag("code", self._again(row)))]
        head = tag("p", row.key, class_="key")
        return tag(
            "li", self._picture(row), head, listed, *again, id=f"k-{quote(row.key)}", class_="wrong" if wrong else "right"
        )

    def _picture(self, row: SampleRow) -> Markup:
        if row.image is None:
            return tag("div", "not kept", class_="missing")
        href = quote(os.path.relpath(row.image, self.home).replace(os.sep, "/"))
        shown = tag("img", src=href, loading="lazy", width="176", height="176", alt=f"{row.key}, asked for {row.class_name}")
        guide = []
        if row.guide is not None:
            source = quote(os.path.relpath(row.guide, self.home).replace(os.sep, "/"))
            guide = [tag("img", src=source, loading="lazy", class_="small", width="48", height="48", alt="its guide")]
        return tag("a", shown, *guide, href=href)

    def _again(self, row: SampleRow) -> str:
        store = shlex.quote(str(self.arm.folder / "store"))
        return f"actgen generate --from-manifest {store} --key {shlex.quote(row.key)} --out again"


def _report(arm: RunView) -> str:
    """Return the link to the page of the run, or of the demo that it is an arm of."""
    demo = arm.folder.parent.name == "arms" and (arm.folder.parents[1] / "summary.json").is_file()
    return "../../../report.html" if demo else "../report.html"


def _head(title: str, *links: Markup) -> Markup:
    return tag("header", tag("nav", *links, aria_label="up"), tag("h1", title))


def _link(text: str, href: str, here: bool) -> Markup:
    return tag("a", text, href=href, **({"aria_current": "page"} if here else {}))


def _turn(names: Sequence[str], number: int) -> Markup:
    """Return the links to the page before and the page after."""
    links = [tag("a", "previous", href=names[number - 1], rel="prev")] * (number > 0)
    links += [tag("a", "next", href=names[number + 1], rel="next") for _ in [0] if number + 1 < len(names)]
    return tag("nav", *links, aria_label="pages")
