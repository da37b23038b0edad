"""THE ROUND: look, mine, plan, draw, keep. The only place where the rooms meet, and it only passes values on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from PIL import Image

from . import stopping
from .borrowing import frozen
from .class_prompts import worded
from .classify.classifier import Classifier
from .classify.evaluate import Predictions, predict, predict_pixels
from .classify.mining import Mining, mine
from .data.imageset import ImageSet, fit_square, stack_pixels
from .data.journal import Drawn, Journal
from .data.rounds import Remembered, RoundFiles
from .data.store import Previews, Store
from .drawing import Draws, Refusal
from .presets import Drawing
from .records import Mistake, Plan, Progress, Request, Sample, Snapshot
from .strategies.base import Strategy


@dataclass(frozen=True, kw_only=True)
class Round:
    """Everything that a round of generation needs and that stays the same from round to round.

    Call it after an epoch with the classifier; it returns the store's new snapshot. `pool` are the real images that are looked
    at, of which requests may name some as sources; `mining` chooses among them. `prompts`: what the generator is told of a
    class, by name, where that is not the usual. `files` keeps what the guides looked at, for drawing an image again;
    `journal` what a stopped round needs to go on.
    """

    artist: Draws
    strategy: Strategy
    store: Store
    pool: ImageSet
    mining: Mining = field(default_factory=Mining)
    seed: int = 0
    prompts: Mapping[str, str] = field(default_factory=dict)
    previews: Previews | None = None
    files: RoundFiles | None = None
    journal: Journal | None = None

    def __call__(
        self, classifier: Classifier, progress: Progress, budget: int,
        on_sample: Callable[[int, int], None] | None = None, *, seen: Predictions | None = None,
    ) -> Snapshot:  # fmt: skip
        """Draw `budget` images for the classifier's mistakes and commit them. `on_sample(done, of)` is told of each.

        `seen` is what `look` returned, if the caller has looked already.
        """
        seen = self.look(classifier) if seen is None else seen
        return self.draw(self.plan(seen, progress, budget), classifier, on_sample)

    def plan(self, seen: Predictions | None, progress: Progress, budget: int) -> Plan:
        """Decide what to draw, by what `look` returned."""
        progress = progress if seen is None else replace(progress, accuracy=seen.accuracy)
        mistakes = self.mine(seen)
        requests = worded(self.strategy.plan(mistakes, self.pool.class_names, budget, progress, self.seed), self.prompts)
        return Plan(
            number=progress.epoch, requests=tuple(requests), accuracy=progress.accuracy, images=len(self.store),
            doubted={mistake.source.key: mistake.probability for mistake in mistakes},
        )  # fmt: skip

    def draw(
        self, plan: Plan, classifier: Classifier, on_sample: Callable[[int, int], None] | None = None
    ) -> Snapshot:  # fmt: skip
        """Draw what was planned and commit it, or the rest of it if the journal holds a part; a batch at a time."""
        if self.files is not None and any(look_at_classifier(request.guides, self.artist.drawing) for request in plan.requests):
            self.files.keep_classifier(plan.number, classifier)  # first: no image is there without its opponent
        drawn = self._resume(plan)
        with frozen(classifier):
            for batch, refused in self._batches(plan, classifier, drawn.done):
                self._keep(batch, classifier, plan)
                self._note(batch, refused)
                if on_sample is not None:
                    for number in range(len(batch)):
                        on_sample(len(drawn.done) + number + 1, len(plan.requests))
                drawn.add(batch, refused)
        self._remember(drawn.remembered, plan.number)
        return self.store.snapshot()

    def _resume(self, plan: Plan) -> Drawn:
        """Return what has been drawn of a plan; images that the journal does not know are set aside, to be drawn again."""
        if self.journal is None:
            return Drawn()
        drawn = self.journal.open(plan.digest)
        self.store.keep(drawn.images if drawn.done else plan.images, drawn.chain)
        self.artist.refused += [Refusal(**one) for one in drawn.refused]
        self.artist.batch_size = drawn.facts.get("batch_size", self.artist.batch_size)
        if self.previews is not None:
            self.previews.resume(plan.number, drawn.done)
        return drawn

    def _batches(
        self, plan: Plan, classifier: Classifier, done: Sequence[str]
    ) -> Iterator[tuple[list[Sample], list[dict[str, str]]]]:  # fmt: skip
        """Draw what is not done, yielding every batch with the refusals in it."""
        known = len(self.artist.refused)
        for batch in self.artist.draw_batches(
            plan.requests, guide_image=self.guide_image, classifier=classifier, done=frozenset(done)
        ):  # fmt: skip
            yield batch, [vars(one) for one in self.artist.refused[known:]]
            known = len(self.artist.refused)

    def _note(self, batch: list[Sample], refused: list[dict[str, str]]) -> None:
        """Write a batch down, so that a stop loses little; answer a signal, now that nothing is under way."""
        if self.journal is not None:
            manifest = self.store.manifest
            self.journal.add(batch, refused, images=len(manifest), chain=manifest.chain, batch_size=self.artist.batch_size)
            if stopping.asked():
                self.journal.write()
        stopping.check()

    def look(self, classifier: Classifier) -> Predictions | None:
        """Return the predictions for the pool; None if the strategy does without them."""
        return None if self.strategy.mining is None else predict(classifier, self.pool)

    def mine(self, seen: Predictions | None) -> list[Mistake]:
        """Return the images of the pool that are to be drawn anew."""
        return [] if seen is None or self.mines is None else mine(seen, self.pool.keys, self.mines)

    @property
    def mines(self) -> Mining | None:
        """How the round chooses among the real images: `mining` over what the strategy says; None if it does without."""
        own = self.strategy.mining
        return own if own is None else self.mining.over(own)

    def guide_image(self, request: Request) -> Image.Image:
        """Return the real image that a request names."""
        assert request.source is not None
        return self.pool.image(request.source.index)

    def _remember(self, remembered: Sequence[Remembered], number: int) -> None:
        """Let the bank grow: at the end of a round, so that an image does not depend on its batch."""
        if self.files is not None and remembered:
            self.files.keep_latents(number, remembered)
        for one in remembered:
            self.artist.bank.add(one.label, one.latents)

    def _keep(self, batch: list[Sample], classifier: Classifier, plan: Plan) -> None:
        """Commit a batch: images first, then their lines, then what people look at."""
        self.store.add_all([(sample, self._facts(sample, classifier, plan)) for sample in batch])
        for sample in batch:
            if self.previews is not None and sample.request.source is not None:
                self.previews.add(sample, fit_square(self.guide_image(sample.request), sample.image.size[0]))

    def _facts(self, sample: Sample, classifier: Classifier, plan: Plan) -> dict[str, Any]:
        """Return what a manifest line says beside the request."""
        request = sample.request
        pixels = stack_pixels([fit_square(sample.image, classifier.image_size)])
        probability = predict_pixels(classifier, pixels).softmax(dim=1)[0, request.label]
        return {
            "guidance": asdict(self.artist.drawing), **self.artist.facts, "redrawn": sample.redrawn,
            "classifier_accuracy": None if plan.accuracy is None else round(100 * plan.accuracy, 3),
            "guide_probability": None if request.source is None else plan.doubted.get(request.source.key),
            "probability": float(probability), "seconds": round(sample.seconds, 4),
        }  # fmt: skip


def look_at_classifier(guides: Sequence[str], drawing: Drawing) -> bool:
    """Whether a request's guides need the classifier: as the opponent, or for its features."""
    in_features = drawing.text.contrast_in == "features"
    by_text = drawing.text.until > 0 and ("adversarial" in guides or ("contrastive" in guides and in_features))
    return by_text or "entropy" in guides
