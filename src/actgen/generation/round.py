"""THE ROUND: look, mine, plan, draw, keep. The only place where the rooms meet, and it only passes values on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from PIL import Image

from ..classifiers.classifier import Classifier
from ..classifiers.mining import Mining, mine
from ..classifiers.predictions import Predictions, predict, predict_pixels
from ..core import signals
from ..core.frozen import frozen
from ..core.prompts import worded
from ..core.types import Mistake, Plan, Progress, Request, Sample, Snapshot
from ..data.datasets.imageset import ImageSet, fit_square, stack_pixels
from ..data.store.journal import Batch, Drawn, Journal
from ..data.store.rejections import Ledger
from ..data.store.rounds import Remembered, RoundFiles
from ..data.store.store import Previews, Store
from .filters.chain import Chain
from .presets import Drawing
from .sampler import Draws, Refusal
from .strategies.base import Strategy
from .strategies.class_budgets import SPARE, ration
from .strategies.retry import again


@dataclass(frozen=True, kw_only=True)
class Round:
    """Everything that a round of generation needs and that stays the same from round to round.

    Call it after an epoch with the classifier; it returns the store's new snapshot. `pool` are the real images that are looked
    at, of which requests may name some as sources; `mining` chooses among them. `prompts`: what the generator is told of a
    class, by name, where that is not the usual. `files` keeps what the guides looked at, for drawing an image again;
    `journal` what a stopped round needs to go on. `staleness` is a column of the manifest where rounds are drawn in a second
    process (`parallel/overlapped.py`). What `filters` refuse goes to the `ledger` instead of the store, and is drawn
    again from another seed as often as they allow.
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
    journal: Journal | None = None
    staleness: int | None = None

    def __call__(
        self,
        classifier: Classifier,
        progress: Progress,
        budget: int,
        on_sample: Callable[[int, int], None] | None = None,
        *,
        seen: Predictions | None = None,
    ) -> Snapshot:
        """Draw `budget` images for the classifier's mistakes and commit them. `on_sample(done, of)` is told of each.

        `seen` is what `look` returned, if the caller has looked already.
        """
        seen = self.look(classifier) if seen is None else seen
        return self.draw(self.plan(seen, progress, budget), classifier, on_sample)

    def plan(self, seen: Predictions | None, progress: Progress, budget: int, shares: Sequence[float] | None = None) -> Plan:
        """Decide what to draw, by what `look` returned. `shares`: of the budget, by class, where some are to have less."""
        progress = progress if seen is None else replace(progress, accuracy=seen.accuracy)
        mistakes, names = self.mine(seen), self.pool.class_names
        requests = self.strategy.plan(mistakes, names, budget if shares is None else SPARE * budget, progress, self.seed)
        requests = worded(requests if shares is None else ration(requests, shares, budget), self.prompts)
        return Plan(
            number=progress.epoch,
            requests=tuple(requests),
            accuracy=progress.accuracy,
            images=len(self.store),
            turned_down=0 if self.ledger is None else len(self.ledger),
            doubted={mistake.source.key: mistake.probability for mistake in mistakes},
        )

    def draw(self, plan: Plan, classifier: Classifier, on_sample: Callable[[int, int], None] | None = None) -> Snapshot:
        """Draw what was planned and commit it, or the rest of it if the journal holds a part; a batch at a time."""
        if self.files is not None and any(look_at_classifier(request.guides, self.artist.drawing) for request in plan.requests):
            self.files.keep_classifier(plan.number, classifier)  # first: no image is there without its opponent
        drawn = self._resume(plan)
        done = sum(key in self.store for key in drawn.done)
        with frozen(classifier):
            for drawing in self._drawings(plan, classifier, drawn.done):
                self._keep(drawing.kept, classifier, plan)
                self._note(drawing)
                drawn.add(drawing)
                if on_sample is not None:
                    for number in range(done, done + len(drawing.kept)):
                        on_sample(number + 1, len(plan.requests))
                done += len(drawing.kept)
        self._remember(drawn.remembered, plan.number)
        return self.store.snapshot()

    def _resume(self, plan: Plan) -> Drawn:
        """Return what has been drawn of a plan; images that the journal does not know are set aside, to be drawn again."""
        if self.journal is None:
            return Drawn()
        drawn = self.journal.open(plan.digest)
        self.store.keep(drawn.images if drawn.done else plan.images, drawn.chain)
        if self.ledger is not None:
            self.ledger.keep(drawn.facts.get("turned_down", plan.turned_down))
        self.artist.refused += [Refusal(**one) for one in drawn.refused]
        self.artist.batch_size = drawn.facts.get("batch_size", self.artist.batch_size)
        if self.previews is not None:
            self.previews.resume(plan.number, drawn.done)
        return drawn

    def _drawings(self, plan: Plan, classifier: Classifier, done: Sequence[str]) -> Iterator[Batch]:
        """Draw what is not done, a batch at a time, judged; what the filters refuse is replaced by another attempt."""
        if self.filters is not None:
            self.filters.begin(classifier, self.store.snapshot())
        waiting, known = list(plan.requests), len(self.artist.refused)
        turned_down = set() if self.ledger is None else {row["key"] for row in self.ledger.rows} & set(done)
        for attempt in range(1 + (0 if self.filters is None else self.filters.options.redraw)):
            for samples in self.artist.draw_batches(
                waiting, guide_image=self.guide_image, classifier=classifier, done=frozenset(done)
            ):
                judged = [(sample, self._passes(sample)) for sample in samples]
                lost = [sample.request.key for sample, passed in judged if not passed]
                turned_down.update(lost)
                kept = [sample for sample, passed in judged if passed]
                yield Batch(kept=kept, turned_down=lost, refused=[vars(one) for one in self.artist.refused[known:]])
                known = len(self.artist.refused)
            waiting = [again(request, attempt + 1) for request in waiting if request.key in turned_down]

    def _passes(self, sample: Sample) -> bool:
        """Whether the filters let a sample through; a refusal goes to the ledger."""
        if self.filters is None:
            return True
        if (verdict := self.filters.judge(sample)).kept:
            self.filters.keep(sample)
            return True
        if self.ledger is not None:
            self.ledger.add(sample, {**asdict(verdict), "guidance": asdict(self.artist.drawing), "after": self.filters.kept})
        return False

    def _note(self, batch: Batch) -> None:
        """Write a batch down, so that a stop loses little; answer a signal, now that nothing is under way."""
        if self.journal is not None:
            manifest = self.store.manifest
            self.journal.add(
                batch,
                images=len(manifest),
                chain=manifest.chain,
                batch_size=self.artist.batch_size,
                together=self.artist.together,
                turned_down=0 if self.ledger is None else len(self.ledger),
            )
            if signals.asked():
                self.journal.write()
        signals.check()

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

    def _keep(self, batch: Sequence[Sample], classifier: Classifier, plan: Plan) -> None:
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
            "guidance": asdict(self.artist.drawing),
            **self.artist.facts,
            "redrawn": sample.redrawn,
            "classifier_accuracy": None if plan.accuracy is None else round(100 * plan.accuracy, 3),
            "guide_probability": None if request.source is None else plan.doubted.get(request.source.key),
            "probability": float(probability),
            "candidates": sample.candidates,
            "belief": sample.belief,
            **({} if self.staleness is None else {"staleness": self.staleness}),
            "seconds": round(sample.seconds, 4),
        }


def look_at_classifier(guides: Sequence[str], drawing: Drawing) -> bool:
    """Whether a request's guides need the classifier: as the opponent, or for its features."""
    in_features = drawing.text.contrast_in == "features"
    by_text = drawing.text.until > 0 and ("adversarial" in guides or ("contrastive" in guides and in_features))
    return by_text or "entropy" in guides
