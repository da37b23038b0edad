"""The opened parts of a probe: what generates, what looks, and what they are held against; each opened when first needed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import PartialState

from ...classifiers.classifier import Classifier
from ...classifiers.zero_shot import ZeroShot
from ...core import files
from ...core.errors import RunFailure, UserError
from ...core.prompts import worded
from ...core.types import Progress, Request
from ...data.datasets.imageset import ImageSet, Subset, names_digest
from ...data.datasets.sources import load_data
from ...data.store.store import Store
from ...diffusion.pipeline import PipelineAdapter
from ...experiment.build import open_generator
from ...experiment.generate import generate_missing
from ...generation.filters.thumbnails import Album
from ...generation.sampler import ImageSampler
from ...generation.strategies.text_only import TextOnly
from ...report.values import read_object
from .candidates import ProbeCandidate
from .config import Probe, short_digest
from .copies import MOST_SEARCHED, add_all
from .generated import GeneratedSet
from .inception import Inception
from .judge import look, open_given, right
from .measures import Measures, Ruler, Trained
from .noise import share_interval
from .parts import REAL, Parts, at_most, cut

MARK = "data.json"  # which data a folder is about
DAMAGED = (KeyError, TypeError, AttributeError, ValueError)  # of a file that somebody edited: it is measured again
OnProgress = Callable[[str, int, int], None]


class ProbeSession:
    """Generates and measures in the folder of a probe, candidate by candidate."""

    def __init__(self, config: Probe, out: Path, on_progress: OnProgress) -> None:
        self.config, self.out, self.on_progress = config, out, on_progress
        data = load_data(config.data, config.on_bad_image, config.learner.recipe.reading)
        self.images, self.left_out = data.train, data.left_out
        self.parts: Parts = cut(self.images, config.count, config.seed)
        self._generator: tuple[str, PipelineAdapter] | None = None
        self.data_facts = {"data": config.data, "digest": names_digest(self.images)}
        self._refuse_other_data()

    def _refuse_other_data(self) -> None:
        held = read_object(self.out / MARK)
        if held and held.get("digest") != self.data_facts["digest"]:
            raise UserError(f"--out {self.out} holds a probe on other data ({held.get('data')}). Choose another --out.")
        classes = len(self.images.class_names)
        if self.config.count < classes:
            raise UserError(
                f"--count {self.config.count}: the data have {classes} classes. Give one image of each or more, "
                f"best {20 * classes} and more."
            )

    def check(self) -> None:
        """Open all that is still needed, so that a fault in the last is found before the first is generated."""
        if self.config.classifier is not None:
            _ = self.judge
        if self.config.classifier is None or self.config.train:
            self.config.learner.check(self.parts.fit)
        _ = self.clip, self.inception
        for candidate in reversed(self.config.candidates):  # the first one stays open
            if self._held(candidate.folder(self.out)) is None:
                self._sampler(candidate)

    @cached_property
    def clip(self) -> ZeroShot | None:
        """CLIP, if it was given."""
        if not self.config.clip:
            return None
        return ZeroShot(self.config.clip, self.images.class_names, str(PartialState().device), given="--clip")

    @cached_property
    def inception(self) -> Inception | None:
        """Inception v3, if it was asked for."""
        if not self.config.inception:
            return None
        some = range(0, len(self.images.labels), max(1, len(self.images.labels) // 32))
        return Inception(int(statistics.median(min(self.images.image(i).size) for i in some)))

    @cached_property
    def judge(self) -> Classifier:
        """The classifier that looks at generated images; trained in the probe's folder unless one was given."""
        if self.config.classifier is not None:
            return open_given(self.config.classifier, self.parts.fit)
        folder = self.out / f"classifier-{self.config.judge[:8]}"
        return self.config.learner.train(self.parts.fit, self.parts.held, folder, self._telling("classifier"))

    @cached_property
    def ruler(self) -> Ruler:
        """What measures."""
        return Ruler(self.judge, self.parts.reference, clip=self.clip, inception=self.inception)

    @cached_property
    def rest(self) -> Album:
        """Training images without those that are measured as if generated."""
        control = set(self.parts.control.keys)
        rows = tuple(i for i, key in enumerate(self.images.keys) if key not in control)
        return Album.of(at_most(Subset(self.images, rows), MOST_SEARCHED))

    @cached_property
    def album(self) -> Album:
        """Training images, with those that are measured as if generated."""
        add_all(self.rest, self.parts.control)
        return self.rest

    def real(self) -> Measures:
        """Return the measures of real images, as if they had been generated."""
        folder = self.out / "real"
        if (held := self._held(folder)) is not None:
            return held
        trained = self._trained(at_most(self.parts.fit, self.config.count), folder, REAL)
        return self._keep(folder, self.ruler.measure(self.parts.control, self.rest, trained=trained))

    def candidate(self, candidate: ProbeCandidate) -> Measures:
        """Generate what is missing of a candidate, and return its measures."""
        folder = candidate.folder(self.out)
        if (held := self._held(folder)) is not None:
            return held
        sampler, store, requests = self._sampler(candidate), Store(folder / "store"), self._requests(candidate)
        for done in generate_missing(sampler, requests, store):
            self.on_progress(f"generating {candidate.name}", done, len(requests))
        generated = self.generated(candidate)
        if len(generated.rows) < 2:
            raise RunFailure(
                f"{candidate.name} generates nothing but broken pictures ({sampler.failed[0].reason}). Leave it out, "
                "or try loading.dtype=float32 or another sampling.scheduler."
            )
        trained = self._trained(generated, folder, candidate.name)
        seconds = statistics.median(float(row["seconds"]) for row in generated.rows)  # the first batch warms up
        measures = self.ruler.measure(
            generated, self.album, broken=len(requests) - len(generated.rows), seconds=seconds, trained=trained
        )
        return self._keep(folder, measures)

    def generated(self, candidate: ProbeCandidate) -> GeneratedSet:
        """Return the generated images of a candidate, their classes called as in the data."""
        store = Store(candidate.folder(self.out) / "store")
        return GeneratedSet.of(store, self._requests(candidate), self.images.class_names)

    def _trained(self, images: ImageSet, folder: Path, name: str) -> Trained | None:
        if not self.config.train:
            return None
        place = folder / f"trained-{short_digest(self.config.how['learning'], len(images.labels))[:8]}"
        classifier = self.config.learner.train(images, self.parts.held, place, self._telling(f"learning {name}"))
        hits = right(look(classifier, self.parts.held), self.parts.held.labels)
        interval = share_interval(hits)
        return Trained(accuracy=interval.mean, low=interval.low, high=interval.high, right=hits)

    def _requests(self, candidate: ProbeCandidate) -> list[Request]:
        prompts, names = candidate.recipe.prompts, self.images.class_names
        plan = TextOnly().plan([], prompts.names(names), self.config.count, Progress(epoch=0, epochs=1), self.config.seed)
        return worded(plan, prompts.variants(names))

    def _sampler(self, candidate: ProbeCandidate) -> ImageSampler:
        """Open a candidate; one generator is kept, for the next candidate may be the same with other settings."""
        recipe, names = candidate.recipe, candidate.recipe.prompts.names(self.images.class_names)
        wanted = f"{recipe.generator} {recipe.loading} {names}"
        if self._generator is None or self._generator[0] != wanted:
            self._generator = None
            opened = open_generator(recipe.generator, names, str(PartialState().device), recipe.loading)
            self._generator = wanted, opened
        return ImageSampler(self._generator[1], recipe.sampling)

    @cached_property
    def _measured_with(self) -> str:
        return short_digest(json.dumps(self.config.how, sort_keys=True), self.data_facts["digest"])

    def _held(self, folder: Path) -> Measures | None:
        known: Any = read_object(folder / "measures.json")
        try:
            return Measures.from_data(known["measures"]) if known.get("measured_with") == self._measured_with else None
        except DAMAGED:
            return None

    def _keep(self, folder: Path, measures: Measures) -> Measures:
        facts = {"measured_with": self._measured_with, "measures": asdict(measures)}
        files.write_text(folder / "measures.json", json.dumps(facts, ensure_ascii=False) + "\n")
        return Measures.from_data(json.loads(json.dumps(facts["measures"])))

    def _telling(self, what: str) -> Callable[[int, int], None]:
        return lambda done, of: self.on_progress(what, done, of)
