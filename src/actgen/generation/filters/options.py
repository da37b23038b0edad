"""The settings of the filters ([filters] in a recipe)."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.errors import refuse_outside, refuse_unknown

OFF, TOP_K, PROBABILITY = "off", "top-k", "probability"
RULES = (OFF, TOP_K, PROBABILITY)


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a generated image must pass to be kept. On unless switched off: `leakage` and `emptiness`.

    `leakage`: refuse what is nearer than `leakage_distance` to a test image (`thumbnails.py` says how distance is measured;
    the number comes from benchmarks/leakage.py). `duplicates`: the same for what is stored of the image's class. `emptiness`:
    refuse pictures whose brightness varies by less than this many of 255 grey levels (standard deviation). `sharpness`: refuse
    pictures with less than this share of the detail that is usual in real images of the class (variance of the Laplacian; 0:
    off).

    `consistency`: the classifier must see something of the class: "top-k", the class is among its first `top_k`;
    "probability", it has at least that. The classifier is an average over the rounds: `average` of the old one, the rest of
    the new. What is generated is what it gets wrong, so be lenient. `clip`: folder or hub id of a CLIP model, which must have
    the class among its first `clip_top_k` of the prompts of all classes.

    `retries`: how often a refused image is generated again from another seed within its round. `keep_rejected`: keep the
    refused pictures, in set_aside/refused of the run.
    """

    leakage: bool = True
    leakage_distance: float = 0.1
    duplicates: bool = False
    duplicates_distance: float = 0.1
    emptiness: float = 1.0
    sharpness: float = 0.0
    consistency: str = OFF
    top_k: int = 3
    probability: float = 0.01
    average: float = 0.5
    clip: str = ""
    clip_top_k: int = 3
    retries: int = 1
    keep_rejected: bool = False

    def __post_init__(self) -> None:
        refuse_unknown("filters.consistency =", self.consistency, RULES)
        for name, (low, high) in _RANGES.items():
            refuse_outside(f"filters.{name} =", getattr(self, name), low, high)


_RANGES: dict[str, tuple[float, float]] = {
    "leakage_distance": (0, 2),
    "duplicates_distance": (0, 2),
    "emptiness": (0, 127),
    "sharpness": (0, 1),
    "top_k": (1, 1e6),
    "probability": (0, 1),
    "average": (0, 0.999),
    "clip_top_k": (1, 1e6),
    "retries": (0, 100),
}
