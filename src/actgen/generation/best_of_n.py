"""Candidates -> sample: generate for a request again until the picture teaches something and is what was asked for.

What the classifier doubts teaches most, but a generated image that it doubts is often not of its class at all. So somebody
else is asked, too. By default the generator: a candidate is taken if it denoises better with the words of its class than with
those of the class that the classifier takes it for (`diffusion/class_margin.py`). Or, if one is given, a CLIP model
(`classifiers/zero_shot.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.predictions import predict_pixels
from ..classifiers.zero_shot import ZeroShot
from ..core import signals
from ..core.class_words import class_words
from ..core.errors import UserError
from ..core.memory import is_out_of_memory
from ..core.options import Text, options
from ..core.rng import derive
from ..core.rows import GeneratorColumns
from ..core.types import Request, Sample
from ..data.datasets.imageset import fit_square, stack_pixels
from ..diffusion.class_margin import measure_class_margin
from .sampler import FailedRequest, ImageSampler, OutOfMemory, Sampler
from .sampling_context import NOTHING, SamplingContext

BATCHES = 4  # of requests are open at a time: the last few that are not content fill small batches only once in so many


@options("selection")
class Selection:
    """When a generated image is taken.

    A generated image is worth asking about if the classifier gives its class less than `max_confidence` but at least
    `min_confidence`. It is taken if the generator prefers its class to the classifier's by at least `class_margin`. With `clip`
    that model is asked instead: it must give the class, among the prompts of all, at least `clip_probability`.
    """

    samples_per_request: Annotated[
        int, Field(ge=0, le=1000, description="Generate at most so many to choose from; 1: the first, 0: as the strategy says.")
    ] = 0
    max_confidence: Annotated[float, Field(ge=0, le=1, description="The classifier must give the class less.")] = 0.6
    min_confidence: Annotated[float, Field(ge=0, le=1, description="The classifier must give the class as much.")] = 0.1
    class_margin: Annotated[
        float, Field(ge=-1, le=1, description="By how much the generator must denoise better with the class's own prompt.")
    ] = 0.02
    levels: Annotated[
        int, Field(ge=1, le=1000, description="Noise levels at which it is asked: two evaluations of the UNet each.")
    ] = 6
    clip: Annotated[
        Text, Field(description='Folder or id of a CLIP model, or "bundled", to ask in its place; empty: none.')
    ] = ""
    clip_probability: Annotated[float, Field(ge=0, le=1, description="What CLIP must give the class.")] = 0.5

    def __post_init__(self) -> None:
        if self.min_confidence >= self.max_confidence:
            raise UserError(
                f"selection.min_confidence = {self.min_confidence} is not below selection.max_confidence = "
                f"{self.max_confidence}: nothing would "
                "ever be in doubt. Give a lower one."
            )

    def over(self, own: int) -> Selection:
        """Return these settings with a strategy's `own` number of samples a request where they leave it to the strategy."""
        return self if self.samples_per_request else replace(self, samples_per_request=own)

    def takes(self, candidate: Candidate) -> bool:
        """Whether no further candidate is needed."""
        enough = self.clip_probability if self.clip else self.class_margin
        return candidate.class_margin is not None and candidate.class_margin >= enough


@dataclass(frozen=True)
class Candidate:
    """A generated image, the probability of its class by the classifier, and its class margin by the generator, or CLIP.

    `class_margin` None: not asked.
    """

    sample: Sample
    probability: float
    class_margin: float | None


@dataclass
class _Open:
    """A request under way: its best candidate, how many were generated in how many seconds, why one was broken."""

    best: Candidate | None = None
    generated: int = 0
    seconds: float = 0.0
    reason: str = ""


class BestOfN(Sampler):
    """A sampler that generates up to `samples_per_request` images for a request, until one is taken, and yields the best.

    It has the request's key and its own seed, so that the manifest's line generates it again; its seconds are those of all its
    candidates. What is chosen does not depend on the batch, but for rounding at the thresholds. A request fails if none of
    its candidates is whole.
    """

    def __init__(
        self,
        sampler: ImageSampler,
        options: Selection,
        prompts: Sequence[str],
        clip: ZeroShot | None = None,
        names: Sequence[str] = (),
    ) -> None:
        """`prompts`: the usual ones of all classes, in the order of the labels, and `names` what these are called; `clip`: the
        model that `options` name, if they do.
        """
        self.sampler, self.sampling, self.bank = sampler, sampler.sampling, sampler.bank
        self.failed: list[FailedRequest] = []
        self.options, self.prompts, self.clip, self.names = options, prompts, clip, names

    def rival_prompt(self, request: Request, rival: int) -> str:
        """Return the prompt to compare a request's with: the usual one of the class `rival`, or, if the request has one of
        several, its own with the words of that class.
        """
        own = class_words(request.class_name)
        if not self.names or request.prompt == self.prompts[request.label] or own not in request.prompt:
            return self.prompts[rival]
        return request.prompt.replace(own, class_words(self.names[rival]))

    @property
    def batch_size(self) -> int:
        """How many are generated at a time."""
        return self.sampler.batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.sampler.batch_size = value

    @property
    def facts(self) -> GeneratorColumns:
        """The generator's columns of the manifest."""
        return self.sampler.facts

    @property
    def judges(self) -> dict[str, ZeroShot]:
        """The CLIP model that chooses, if one does."""
        return {} if self.clip is None else {"selection.clip": self.clip}

    @property
    def together(self) -> int:
        """How many requests come with one yield, at most."""
        return BATCHES * self.sampling.batch_size

    def groups(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Return all requests as one group."""
        return [list(requests)]

    def sample_batches(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[list[Sample]]:
        """Yield the chosen samples of some batches' requests at a time."""
        assert context.classifier is not None, "a choice needs a classifier"
        waiting = [request for request in requests if request.key not in context.done]
        for start in range(0, len(waiting), self.together):
            batch = waiting[start : start + self.together]
            generated = self._candidates(batch, replace(context, done=()), context.classifier)
            self.failed += [FailedRequest(key, one.reason) for key, one in generated.items() if one.best is None]
            yield [_chosen(request, one, one.best) for request in batch if (one := generated[request.key]).best is not None]

    def _candidates(self, requests: Sequence[Request], context: SamplingContext, classifier: Classifier) -> dict[str, _Open]:
        """Generate a candidate for every request, another for those whose last one was not taken, and so on.

        A signal is answered between these; what is under way is then generated again when the run goes on.
        """
        generated = {request.key: _Open() for request in requests}
        waiting = list(requests)
        for number in range(self.options.samples_per_request):
            signals.check()
            requested = [candidate(request, number) for request in waiting]
            asked = {one.key: generated[request.key] for one, request in zip(requested, waiting, strict=True)}
            known = len(self.sampler.failed)
            samples = list(self.sampler.generate(requested, context))
            for one in self._judged(samples, classifier):
                of = asked[one.sample.request.key]
                of.best = one if of.best is None else choose([of.best, one], self.options)
                of.seconds += one.sample.seconds
            for rejection in self.sampler.failed[known:]:
                asked[rejection.key].reason = rejection.reason
            for of in asked.values():
                of.generated += 1
            waiting = [one for one in waiting if (best := generated[one.key].best) is None or not self.options.takes(best)]
        return generated

    def _judged(self, samples: Sequence[Sample], classifier: Classifier) -> list[Candidate]:
        """Score all with the classifier, and those that it is unsure of with the generator, or CLIP."""
        if not samples:
            return []
        began = time.perf_counter()
        pixels = stack_pixels([fit_square(sample.image, classifier.image_size) for sample in samples])
        likely = predict_pixels(classifier, pixels).softmax(dim=1)
        labels = torch.tensor([sample.request.label for sample in samples])
        own = likely.gather(1, labels[:, None])[:, 0]
        rivals = likely.scatter(1, labels[:, None], -1.0).argmax(dim=1)
        confidences = ((own < self.options.max_confidence) & (own >= self.options.min_confidence)).nonzero()[:, 0].tolist()
        margins: dict[int, float | None] = {}
        for few in (confidences[start : start + self.batch_size] for start in range(0, len(confidences), self.batch_size)):
            margins |= zip(few, self._margins([samples[i] for i in few], rivals[few].tolist()), strict=True)
        seconds = (time.perf_counter() - began) / len(samples)
        return [
            Candidate(replace(sample, seconds=sample.seconds + seconds), float(own[i]), margins.get(i))
            for i, sample in enumerate(samples)
        ]

    def _margins(self, samples: Sequence[Sample], rivals: Sequence[int]) -> list[float | None]:
        """Return the class margins, or what CLIP gives; None where float16 ends. What does not fit is asked half by half."""
        try:
            return [float(one) if isfinite(one) else None for one in self._asked(samples, rivals)]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(samples) == 1:
                other = "a smaller selection.clip" if self.clip else "--set loading.dtype=float16, loading.offload=true"
                raise OutOfMemory(
                    f"asking about one image does not fit into memory. Try {other}, or selection.samples_per_request=1."
                ) from error
        half = len(samples) // 2
        return self._margins(samples[:half], rivals[:half]) + self._margins(samples[half:], rivals[half:])

    def _asked(self, samples: Sequence[Sample], rivals: Sequence[int]) -> Tensor:
        """Return what CLIP gives to the classes of B samples, or by how much the generator prefers them to `rivals`, [B]."""
        requests = [sample.request for sample in samples]
        if self.clip is not None:
            likely = self.clip.probabilities([sample.image for sample in samples])
            return likely[torch.arange(len(requests)), torch.tensor([request.label for request in requests])]
        latents = torch.stack([sample.latents for sample in samples])
        prompts, seeds = [request.prompt for request in requests], [request.seed for request in requests]
        others = [self.rival_prompt(*pair) for pair in zip(requests, rivals, strict=True)]
        return measure_class_margin(self.sampler.adapter, latents, prompts, others, seeds, self.options.levels)


def _chosen(request: Request, generated: _Open, best: Candidate) -> Sample:
    return replace(
        best.sample,
        request=replace(request, seed=best.sample.request.seed),
        class_margin=best.class_margin,
        candidates=generated.generated,
        seconds=generated.seconds,
    )


def candidate(request: Request, number: int) -> Request:
    """Return the request for candidate `number`; the first has the seed of the request itself."""
    seed = derive(request.seed, "candidate", number) if number else request.seed
    return replace(request, key=f"{request.key}.{number}", seed=seed)


def choose(candidates: Sequence[Candidate], options: Selection) -> Candidate:
    """Return the one that is taken; if there is none, the least sure of those that are sure enough, whose class is likely
    right; if there is none either, the one that the classifier gives most.
    """
    for one in candidates:
        if options.takes(one):
            return one
    sure = [one for one in candidates if one.probability >= options.max_confidence]
    if sure:
        return min(sure, key=lambda one: one.probability)
    return max(candidates, key=lambda one: one.probability)
