"""Sample -> kept, or rejected with the reason. `open_chain` makes the chain that the options ask for."""

from __future__ import annotations

from collections.abc import Mapping

from ...data.datasets.imageset import ImageSet
from .base import Filter
from .chain import Chain
from .clip import ClipConsistency
from .consistency import Consistency
from .duplicates import Duplicates, Leakage
from .options import OFF, Filters
from .quality import Emptiness, Sharpness


def open_chain(
    options: Filters, real: ImageSet, test: ImageSet | None, device: str = "cpu", prompts: Mapping[str, str] | None = None
) -> Chain:
    """Return the filters that are on, the cheap ones first.

    `test` are the images that accuracy is measured on; `prompts` those of classes that have one of their own.
    """
    filters: list[Filter] = []
    if options.emptiness > 0:
        filters.append(Emptiness(options.emptiness))
    if options.sharpness > 0:
        filters.append(Sharpness(options.sharpness, real))
    if options.leakage and test is not None:
        filters.append(Leakage(options.leakage_distance, test))
    if options.duplicates:
        filters.append(Duplicates(options.duplicates_distance))
    if options.consistency != OFF:
        filters.append(Consistency(options.consistency, options.top_k, options.probability))
    if options.clip:
        filters.append(ClipConsistency(options.clip, options.clip_top_k, real.class_names, device, prompts))
    return Chain(options, filters)
