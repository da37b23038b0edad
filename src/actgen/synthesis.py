"""THE ROUND: look, mine, plan, draw, keep. The only place where the rooms meet, and it only passes values on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from PIL import Image

from .classify.classifier import Classifier, frozen
from .classify.evaluate import predict, predict_pixels
from .classify.mining import misclassified
from .data.imageset import ImageSet, fit_square, stack_pixels
from .data.store import Previews, Store
from .drawing import Artist
from .records import Mistake, Progress, Request, Sample, Snapshot
from .strategies.base import Strategy


@dataclass(frozen=True, kw_only=True)
class Round:
    """Everything that a round of generation needs and that stays the same from round to round.

    Call it after an epoch with the classifier; it returns the store's new snapshot. `holdout` are real images that the
    classifier has not trained on.
    """

    artist: Artist
    strategy: Strategy
    store: Store
    holdout: ImageSet
    seed: int = 0
    previews: Previews | None = None

    def __call__(
        self, classifier: Classifier, progress: Progress, budget: int,
        on_sample: Callable[[int, int], None] | None = None,
    ) -> Snapshot:  # fmt: skip
        """Draw `budget` images for the classifier's mistakes and commit them. `on_sample(done, of)` is told of each."""
        mistakes: list[Mistake] = []
        if self.strategy.needs_holdout:
            predictions = predict(classifier, self.holdout)
            progress = replace(progress, accuracy=predictions.accuracy)
            mistakes = misclassified(predictions, self.holdout.keys)
        requests = self.strategy.plan(mistakes, self.holdout.class_names, budget, progress, self.seed)
        doubted = {mistake.source.key: mistake.probability for mistake in mistakes}
        samples: list[Sample] = []
        with frozen(classifier):
            for sample in self.artist.draw(requests, guide_image=self._guide, classifier=classifier):
                self._keep(sample, classifier, progress, doubted)
                samples.append(sample)
                if on_sample is not None:
                    on_sample(len(samples), len(requests))
        for sample in samples:  # the bank stands still within a round, so that an image does not depend on its batch
            if sample.request.guides:
                self.artist.bank.add(sample.request.label, sample.latents)
        return self.store.snapshot()

    def _guide(self, request: Request) -> Image.Image:
        assert request.source is not None
        return self.holdout.image(request.source.index)

    def _keep(self, sample: Sample, classifier: Classifier, progress: Progress, doubted: dict[str, float]) -> None:
        request, backbone = sample.request, self.artist.backbone
        pixels = stack_pixels([fit_square(sample.image, classifier.image_size)])
        probability = predict_pixels(classifier, pixels).softmax(dim=1)[0, request.label]
        facts = {
            "guidance": asdict(self.artist.drawing), "generator": backbone.name, "generator_hash": backbone.weights_hash,
            "classifier_accuracy": None if progress.accuracy is None else round(100 * progress.accuracy, 3),
            "guide_probability": None if request.source is None else doubted.get(request.source.key),
            "probability": float(probability), "seconds": round(sample.seconds, 4),
        }  # fmt: skip
        self.store.add(sample, facts)
        if self.previews is not None and request.source is not None:
            self.previews.add(sample, fit_square(self._guide(request), sample.image.size[0]))
