"""A filter from outside: takes no request of an odd number."""

from __future__ import annotations

from actgen.core.types import Sample
from actgen.data.datasets.imageset import ImageSet
from actgen.generation.filters.base import KEPT, FilterVerdict, FilterView


class OnlyEven:
    """Rejects every other request; it has seen the real images."""

    name = "only-even"

    def __init__(self, real: ImageSet) -> None:
        self.real = real

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        if int(sample.request.key[-1]) % 2 == 0:
            return KEPT
        return FilterVerdict(filter=self.name, reason=f"odd, unlike {len(self.real.keys)} real images", score=1.0)
