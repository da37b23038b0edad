"""What pulls an image in one denoising step. A guide is looked up by name in `GUIDES`; `register_guide` adds one."""

from __future__ import annotations

from collections.abc import Iterable

from ...core.errors import UserError, refuse_unknown
from ...core.types import Request
from .entropy import EntropyGuide
from .guide import NEEDS, SOURCE, Guide, GuideSettings
from .image import ImageGuide, WholeImageGuide
from .text import AdversarialGuide, ContrastiveGuide

GUIDES: dict[str, Guide] = {
    guide.name: guide for guide in (ContrastiveGuide(), AdversarialGuide(), EntropyGuide(), ImageGuide(), WholeImageGuide())
}
"""All guides by name, in the order in which they act on a step; those that are registered later act later."""


def register_guide(guide: Guide) -> None:
    """Let requests switch on `guide` by its name; `UserError` if the name is taken or a need unknown."""
    if guide.name in GUIDES:
        raise UserError(
            f"there is a guide called {guide.name} already. Give yours another name; taken are {', '.join(GUIDES)}."
        )
    for need in sorted(guide.needs):
        refuse_unknown(f"{guide.name}.needs has", need, sorted(NEEDS))
    GUIDES[guide.name] = guide


def find_guides(names: Iterable[str]) -> list[Guide]:
    """Return the guides of these names in the order in which they act; `UserError` that lists all if there is no such guide."""
    wanted = set(names)
    for name in sorted(wanted):
        refuse_unknown("guide", name, GUIDES)
    return [guide for name, guide in GUIDES.items() if name in wanted]


def needs_of(request: Request, settings: GuideSettings) -> frozenset[str]:
    """Return what must be there to generate a request: what its guides need that act, and its source if it starts from that."""
    needs = {SOURCE} if request.strength < 1.0 else set()
    for guide in find_guides(request.guides):
        if guide.acts(settings):
            needs |= guide.needed(settings)
    return frozenset(needs)
