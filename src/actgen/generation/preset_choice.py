"""Which preset a generator needs, from what its files say: nothing is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from ..core.text import read_text
from ..diffusion.families import FAMILIES, TOLD

DEFAULT, TINY, FLOW, EMBEDDED, FAST, DIT = "default", "tiny", "flow", "flow-embedded", "flow-fast", "dit"
TURBO = "turbo"
_NOISE_PREDICTION = ("PixArtSigmaPipeline", "PixArtAlphaPipeline")


def preset_for(generator: str) -> str:
    """Return the preset for a pipeline folder, or a hub id that is in the cache; "default" for others and for UNets.

    "tiny" is for what `finetune --from-scratch tiny` made. Files do not say that Z-Image Turbo and Stable Diffusion 3.5 Turbo
    were distilled to few steps; their names do.
    """
    if _table(generator, "training.json", "config").get("architecture") == TINY:
        return TINY
    index = _table(generator, "model_index.json")
    family = FAMILIES.get(str(index.get("_class_name")))
    if family is None:
        return DEFAULT
    if index["_class_name"] in _NOISE_PREDICTION:
        return DIT
    if family.branches == TOLD:
        return EMBEDDED if _table(generator, "transformer/config.json").get("guidance_embeds") else FAST
    return FAST if index.get("is_distilled") or TURBO in generator.lower() else FLOW


def _table(generator: str, name: str, key: str = "") -> dict[str, object]:
    """Return a JSON object of a generator's folder or cached copy, or the one under its `key`; {} if there is none."""
    try:
        found = json.loads(read_text(_path(generator, name)))
        found = found[key] if key else found
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _path(generator: str, name: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    here = Path(generator) / name
    if here.exists() or Path(generator).exists() or generator.count("/") != 1:
        return here
    cached = try_to_load_from_cache(generator, name)
    return Path(cached) if isinstance(cached, str) else here
