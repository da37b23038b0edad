"""Generated images, and what a classifier sees in them -> numbers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ...classifiers.classifier import Classifier
from ...classifiers.zero_shot import ZeroShot
from ...data.datasets.imageset import ImageSet
from ...generation.filters.thumbnails import Album
from .copies import copied, nearest_pairs, nearest_to
from .frechet import Normal, frechet, normal, resampled
from .inception import Inception
from .judge import Seen, look, right
from .neighbours import coverage, density, precision
from .noise import share_interval


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A classifier trained on the generated images alone: `accuracy` in percent and its interval, `right` for every held-out
    image."""

    accuracy: float
    low: float
    high: float
    right: tuple[bool, ...]


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What was measured of some images; `consistency`, `clip` and their ends in percent, `precision` and `coverage` in [0, 1].

    `keys` are those of the images and `right` says of which the class was recognised. `broken`: generated images that gave no
    picture. `frechet`: squared Frechet distance to the reference in the classifier's features, `frechet_resampled` that of
    bootstrap samples. `diversity`: mean distance of two images of a class by that of two real ones. `copies`: images as near
    to a training image as copies are; `nearest`: median distance to the nearest one; `nearest_pairs`: the nearest of all, with
    both keys. `inception`: FID. None for what was not measured.
    """

    images: int
    broken: int = 0
    consistency: float
    low: float
    high: float
    by_class: Mapping[str, float]
    precision: float
    density: float
    coverage: float
    frechet: float
    frechet_resampled: tuple[float, ...]
    diversity: float | None
    copies: int
    nearest: float
    nearest_pairs: tuple[Mapping[str, object], ...]
    seconds: float | None = None
    clip: float | None = None
    inception: float | None = None
    trained: Trained | None = None
    keys: tuple[str, ...]
    right: tuple[bool, ...]

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Measures:
        """The inverse of `dataclasses.asdict`, after JSON."""
        lists = {key: tuple(data[key]) for key in ("frechet_resampled", "nearest_pairs", "keys", "right")}
        trained = data["trained"]
        return cls(**{**data, **lists, "trained": trained and Trained(**{**trained, "right": tuple(trained["right"])})})


class Ruler:
    """Measures images against the reference: real images that the classifier has not trained on, if it was trained here."""

    def __init__(
        self,
        classifier: Classifier,
        reference: ImageSet,
        *,
        clip: ZeroShot | None = None,
        inception: Inception | None = None,
    ) -> None:
        self.classifier, self.clip, self.inception = classifier, clip, inception
        self.labels = tuple(reference.labels)
        self.real = look(classifier, reference)
        self.normal = normal(self.real.features_ND)
        self.inception_normal: Normal | None = None if inception is None else normal(inception.look(reference))

    def measure(
        self, images: ImageSet, album: Album, *, broken: int = 0, seconds: float | None = None, trained: Trained | None = None
    ) -> Measures:
        """Return the numbers of two images or more; near-copies are looked for in `album`."""
        seen = look(self.classifier, images)
        hits = right(seen, images.labels)
        interval, near = share_interval(hits), nearest_to(album, images)
        real = self.real.features_ND
        return Measures(
            images=len(hits),
            broken=broken,
            consistency=interval.mean,
            low=interval.low,
            high=interval.high,
            by_class=_by_class(images, hits),
            precision=precision(real, seen.features_ND),
            density=density(real, seen.features_ND),
            coverage=coverage(real, seen.features_ND),
            frechet=frechet(self.normal, seen.features_ND),
            frechet_resampled=resampled(self.normal, seen.features_ND, images.labels),
            diversity=self._diversity(seen, images.labels),
            copies=copied(near),
            nearest=statistics.median(one.distance for one in near),
            nearest_pairs=nearest_pairs(images.keys, near),
            seconds=seconds,
            clip=None if self.clip is None else _clip(self.clip, images),
            inception=self._inception(images),
            trained=trained,
            keys=tuple(images.keys),
            right=hits,
        )

    def _diversity(self, seen: Seen, labels: Sequence[int]) -> float | None:
        generated, real = spreads(seen.features_ND, labels), spreads(self.real.features_ND, self.labels)
        ratios = [generated[label] / real[label] for label in generated if real.get(label)]
        return statistics.fmean(ratios) if ratios else None

    def _inception(self, images: ImageSet) -> float | None:
        if self.inception is None or self.inception_normal is None:
            return None
        return frechet(self.inception_normal, self.inception.look(images))


def spreads(features_ND: Tensor, labels: Sequence[int]) -> dict[int, float]:
    """Return the mean distance of two images of a class, for classes of two images or more."""
    labels_N = torch.tensor(list(labels))
    members = {int(label): features_ND[labels_N == label] for label in labels_N.unique()}
    return {label: float(torch.pdist(rows).mean()) for label, rows in members.items() if len(rows) > 1}


def _by_class(images: ImageSet, hits: Sequence[bool]) -> dict[str, float]:
    found: dict[str, list[bool]] = {name: [] for name in images.class_names}
    for label, hit in zip(images.labels, hits, strict=True):
        found[images.class_names[label]].append(hit)
    return {name: round(100 * statistics.fmean(some), 2) for name, some in found.items() if some}


def _clip(clip: ZeroShot, images: ImageSet) -> float:
    chosen = [int(clip.probabilities([images.image(i)]).argmax()) for i in range(len(images.labels))]
    return 100 * statistics.fmean(one == label for one, label in zip(chosen, images.labels, strict=True))
