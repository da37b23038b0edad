"""How a figure looks on one kind of screen: colours for light and dark paper, sizes for desk and phone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NAMED = ("none", "text-only", "actgen")


@dataclass(frozen=True, kw_only=True)
class Theme:
    """Colours (hex) and the width of a figure in CSS pixels; `media` is the query under which a page shows it."""

    media: str
    width: int
    paper: str
    ink: str
    faint: str
    grid: str
    named: Mapping[str, str]
    others: tuple[str, ...]

    @property
    def narrow(self) -> bool:
        """Whether the figure is for a phone."""
        return self.width < 500

    def colour(self, arm: str, position: int = 0) -> str:
        """Return the colour of `arm`: its own, or that of its position in the report; grey is real data only."""
        return self.named.get(arm, self.others[position % len(self.others)])


_OTHERS = (
    (
        "#7a4fa3",
        "#3f7d3a",
        "#a83a5b",
        "#8a6d1f",
        "#2f8f86",
        "#5a6fc0",
        "#b0552f",
        "#6b7f1f",
        "#93528a",
        "#3d5a73",
        "#7d5a4f",
        "#1f7a4d",
    ),
    (
        "#b493dc",
        "#86c07f",
        "#e58aa6",
        "#d6bc62",
        "#6fcfc5",
        "#94a6f0",
        "#ee9a77",
        "#b5cb63",
        "#d79ad0",
        "#9ab7d0",
        "#c9a393",
        "#6fcf9f",
    ),
)
"""On light and on dark paper."""


def _look(dark: bool, phone: bool) -> Theme:
    queries = ["(max-width: 640px)"] * phone + ["(prefers-color-scheme: dark)"] * dark
    named = ("#8f918f", "#e8a14f", "#62b6d6") if dark else ("#8b8d8a", "#c46a12", "#1a6f8f")
    return Theme(
        media=" and ".join(queries),
        width=344 if phone else 880,
        paper="#17181a" if dark else "#fbfaf7",
        ink="#e9e7e1" if dark else "#1d1e20",
        faint="#a8a7a1" if dark else "#62645f",
        grid="#37383b" if dark else "#e2dfd8",
        named=dict(zip(NAMED, named, strict=True)),
        others=_OTHERS[dark],
    )


THEMES = tuple(_look(dark, phone) for phone in (True, False) for dark in (True, False))
"""Most special first, as `<picture>` wants its sources; the last one needs no media query."""
LIGHT = THEMES[-1]
"""The look of a figure outside a page."""
