"""The opened parts of a probe: what draws, what looks, and what they are held against; each opened when first needed."""

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
from ...core.errors import UserError
from ...core.prompts import worded
from ...core.types import Progress, Request
from ...data.datasets.imageset import ImageSet, Subset, names_digest
from ...data.datasets.sources import load_data
from ...data.store.store import Store
from ...diffusion.pipeline import Backbone
from ...experiment.build import open_generator
from ...experiment.generate import draw_missing
from ...generation.filters.thumbnails import Album
from ...generation.sampler import Artist
from ...generation.strategies.text_only import TextOnly
from ...report.values import read_object
from .candidates import Candidate
from .config import Probe, short_digest
from .copies import MOST_SEARCHED, add_all
from .generated import Drawn
from .inception import Inception
from .judge import look, open_given, right
from .measures import Measures, Ruler, Trained
from .noise import share_interval
from .parts import REAL, Parts, at_most, cut

MARK = "data.json"  # which data a folder is about
DAMAGED = (KeyError, TypeError, AttributeError, ValueError)  # of a file that somebody edited: it is measured again
Told = Callable[[str, int, int], None]


class Work:
    """Draws and measures in the folder of a probe, candidate by candidate."""

    def __init__(self, asked: Probe, out: Path, told: Told) -> None:
        self.asked, self.out, self.told = asked, out, told
        data = load_data(asked.data, asked.on_bad_image)
        self.images, self.left_out = data.train, data.left_out
        self.parts: Parts = cut(self.images, asked.count, asked.seed)
        self._generator: tuple[str, Backbone] | None = None
        self.data_facts = {"data": asked.data, "digest": names_digest(self.images)}
        self._refuse_other_data()

    def _refuse_other_data(self) -> None:
        held = read_object(self.out / MARK)
        if held and held.get("digest") != self.data_facts["digest"]:
            raise UserError(f"--out {self.out} holds a probe on other data ({held.get('data')}). Choose another --out.")
        classes = len(self.images.class_names)
        if self.asked.count < classes:
            raise UserError(
                f"--count {self.asked.count}: the data have {classes} classes. Give one drawing of each or more, "
                f"best {20 * classes} and more."
            )

    def check(self) -> None:
        """Open all that is still needed, so that a fault in the last is found before the first is drawn."""
        if self.asked.classifier is not None:
            _ = self.judge
        if self.asked.classifier is None or self.asked.train:
            self.asked.learner.check(self.parts.fit)
        _ = self.clip, self.inception
        for candidate in reversed(self.asked.candidates):  # the first one stays open
            if self._held(candidate.folder(self.out)) is None:
                self._artist(candidate)

    @cached_property
    def clip(self) -> ZeroShot | None:
        """CLIP, if it was given."""
        if not self.asked.clip:
            return None
        return ZeroShot(self.asked.clip, self.images.class_names, str(PartialState().device), given="--clip")

    @cached_property
    def inception(self) -> Inception | None:
        """Inception v3, if it was asked for."""
        if not self.asked.inception:
            return None
        some = range(0, len(self.images.labels), max(1, len(self.images.labels) // 32))
        return Inception(int(statistics.median(min(self.images.image(i).size) for i in some)))

    @cached_property
    def judge(self) -> Classifier:
        """The classifier that looks at drawings; trained in the probe's folder unless one was given."""
        if self.asked.classifier is not None:
            return open_given(self.asked.classifier, self.parts.fit)
        folder = self.out / f"classifier-{self.asked.judge[:8]}"
        return self.asked.learner.train(self.parts.fit, self.parts.held, folder, self._telling("classifier"))

    @cached_property
    def ruler(self) -> Ruler:
        """What measures."""
        return Ruler(self.judge, self.parts.reference, clip=self.clip, inception=self.inception)

    @cached_property
    def rest(self) -> Album:
        """Training images without those that are measured as if drawn."""
        control = set(self.parts.control.keys)
        rows = tuple(i for i, key in enumerate(self.images.keys) if key not in control)
        return Album.of(at_most(Subset(self.images, rows), MOST_SEARCHED))

    @cached_property
    def album(self) -> Album:
        """Training images, with those that are measured as if drawn."""
        add_all(self.rest, self.parts.control)
        return self.rest

    def real(self) -> Measures:
        """Return the measures of real images, as if they had been drawn."""
        folder = self.out / "real"
        if (held := self._held(folder)) is not None:
            return held
        trained = self._trained(at_most(self.parts.fit, self.asked.count), folder, REAL)
        return self._keep(folder, self.ruler.measure(self.parts.control, self.rest, trained=trained))

    def candidate(self, candidate: Candidate) -> Measures:
        """Draw what is missing of a candidate, and return its measures."""
        folder = candidate.folder(self.out)
        if (held := self._held(folder)) is not None:
            return held
        artist, store, requests = self._artist(candidate), Store(folder / "store"), self._requests(candidate)
        for done in draw_missing(artist, requests, store):
            self.told(f"drawing {candidate.name}", done, len(requests))
        drawn = self.drawn(candidate)
        if len(drawn.rows) < 2:
            raise UserError(
                f"{candidate.name} draws nothing but broken pictures ({artist.refused[0].reason}). Leave it out, "
                "or try loading.dtype=float32 or another drawing.scheduler."
            )
        trained = self._trained(drawn, folder, candidate.name)
        seconds = statistics.median(float(row["seconds"]) for row in drawn.rows)  # the first batch warms up
        measures = self.ruler.measure(
            drawn, self.album, broken=len(requests) - len(drawn.rows), seconds=seconds, trained=trained
        )
        return self._keep(folder, measures)

    def drawn(self, candidate: Candidate) -> Drawn:
        """Return the drawings of a candidate, their classes called as in the data."""
        store = Store(candidate.folder(self.out) / "store")
        return Drawn.of(store, self._requests(candidate), self.images.class_names)

    def _trained(self, images: ImageSet, folder: Path, name: str) -> Trained | None:
        if not self.asked.train:
            return None
        place = folder / f"trained-{short_digest(self.asked.how['learning'], len(images.labels))[:8]}"
        classifier = self.asked.learner.train(images, self.parts.held, place, self._telling(f"learning {name}"))
        hits = right(look(classifier, self.parts.held), self.parts.held.labels)
        interval = share_interval(hits)
        return Trained(accuracy=interval.mean, low=interval.low, high=interval.high, right=hits)

    def _requests(self, candidate: Candidate) -> list[Request]:
        prompts, names = candidate.recipe.prompts, self.images.class_names
        plan = TextOnly().plan([], prompts.names(names), self.asked.count, Progress(epoch=0, epochs=1), self.asked.seed)
        return worded(plan, prompts.of(names))

    def _artist(self, candidate: Candidate) -> Artist:
        """Open a candidate; one generator is kept, for the next candidate may be the same with other settings."""
        recipe, names = candidate.recipe, candidate.recipe.prompts.names(self.images.class_names)
        wanted = f"{recipe.generator} {recipe.loading} {names}"
        if self._generator is None or self._generator[0] != wanted:
            self._generator = None
            opened = open_generator(recipe.generator, names, str(PartialState().device), recipe.loading)
            self._generator = wanted, opened
        return Artist(self._generator[1], recipe.drawing)

    @cached_property
    def _measured_with(self) -> str:
        return short_digest(json.dumps(self.asked.how, sort_keys=True), self.data_facts["digest"])

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
        return lambda done, of: self.told(what, done, of)
