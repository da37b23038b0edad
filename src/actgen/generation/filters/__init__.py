"""Sample -> kept, or rejected with the reason. `open_chain` makes the chain asked for; `register_filter` adds a filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...core.errors import UserError
from ...data.datasets.imageset import ImageSet
from .base import Filter
from .chain import Chain
from .clip import ClipConsistency
from .consistency import Consistency
from .duplicates import Duplicates, Leakage
from .options import OFF, Filters
from .quality import Emptiness, Sharpness

BUILT_IN = (*(part.name for part in (Emptiness, Sharpness, Leakage, Duplicates, Consistency)), ClipConsistency.name)
REGISTERED: dict[str, Callable[[ImageSet], Filter]] = {}
"""What opens a filter from outside the package, by the filter's name."""


def register_filter(name: str, make: Callable[[ImageSet], Filter]) -> None:
    """Let the filter that `make(real_training_images)` returns judge in every run that is opened from now on.

    It comes after those that [filters] switches on, and its `name`, as given here, stands in the rejection log. A class whose
    constructor takes the real images will do: `register_filter("mine", Mine)`. `UserError` if the name is taken.
    """
    if name in (taken := (*BUILT_IN, *REGISTERED)):
        raise UserError(f"there is a filter called {name} already. Give yours another name; taken are {', '.join(taken)}.")
    REGISTERED[name] = make


def _open_registered(name: str, real: ImageSet) -> Filter:
    if (opened := REGISTERED[name](real)).name != name:
        raise UserError(f"the filter registered as {name} calls itself {opened.name}. Register it under its own name.")
    return opened


def open_chain(
    options: Filters, real: ImageSet, test: ImageSet | None, device: str = "cpu", prompts: Mapping[str, str] | None = None
) -> Chain:
    """Return the filters that are on, the cheap ones first and those that were registered last.

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
    filters += [_open_registered(name, real) for name in REGISTERED]
    return Chain(options, filters)
