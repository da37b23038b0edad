"""What a sampler looks at beside the requests."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from PIL import Image

from ..classifiers.classifier import Classifier
from ..core.types import Request

GuideImage = Callable[[Request], Image.Image]


@dataclass(frozen=True, kw_only=True)
class SamplingContext:
    """What requests need that is not written in them; None for what none of them needs.

    `guide_image` returns the real image that a request names; `classifier` is what guides and selection ask. `done`: the keys
    of requests that were generated before a stop; the others are generated in the same batches as without it.
    """

    guide_image: GuideImage | None = None
    classifier: Classifier | None = None
    done: Collection[str] = ()


NOTHING = SamplingContext()
