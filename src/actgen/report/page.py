"""A whole page: its head, its one style sheet, and what it may load."""

from __future__ import annotations

from .markup import Markup, tag
from .style import CSS, SOURCE


def document(title: str, *body: str, images: str = "data:") -> str:
    """Return a whole page that runs nothing and shows pictures from `images` alone, a source list of a content policy."""
    page = tag("html", tag("head", *_head(title, images)), tag("body", tag("main", *body)), lang="en")
    return f"<!doctype html>\n{page}\n"


def policy(images: str) -> str:
    """Return the content policy of a page with pictures from `images`."""
    return f"default-src 'none'; img-src {images}; style-src {SOURCE}; base-uri 'none'; form-action 'none'"


def _head(title: str, images: str) -> tuple[Markup, ...]:
    return (
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(images)),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(CSS)),
    )
