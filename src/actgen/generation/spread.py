"""A sampler on several processes: each generates some of the batches, and rank 0 gets them all in the order of one process.

Rank 0 does the round with it as with any sampler; the others `follow`, and do what rank 0 says until its round is over. A batch
is generated whole by one rank, so every picture is what it would have been with one process and the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any, TypedDict

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..classifiers.zero_shot import ZeroShot
from ..core import signals
from ..core.errors import UserError
from ..core.parallel import agreeing, ranks
from ..core.rows import GeneratorColumns
from ..core.types import Request, Sample
from .sampler import FailedRequest, Sampler
from .sampling_context import NOTHING, SamplingContext


class PlainSample(TypedDict):
    """A sample as the ranks send it; `image` uint8 [H, W, 3]."""

    key: str
    seed: int
    image: Tensor
    latents: Tensor
    mask: Tensor | None
    seconds: float
    regenerated: str
    candidates: int
    class_margin: float | None
    held: str | None


class BatchResult(TypedDict):
    """What came of a batch on one rank; `left`: the signal that stopped it, 0 if none did; `signal`: one that waits."""

    samples: list[PlainSample]
    failed: list[dict[str, str]]
    batch_size: int
    signal: int
    error: str
    left: int


class Spread(Sampler):
    """The samplers of all ranks as one; `sampler` is this rank's.

    `batch_size` is what fits into the memory of every rank; `leading` and `follow` keep the memories (`bank`) of all equal.
    """

    def __init__(self, sampler: Sampler) -> None:
        self.sampler, self.sampling, self.bank = sampler, sampler.sampling, sampler.bank
        self.failed: list[FailedRequest] = []

    @property
    def batch_size(self) -> int:
        """How many are generated at a time."""
        return self.sampler.batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.sampler.batch_size = value

    @property
    def together(self) -> int:
        """How many requests come with one yield, at most."""
        return self.sampler.together

    @property
    def facts(self) -> GeneratorColumns:
        """The generator's columns of the manifest."""
        return self.sampler.facts

    @property
    def judges(self) -> dict[str, ZeroShot]:
        """The CLIP models that choose."""
        return self.sampler.judges

    def groups(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Return the requests that may share a batch."""
        return self.sampler.groups(requests)

    def sample_batches(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[list[Sample]]:
        """Yield the samples of one batch after the other, generated a batch a rank at a time; for rank 0, within `leading`."""
        waiting = [[one for one in group if one.key not in context.done] for group in self.groups(requests)]
        size, many = self.together, ranks.size()
        batches = [group[start : start + size] for group in waiting for start in range(0, len(group), size)]
        for start in range(0, len(batches), many):
            wave = batches[start : start + many]
            ranks.broadcast({"wave": [[asdict(one) for one in batch] for batch in wave], "batch_size": self.batch_size})
            results = ranks.collect(self._generated(wave[0], context))
            self._heed(results)
            for batch, result in zip(wave, results, strict=False):
                self.failed += [FailedRequest(**one) for one in result["failed"]]
                asked = {one.key: one for one in batch}
                yield [_sample(one, asked[one["key"]]) for one in result["samples"]]

    @contextmanager
    def leading(self) -> Iterator[None]:
        """Tell the other ranks, when rank 0's block ends, that and how it ended: its bank, an error, or a signal."""
        news: list[tuple[int, Tensor]] = []
        self.bank.news = news
        try:
            yield
        except ranks.Lost:
            raise
        except (UserError, OSError) as error:
            ranks.broadcast({"error": agreeing.described(error)})
            raise ranks.Shared(agreeing.described(error)) from error
        except signals.Stopped as stop:
            ranks.broadcast({"signal": stop.number})
            raise
        finally:
            self.bank.news = None
        ranks.broadcast({"added": news})

    def follow(self, context: SamplingContext) -> None:
        """Generate what rank 0 says until its block ends, then have the same bank, or end as it did."""
        while "wave" in (said := ranks.broadcast(dict[str, Any]())):
            self.batch_size = said["batch_size"]
            own = said["wave"][ranks.rank() : ranks.rank() + 1]
            ranks.collect(self._generated([Request.from_data(one) for batch in own for one in batch], context))
        if "error" in said:
            raise ranks.Shared(said["error"])
        if "signal" in said:
            raise signals.Stopped(said["signal"])
        for label, latents in said["added"]:
            self.bank.add(label, latents)

    def _generated(self, requests: Sequence[Request], context: SamplingContext) -> BatchResult:
        """Return what came of a batch on this rank, as plain data."""
        known, samples, left, error = len(self.sampler.failed), list[Sample](), 0, ""
        try:
            samples = list(self.sampler.generate(requests, replace(context, done=())))
        except signals.Stopped as stop:
            left = stop.number
        except (UserError, OSError) as problem:
            error = agreeing.described(problem)
        failed: list[dict[str, str]] = [vars(one) for one in self.sampler.failed[known:]]
        return {
            "samples": [_plain(sample) for sample in samples],
            "failed": failed,
            "batch_size": self.batch_size,
            "signal": signals.signal_asked(),
            "error": error,
            "left": left,
        }

    def _heed(self, results: Sequence[BatchResult]) -> None:
        """End as a rank did that could not go on; generate no more at a time than fits everywhere."""
        self.batch_size = min(result["batch_size"] for result in results)
        for number, result in enumerate(results):
            if result["error"]:
                raise UserError(f"process {number}: {result['error']}" if number else result["error"])
        signals.ask(max(max(result["signal"], result["left"]) for result in results))
        if any(result["left"] for result in results):
            signals.check()  # else when the batches are stored


def _plain(sample: Sample) -> PlainSample:
    return {
        "key": sample.request.key,
        "seed": sample.request.seed,
        "image": torch.from_numpy(np.array(sample.image)),
        "latents": sample.latents,
        "mask": sample.mask,
        "seconds": sample.seconds,
        "regenerated": sample.regenerated,
        "candidates": sample.candidates,
        "class_margin": sample.class_margin,
        "held": sample.held,
    }


def _sample(plain: PlainSample, request: Request) -> Sample:
    """Return the sample that `_plain` wrote; a choice has given its request another seed."""
    return Sample(
        request=replace(request, seed=plain["seed"]),
        image=Image.fromarray(plain["image"].numpy()),
        latents=plain["latents"],
        mask=plain["mask"],
        seconds=plain["seconds"],
        regenerated=plain["regenerated"],
        candidates=plain["candidates"],
        class_margin=plain["class_margin"],
        held=plain["held"],
    )
