"""Text -> HTML that cannot be anything but text: what is not already markup is escaped, by construction."""

from __future__ import annotations

import html

VOID = frozenset({"img", "meta", "source"})


class Markup(str):
    """Finished HTML; any other string is data and is escaped when it enters an element."""

    __slots__ = ()


def tag(element: str, *children: str, **attributes: str) -> Markup:
    """Return an element. `class_` writes class, `data_label` data-label; children that are not markup are data."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items()}
    opening = "".join(f' {key}="{html.escape(value)}"' for key, value in named.items())
    return Markup(f"<{element}{opening}>" if element in VOID else f"<{element}{opening}>{join(*children)}</{element}>")


def join(*parts: str) -> Markup:
    """Return the parts one after the other, data escaped."""
    return Markup("".join(part if isinstance(part, Markup) else html.escape(part) for part in parts))


def name(text: str) -> Markup:
    """Return a name from data, kept apart from the direction of the text around it (a name may be right to left)."""
    return tag("bdi", text)
