"""THE ROUND: look, mine, plan, draw, keep. The only place where the rooms meet, and it only passes values on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from PIL import Image

from .borrowing import frozen
from .class_prompts import worded
from .classify.classifier import Classifier
from .classify.evaluate import Predictions, predict, predict_pixels
from .classify.mining import Mining, mine
from .data.imageset import ImageSet, fit_square, stack_pixels
from .data.refused import Ledger
from .data.rounds import RoundFiles
from .data.store import Previews, Store
from .drawing import Draws
from .filters.chain import Chain
from .presets import Drawing
from .records import Mistake, Progress, Request, Sample, Snapshot
from .strategies.again import again
from .strategies.base import Strategy


@dataclass(frozen=True, kw_only=True)
class Round:
    """Everything that a round of generation needs and that stays the same from round to round.

    Call it after an epoch with the classifier; it returns the store's new snapshot. `pool` are the real images that are looked
    at, of which requests may name some as sources; `mining` chooses among them. `prompts`: what the generator is told of a
    class, by name, where that is not the usual. `files` keeps what the guides looked at, for drawing an image again. What
    `filters` refuse goes to the `ledger` instead of the store, and is drawn again from another seed as often as they allow.
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
    filters: Chain | None = None
    ledger: Ledger | None = None

    def __call__(
        self, classifier: Classifier, progress: Progress, budget: int,
        on_sample: Callable[[int, int], None] | None = None, *, seen: Predictions | None = None,
    ) -> Snapshot:  # fmt: skip
        """Draw `budget` images for the classifier's mistakes and commit them. `on_sample(done, of)` is told of each.

        `seen` is what `look` returned, if the caller has looked already.
        """
        seen = self.look(classifier) if seen is None else seen
        progress = progress if seen is None else replace(progress, accuracy=seen.accuracy)
        mistakes = self.mine(seen)
        requests = worded(self.strategy.plan(mistakes, self.pool.class_names, budget, progress, self.seed), self.prompts)
        doubted = {mistake.source.key: mistake.probability for mistake in mistakes}
        if self.files is not None and any(look_at_classifier(request.guides, self.artist.drawing) for request in requests):
            self.files.keep_classifier(progress.epoch, classifier)  # first: no image is there without its opponent
        samples: list[Sample] = []
        with frozen(classifier):
            for sample in self._passing(requests, classifier):
                self._keep(sample, classifier, progress, doubted)
                samples.append(sample)
                if on_sample is not None:
                    on_sample(len(samples), len(requests))
        self._remember([sample for sample in samples if sample.request.guides], progress.epoch)
        return self.store.snapshot()

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

    def _passing(self, requests: Sequence[Request], classifier: Classifier) -> Iterator[Sample]:
        """Draw, and yield what the filters let through; what they refuse is replaced by another attempt."""
        if self.filters is not None:
            self.filters.begin(classifier, self.store.snapshot())
        waiting = list(requests)
        for attempt in range(1 + (0 if self.filters is None else self.filters.options.redraw)):
            refused: list[Request] = []
            for sample in self.artist.draw(waiting, guide_image=self.guide_image, classifier=classifier):
                if self._passes(sample):
                    yield sample
                else:
                    refused.append(sample.request)
            waiting = [again(request, attempt + 1) for request in refused]

    def _passes(self, sample: Sample) -> bool:
        """Whether the filters let a sample through; a refusal goes to the ledger."""
        if self.filters is None or (verdict := self.filters.judge(sample)).kept:
            return True
        if self.ledger is not None:
            self.ledger.add(sample, {**asdict(verdict), "guidance": asdict(self.artist.drawing), "after": len(self.store)})
        return False

    def _remember(self, guided: list[Sample], number: int) -> None:
        """Let the bank grow: at the end of a round, so that an image does not depend on its batch."""
        if self.files is not None and guided:
            self.files.keep_latents(number, guided)
        for sample in guided:
            self.artist.bank.add(sample.request.label, sample.latents)

    def _keep(self, sample: Sample, classifier: Classifier, progress: Progress, doubted: dict[str, float]) -> None:
        request = sample.request
        pixels = stack_pixels([fit_square(sample.image, classifier.image_size)])
        probability = predict_pixels(classifier, pixels).softmax(dim=1)[0, request.label]
        facts = {
            "guidance": asdict(self.artist.drawing), **self.artist.facts, "redrawn": sample.redrawn,
            "classifier_accuracy": None if progress.accuracy is None else round(100 * progress.accuracy, 3),
            "guide_probability": None if request.source is None else doubted.get(request.source.key),
            "probability": float(probability), "seconds": round(sample.seconds, 4),
        }  # fmt: skip
        self.store.add(sample, facts)
        if self.filters is not None:
            self.filters.keep(sample)
        if self.previews is not None and request.source is not None:
            self.previews.add(sample, fit_square(self.guide_image(request), sample.image.size[0]))


def look_at_classifier(guides: Sequence[str], drawing: Drawing) -> bool:
    """Whether a request's guides need the classifier: as the opponent, or for its features."""
    in_features = drawing.text.contrast_in == "features"
    by_text = drawing.text.until > 0 and ("adversarial" in guides or ("contrastive" in guides and in_features))
    return by_text or "entropy" in guides
