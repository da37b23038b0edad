"""What a bench will cost: one short measurement for every arm, scaled to its runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ...experiment.dry_run import estimate
from .plan import Job


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The runs of an arm at a budget: how many, and what each of them takes."""

    name: str
    runs: int
    optimizer_steps: int
    images: int
    seconds: float


def forecast(jobs: Sequence[Job], out: Path, threads: int) -> Iterator[Forecast]:
    """Yield what the runs of every arm and budget take, measured with `threads` threads; nothing is written."""
    kinds: dict[str, list[Job]] = {}
    for job in jobs:
        kinds.setdefault(job.group, []).append(job)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name, alike in kinds.items():
            seen = estimate(alike[0].recipe, alike[0].folder(out))
            yield Forecast(
                name=name,
                runs=len(alike),
                optimizer_steps=seen.optimizer_steps,
                images=seen.images,
                seconds=seen.train_seconds + seen.generation_seconds,
            )
    finally:
        torch.set_num_threads(before)
