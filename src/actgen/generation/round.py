"""A round: predict, mine, plan, generate, filter, store. The parts meet here, and it only passes values on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from PIL import Image

from ..classifiers.classifier import Classifier
from ..classifiers.mining import Mining, mine
from ..classifiers.predictions import Predictions, predict, predict_pixels
from ..core import signals
from ..core.frozen import frozen
from ..core.prompts import Wording, worded
from ..core.types import HardExample, Plan, Progress, Request, Sample, Snapshot
from ..data.datasets.imageset import ImageSet, fit_square, stack_pixels
from ..data.store.journal import Journal, JournalBatch, JournalState, NoJournal
from ..data.store.rejections import NoRejectionLog, RejectionLog
from ..data.store.rounds import NoRoundFiles, Remembered, RoundFiles
from ..data.store.store import NoPreviews, Previews, Store
from ..diffusion.guides import needs_of
from ..diffusion.guides.guide import CLASSIFIER
from .filters.chain import Chain
from .sampler import FailedRequest, Sampler
from .sampling_context import SamplingContext
from .strategies.base import Strategy
from .strategies.class_budgets import SPARE, apply_budgets
from .strategies.retry import again


@dataclass(frozen=True, kw_only=True)
class Round:
    """Everything that a round of generation needs and that stays the same from round to round.

    Call it after an epoch with the classifier; it returns the store's new snapshot. `pool` are the real images that are looked
    at, of which requests may name some as sources; `mining` chooses among them. `prompts`: what the generator is told of a
    class, by name, where that is not the usual; of several the request's seed decides. `files` keeps what the guides looked at,
    for generating an image again; `journal` what a stopped round needs to go on. `staleness` is a column of the manifest where
    rounds are generated in a second process (`parallel/overlapped.py`). What `filters` reject goes to the `rejections` instead
    of the store, and is generated again from another seed as often as they allow.
    """

    sampler: Sampler
    strategy: Strategy
    store: Store
    pool: ImageSet
    mining: Mining = field(default_factory=Mining)
    seed: int = 0
    prompts: Wording = field(default_factory=dict)
    previews: Previews = field(default_factory=NoPreviews)
    files: RoundFiles = field(default_factory=NoRoundFiles)
    filters: Chain = field(default_factory=Chain.empty)
    rejections: RejectionLog = field(default_factory=NoRejectionLog)
    journal: Journal = field(default_factory=NoJournal)
    staleness: int | None = None

    def __call__(
        self,
        classifier: Classifier,
        progress: Progress,
        budget: int,
        on_sample: Callable[[int, int], None] | None = None,
        *,
        predictions: Predictions | None = None,
    ) -> Snapshot:
        """Generate `budget` images for the classifier's hard examples and commit them. `on_sample(done, of)` is told of each.

        `predictions` is what `predict_pool` returned, if the caller has looked already.
        """
        predictions = self.predict_pool(classifier) if predictions is None else predictions
        return self.generate(self.plan(predictions, progress, budget), classifier, on_sample)

    def plan(
        self, predictions: Predictions | None, progress: Progress, budget: int, shares: Sequence[float] | None = None
    ) -> Plan:
        """Decide what to generate, by what `predict_pool` returned. `shares`: of the budget, by class, where some are to have
        less."""
        progress = progress if predictions is None else replace(progress, accuracy=predictions.accuracy)
        hard_examples, names = self.mine(predictions), self.pool.class_names
        requests = self.strategy.plan(hard_examples, names, budget if shares is None else SPARE * budget, progress, self.seed)
        requests = worded(requests if shares is None else apply_budgets(requests, shares, budget), self.prompts)
        return Plan(
            number=progress.epoch,
            requests=tuple(requests),
            accuracy=progress.accuracy,
            images=len(self.store),
            rejected=len(self.rejections),
            confidences={hard_example.source.key: hard_example.probability for hard_example in hard_examples},
            mistaken_for={hard_example.source.key: hard_example.predicted for hard_example in hard_examples},
        )

    def generate(self, plan: Plan, classifier: Classifier, on_sample: Callable[[int, int], None] | None = None) -> Snapshot:
        """Generate what was planned and commit it, or the rest of it if the journal holds a part; a batch at a time."""
        if any(CLASSIFIER in needs_of(one, self.sampler.sampling) for one in plan.requests):
            self.files.keep_classifier(plan.number, classifier)  # first: no image is there without its opponent
        generated = self._resume(plan)
        done = sum(key in self.store for key in generated.done)
        with frozen(classifier):
            for sampling in self._generated(plan, classifier, generated.done):
                self._keep(sampling.kept, classifier, plan)
                self._note(sampling)
                generated.add(sampling)
                if on_sample is not None:
                    for number in range(done, done + len(sampling.kept)):
                        on_sample(number + 1, len(plan.requests))
                done += len(sampling.kept)
        self._remember(generated.remembered, plan.number)
        return self.store.snapshot()

    def _resume(self, plan: Plan) -> JournalState:
        """Return what has been generated of a plan; images that the journal does not know are set aside, to be generated
        again."""
        generated = self.journal.open(plan.digest)
        self.store.keep(generated.images if generated.done else plan.images, generated.chain)
        self.rejections.keep(generated.facts.get("rejected", plan.rejected))
        self.sampler.failed += [FailedRequest(**one) for one in generated.failed]
        self.sampler.batch_size = generated.facts.get("batch_size", self.sampler.batch_size)
        self.previews.resume(plan.number, generated.done)
        return generated

    def _generated(self, plan: Plan, classifier: Classifier, done: Sequence[str]) -> Iterator[JournalBatch]:
        """Generate what is not done, a batch at a time, judged; what the filters reject is replaced by another attempt."""
        self.filters.begin(classifier, self.store.snapshot())
        waiting, known = list(plan.requests), len(self.sampler.failed)
        rejected = {row["key"] for row in self.rejections.rows} & set(done)
        for attempt in range(1 + self.filters.options.retries):
            for samples in self.sampler.sample_batches(
                waiting, SamplingContext(guide_image=self.guide_image, classifier=classifier, done=frozenset(done))
            ):
                judged = [(sample, self._passes(sample, classifier)) for sample in samples]
                lost = [sample.request.key for sample, passed in judged if not passed]
                rejected.update(lost)
                kept = [sample for sample, passed in judged if passed]
                yield JournalBatch(kept=kept, rejected=lost, failed=[vars(one) for one in self.sampler.failed[known:]])
                known = len(self.sampler.failed)
            waiting = [again(request, attempt + 1) for request in waiting if request.key in rejected]

    def _passes(self, sample: Sample, classifier: Classifier) -> bool:
        """Whether the filters let a sample through; a rejected one goes to the rejection log."""
        if (verdict := self.filters.judge(sample)).kept:
            self.filters.keep(sample)
            return True
        seen = self._seen(sample, classifier) if self.rejections.is_written else {}
        guidance = asdict(self.sampler.sampling)
        self.rejections.add(sample, {**asdict(verdict), **seen, "guidance": guidance, "after": self.filters.kept})
        return False

    def _note(self, batch: JournalBatch) -> None:
        """Write a batch down, so that a stop loses little; answer a signal, now that nothing is under way."""
        manifest = self.store.manifest
        self.journal.add(
            batch,
            images=len(manifest),
            chain=manifest.chain,
            batch_size=self.sampler.batch_size,
            together=self.sampler.together,
            rejected=len(self.rejections),
        )
        if signals.asked():
            self.journal.write()
        signals.check()

    def predict_pool(self, classifier: Classifier) -> Predictions | None:
        """Return the predictions for the pool; None if the strategy does without them."""
        return None if self.strategy.mining is None else predict(classifier, self.pool)

    def mine(self, predictions: Predictions | None) -> list[HardExample]:
        """Return the images of the pool that are to be generated anew."""
        return [] if predictions is None or self.mines is None else mine(predictions, self.pool.keys, self.mines)

    @property
    def mines(self) -> Mining | None:
        """How it chooses among the real images: `mining` over what the strategy says; None if it does without.

        A pool of "auto" that nobody has settled is taken for held out, whatever its size: `pool` is what the caller gave.
        """
        own = self.strategy.mining
        return own if own is None else self.mining.over(own)

    def guide_image(self, request: Request) -> Image.Image:
        """Return the real image that a request names."""
        assert request.source is not None
        return self.pool.image(request.source.index)

    def _remember(self, remembered: Sequence[Remembered], number: int) -> None:
        """Let the bank grow: at the end of a round, so that an image does not depend on its batch."""
        if remembered:
            self.files.keep_latents(number, remembered)
        for one in remembered:
            self.sampler.bank.add(one.label, one.latents)

    def _keep(self, batch: Sequence[Sample], classifier: Classifier, plan: Plan) -> None:
        """Commit a batch: images first, then their lines, then what people look at."""
        self.store.add_all([(sample, self._facts(sample, classifier, plan)) for sample in batch])
        for sample in batch:
            if sample.request.source is not None:
                self.previews.add(sample, fit_square(self.guide_image(sample.request), sample.image.size[0]))

    def _facts(self, sample: Sample, classifier: Classifier, plan: Plan) -> dict[str, object]:
        """Return what a manifest line says beside the request."""
        request = sample.request
        mistaken_for = None if request.source is None else plan.mistaken_for.get(request.source.key)
        return {
            "guidance": asdict(self.sampler.sampling),
            **self.sampler.facts,
            "regenerated": sample.regenerated,
            "classifier_accuracy": None if plan.accuracy is None else round(100 * plan.accuracy, 3),
            "guide_probability": None if request.source is None else plan.confidences.get(request.source.key),
            "guide_predicted": None if mistaken_for is None else self.pool.class_names[mistaken_for],
            **self._seen(sample, classifier),
            "candidates": sample.candidates,
            "class_margin": sample.class_margin,
            **({} if sample.held is None else {"held": sample.held}),
            **({} if self.staleness is None else {"staleness": self.staleness}),
            "seconds": round(sample.seconds, 4),
        }

    def _seen(self, sample: Sample, classifier: Classifier) -> dict[str, object]:
        """Return what the classifier says of a generated image.

        `predicted`: the class that it takes it for; `probability` of the class asked for; `margin`: that probability less the
        largest of the other classes, in [-1, 1], below 0 where it takes the image for another class.
        """
        label, pixels = sample.request.label, stack_pixels([fit_square(sample.image, classifier.image_size)])
        likely_K = predict_pixels(classifier, pixels).softmax(dim=1)[0]
        own = float(likely_K[label])
        others_K = likely_K.clone()
        others_K[label] = 0.0
        return {
            "probability": own,
            "predicted": self.pool.class_names[int(likely_K.argmax())],
            "margin": own - float(others_K.max()),
        }
