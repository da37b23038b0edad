"""Pictures that show nothing: nearly one colour, or far less sharp than real images of their class."""

from __future__ import annotations

from statistics import median

import numpy as np
import numpy.typing as npt
from PIL import Image

from ...core.types import Sample
from ...data.datasets.imageset import ImageSet, fit_square
from .base import KEPT, FilterVerdict, FilterView

REFERENCES = 32  # real images of a class that say what is usual


class Emptiness:
    """Refuses a picture whose brightness varies by less than `levels` grey levels (standard deviation)."""

    name = "emptiness"

    def __init__(self, levels: float) -> None:
        self.levels = levels

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        """Measure how much the brightness varies."""
        varies = float(_grey(sample.image).std())
        if varies >= self.levels:
            return KEPT
        return FilterVerdict(
            filter=self.name, reason=f"nearly one colour: varies by {varies:.2f} grey levels", score=round(varies, 6)
        )


class Sharpness:
    """Refuses a picture with less than `share` of the detail of the middle one of some real images of its class.

    Detail is the variance of the Laplacian at the picture's size.
    """

    name = "sharpness"

    def __init__(self, share: float, real: ImageSet) -> None:
        self.share, self.real = share, real
        self._usual: dict[tuple[int, int], float] = {}

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        """Compare the picture's detail with what is usual."""
        usual = self._of_class(sample.request.label, min(sample.image.size))
        share = detail(sample.image) / max(usual, 1e-9)
        if share >= self.share:
            return KEPT
        return FilterVerdict(
            filter=self.name, reason=f"{share:.1%} of the detail that is usual in its class", score=round(share, 6)
        )

    def _of_class(self, label: int, size: int) -> float:
        if (label, size) not in self._usual:
            members = [i for i, other in enumerate(self.real.labels) if other == label]
            some = members[:: max(1, len(members) // REFERENCES)][:REFERENCES]
            self._usual[label, size] = median(detail(fit_square(self.real.image(i), size)) for i in some)
        return self._usual[label, size]


def detail(image: Image.Image) -> float:
    """Return the variance of the Laplacian (four neighbours) of a picture's brightness."""
    grey = _grey(image)
    inner = grey[1:-1, 1:-1]
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float((around - 4 * inner).var())


def _grey(image: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(image.convert("L"), dtype=np.float64)
