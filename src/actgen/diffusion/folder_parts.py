"""A generator's folder as people have it: half-precision files only, optional parts listed but not there."""

from __future__ import annotations

import json
from pathlib import Path

from ..core.errors import UserError
from ..core.text import read_text, visible

OPTIONAL = ("safety_checker", "feature_extractor", "image_encoder")
_VARIANTS = ("fp16", "bf16", "non_ema", "ema")


def load_options(folder: Path) -> dict[str, object]:
    """Return how `from_pretrained` opens a folder: its variant, and None for optional parts that are not there.

    `UserError` that names a part that is listed, needed and not there.
    """
    index = json.loads(read_text(folder / "model_index.json"))
    listed = [name for name, value in index.items() if isinstance(value, list) and not name.startswith("_") and any(value)]
    missing = [name for name in listed if not (folder / name).is_dir()]
    if needed := [name for name in missing if name not in OPTIONAL]:
        raise UserError(
            f"--generator {visible(str(folder))}: {visible(needed[0])}/ is listed in model_index.json and is not there. "
            "Download the whole generator, or copy that folder from another of its kind."
        )
    options: dict[str, object] = dict.fromkeys(missing)
    variant = next((name for name in _VARIANTS if _only(folder, listed, name)), None)
    return options | ({"variant": variant} if variant else {})


def _only(folder: Path, parts: list[str], variant: str) -> bool:
    """Whether there is a part whose weights are there in this variant only."""
    for part in parts:
        names = [path.name for path in (folder / part).glob("*.safetensors")] if (folder / part).is_dir() else []
        if names and all(f".{variant}." in name for name in names):
            return True
    return False
