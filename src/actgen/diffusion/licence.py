"""The licence that a generator's card states: the front matter of README.md in its folder, or of its snapshot in the cache."""

from __future__ import annotations

import re
from pathlib import Path

from ..core.text import read_text, visible

_LINE = re.compile(r"^(license|license_name):[ \t]*[\"']?([\w.+-]+)", re.MULTILINE)


def licence_of(name: str) -> str:
    """Return the licence by its identifier, as the card has it; "" where no card is here, or it states none."""
    card = Path(name) / "README.md"
    if not card.is_file():
        card = _cached(name)
    try:
        text = read_text(card) if card.is_file() else ""
    except (OSError, ValueError):
        return ""
    front = text.split("---", 2)[1] if text.startswith("---") and text.count("---") > 1 else ""
    said = dict(_LINE.findall(front))
    return visible(said.get("license_name", "") if said.get("license") == "other" else said.get("license", ""))


def _cached(name: str) -> Path:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "README.md")
    except HFValidationError:
        found = None
    return Path(found) if isinstance(found, str) else Path()
