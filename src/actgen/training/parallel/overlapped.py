"""A round that is generated in a second process while the next epoch trains: it leaves after one epoch, it joins after the
next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from time import perf_counter
from typing import Any

from ...classifiers.zero_shot import ZeroShot
from ...core.memory import give_back_memory
from ...core.rows import GeneratorColumns
from ...core.types import Request, Sample
from ...data.store.store import Store
from ...diffusion.guides.bank import MemoryBank
from ...generation.presets import SamplingConfig
from ...generation.sampler import FailedRequest, Sampler
from ...generation.sampling_context import NOTHING, SamplingContext
from ..callbacks import OnProgress
from ..resume import save
from ..stages import Begun, PendingRound
from ..training import Training

STALENESS = 1
"""Epochs between the classifier that a round is generated for and the first that trains on it, beyond those of the same
process.

Generated for the classifier after epoch e, while epoch e+1 trains; epoch e+2 is the first that trains on it: (e+2) - e - 1.
"""


@dataclass
class Elsewhere:
    """What a training has to know of a sampler in another process: all but how to generate."""

    facts: GeneratorColumns
    sampling: SamplingConfig
    bank: MemoryBank
    together: int
    batch_size: int
    failed: list[FailedRequest] = field(default_factory=list)
    judges: dict[str, ZeroShot] = field(default_factory=dict)

    @classmethod
    def of(cls, sampler: Sampler) -> Elsewhere:
        """Return what is to be known of a sampler, without its networks."""
        return cls(sampler.facts.copy(), sampler.sampling, sampler.bank, sampler.together, sampler.batch_size)

    def groups(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Nobody asks for it: rounds go to the other process whole."""
        raise AssertionError("the sampler is in another process")

    def generate(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[Sample]:
        """Nobody asks for it: rounds go to the other process whole."""
        raise AssertionError("the sampler is in another process")

    def sample_batches(self, requests: Sequence[Request], context: SamplingContext = NOTHING) -> Iterator[list[Sample]]:
        """Nobody asks for it: rounds go to the other process whole."""
        raise AssertionError("the sampler is in another process")


@contextmanager
def generated_overlapped(training: Training) -> Iterator[None]:
    """Have the rounds of a training generated in its second process, if it has one, until the block ends."""
    if training.background is None or training.round is None:
        yield
        return
    if not _is_needed(training):
        training.background.close()  # what a life that was killed at the end of its rounds has left
        yield
        return
    training.round = replace(training.round, sampler=Elsewhere.of(training.round.sampler))
    give_back_memory()  # the generator's: the second process needs it now
    try:
        training.background.start()
        start_pending(training)
        yield
    finally:
        training.background.close()


@contextmanager
def overlapping(training: Training, on_batch: OnProgress) -> Iterator[OnProgress]:
    """Train beside the second process until the block ends, with its share of the cores if a round is away; yield what is to be
    told of every batch.
    """
    if training.background is None:
        yield on_batch
        return
    with training.background.sharing() if training.state.pending is not None else nullcontext():
        yield training.background.on_progress(on_batch)


def start_pending(training: Training) -> None:
    """Give the second process the round that is to be generated while the next epoch trains; without one it ends after the
    last."""
    if training.background is None or training.round is None:
        return
    if training.state.pending is None:
        if not _is_needed(training):
            training.background.close()
        return
    round_ = training.round
    training.background.generate(
        {
            "inputs": training.inputs,
            "plan": asdict(training.state.pending.begun.plan),
            "weights": training.state.pending.weights,
            "bank": round_.sampler.bank.state_dict(),
            "filters": round_.filters.state_dict(),
        }
    )


def _is_needed(training: Training) -> bool:
    """Whether a round is away, or one may come."""
    state, budget = training.state, training.budget
    return state.pending is not None or (state.start < budget.generating and budget.total > 0)


def join_pending(training: Training, on_sample: OnProgress) -> dict[str, Any]:
    """Take in the round that is away, waiting for it; return its part of the statistics."""
    if training.state.pending is None or training.background is None:
        return {"generation_seconds": 0.0, "failed": []}
    save(training)  # a stop while it waits repeats nothing of the epoch
    began = perf_counter()
    answer = training.background.wait(on_sample)
    seconds = training.state.pending.begun.seconds + float(answer["seconds"])
    _take_in(training, answer)
    return {
        "generation_seconds": round(seconds, 3),
        "waited_seconds": round(perf_counter() - began, 3),
        "staleness": STALENESS,
        "failed": answer["failed"],
    }


def _take_in(training: Training, answer: dict[str, Any]) -> None:
    """Read again what the second process has written, and remember what it remembers."""
    assert training.round is not None
    round_ = training.round
    round_.sampler.bank.load_state_dict(answer["bank"])
    round_.filters.load_state_dict(answer["filters"])
    training.round = replace(
        round_,
        store=Store(round_.store.folder),
        rejections=round_.rejections.reopened(),
    )
    training.state.snapshot = training.round.store.snapshot()
    training.state.pending = None


def pending(training: Training, begun: Begun) -> PendingRound:
    """Return a round that leaves: with the weights as they are now, since the training goes on."""
    weights = training.learner.tested.state_dict()
    return PendingRound(begun, {name: value.detach().cpu().clone() for name, value in weights.items()})
