"""A training: the learner, the image budget and how far it is, with the data and the round that they go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.mining import CROSS_FIT, TRAINING, Mining
from ..classifiers.predictions import Predictions
from ..classifiers.zero_shot import ZeroShot
from ..data.datasets.evaluation import TEST
from ..data.datasets.imageset import WHOLE, ImageSet, Subset, View, names_digest, to_pixels
from ..data.mixture import CACHE_BYTES, Mixture
from ..generation.filters.tally import tally
from ..generation.round import Round
from ..generation.strategies.base import BEFORE
from .budget import ImageBudget
from .epoch_images import EpochImages
from .learner import Learner, Stateful
from .loading import Loader
from .parallel.background import Background
from .state import RunState


@dataclass(kw_only=True)
class Training:
    """What a run is made of; `fit` drives it.

    `test` are the images that accuracy is measured on, `evaluated_on` says what they are: "test" or "validation" images.
    `held_out`: real images that the rounds look at, which join the training after the last. The last `extra` of the `real`
    images lengthen no epoch. `teacher`: who gives soft labels (`distil.py`). `left_out`: image files of the data that could not
    be used. `background`: the second process that generates the rounds, if there is one.
    """

    learner: Learner
    real: ImageSet
    folder: Path
    budget: ImageBudget = field(default_factory=ImageBudget)
    state: RunState = field(default_factory=RunState)
    held_out: ImageSet | None = None
    test: ImageSet | None = None
    evaluated_on: str = TEST
    round: Round | None = None
    extra: int = 0
    teacher: ZeroShot | None = None
    seed: int = 0
    data_note: str = ""
    left_out: tuple[str, ...] = ()
    background: Background | None = None
    _pixels: dict[str, Tensor] = field(default_factory=dict, init=False)
    _loader: Loader | None = field(default=None, init=False)

    @property
    def own_real(self) -> int:
        """How many real images the steps of an epoch are counted from: all but the extra ones."""
        return len(self.real.labels) - self.extra

    @property
    def own(self) -> ImageSet:
        """The real images without the extra ones."""
        return Subset(self.real, tuple(range(self.own_real))) if self.extra else self.real

    @property
    def round_classifier(self) -> Classifier:
        """What the rounds ask: what is tested, or before the training, if there is one, the proxy model."""
        return self.learner.tested if self.state.proxy is None else self.state.proxy.classifier

    @property
    def needs_proxy_model(self) -> bool:
        """Whether its round comes before the training but wants to know what a trained classifier finds hard."""
        before = self.round is not None and self.round.strategy.when == BEFORE
        return before and self.mining is not None and self.mining.pool == TRAINING

    @cached_property
    def inputs(self) -> dict[str, str]:
        """What has to stay the same while a run is stopped, besides its recipe: digests by name."""
        return {
            "generator": "" if self.round is None else str(self.round.sampler.facts["generator_hash"]),
            "training images": names_digest(self.real),
            "loop": "" if self.learner.learns else "another",
        }

    @property
    def parts(self) -> dict[str, Stateful]:
        """All that has a state, by name: what a checkpoint holds and gives back."""
        classes = self.budget.class_budgets
        return {
            **self.learner.parts,
            **({} if classes is None else {"class_budgets": classes}),
            **({} if self.round is None else {"bank": self.round.sampler.bank, "filters": self.round.filters}),
        }

    def real_rows(self, epoch: int) -> tuple[int, ...]:
        """Return the real images of an epoch: the held-out ones join when the last round of generation is over."""
        pending = set(self.held_out.keys) if self.held_out is not None and epoch < self.budget.generating else set()
        return tuple(i for i, key in enumerate(self.real.keys) if key not in pending)

    def mixture(self, epoch: int) -> Mixture:
        """Return what an epoch trains on."""
        rows, size = self.real_rows(epoch), self.learner.classifier.image_size
        cache = None if self.learner.options.augment.reads_originals else self.cached("real", self.real)
        if cache is not None and len(rows) < len(self.real.labels):
            cache = cache[list(rows)]
        return Mixture(Subset(self.real, rows), self.state.snapshot, size=size, cache=cache)

    def loader_of(self, mixture: Mixture, order: Sequence[int]) -> Loader:
        """Return what loads an epoch of this order: that of the epoch before if it has the same images."""
        loader, (options, classifier) = self._loader, (self.learner.options, self.learner.classifier)
        there = None if loader is None else loader.images
        same = there is not None and (len(there.mixture), len(there.mixture.real.labels)) == (
            len(mixture),
            len(mixture.real.labels),
        )
        if loader is None or there is None or not same or len(there) != len(order):
            self.close()
            mean, std = classifier.mean.flatten().tolist(), classifier.std.flatten().tolist()
            transform = options.augment.per_image(classifier.image_size, mean, std)
            originals = options.augment.reads_originals
            images = EpochImages(mixture, order, transform, seed=self.seed, epoch=0, from_originals=originals)
            loader = self._loader = Loader(images, options.workers)
        return loader

    def close(self) -> None:
        """Let the data-loading processes go."""
        if self._loader is not None:
            self._loader.close()
        self._loader = None

    @property
    def mining(self) -> Mining | None:
        """How the rounds choose among the real images; None if they do without."""
        return None if self.round is None else self.round.mines

    @property
    def mined_pool(self) -> str | None:
        """Which images the rounds look at, by name; None if none."""
        return None if self.mining is None else self.mining.pool

    def predict_pool(self) -> Predictions | None:
        """Return what the round is to see of the real images; None if it does without."""
        if self.round is None or self.mining is None:
            return None
        if self.mining.pool == CROSS_FIT:
            return self.state.cross_fitted
        if self.state.proxy is not None:
            return self.state.proxy.predictions
        predictions = self.round.predict_pool(self.learner.tested)
        return (
            predictions
            if predictions is None or self.learner.running is None
            else replace(predictions, running_N=self.learner.running.losses_N)
        )

    def owed(self, epoch: int, accuracy: float | None = None) -> int:
        """Return how many images the round of an epoch is to generate; `accuracy`: of the look before it, in percent."""
        generated, stats = len(self.state.snapshot), self.state.stats
        return self.budget.owed(epoch, generated, rejections=self.rejections, accuracy=accuracy, stats=stats)

    @property
    def rejections(self) -> int:
        """How many generated images the filters have refused."""
        return 0 if self.round is None else len(self.round.rejections)

    def tallied(self) -> dict[str, Any]:
        """Return what was generated, kept and refused since the last statistics."""
        if self.round is None or not self.round.rejections.is_written:
            return {}
        before = [row["filters"] for row in self.state.stats]
        kept, generated = sum(row["kept"] for row in before), sum(row["generated"] for row in before)
        return {**tally(self.state.snapshot.rows[kept:], self.round.rejections.rows[generated - kept :])}

    def counts(self) -> tuple[list[int], list[int]]:
        """Return how many images of each class were generated, and kept, until the last statistics."""
        tallies = [row["filters"].get("classes", {}) for row in self.state.stats]

        def total(name: str, what: str) -> int:
            return sum(classes[name][what] for classes in tallies if name in classes)

        names = self.real.class_names
        return [total(name, "generated") for name in names], [total(name, "kept") for name in names]

    def cached(self, name: str, images: ImageSet, view: View = WHOLE) -> Tensor | None:
        """Decode a set of images once; None if it is too large to keep."""
        size = self.learner.classifier.image_size
        if len(images.labels) * 3 * size * size > CACHE_BYTES:
            return None
        if name not in self._pixels:
            self._pixels[name] = to_pixels(images, size, view=view)
        return self._pixels[name]
