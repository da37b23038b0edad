"""What the processes of a training tell each other beside the gradients: weights, plans, and the pictures that were generated.

Rank 0 has the store. The other ranks read its files where they see them (one machine, a shared disk), and else get copies into
a folder of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict, cast

import torch
from torch import Tensor

from ...core.files import make_folder
from ...core.frozen import frozen
from ...core.parallel import agreeing, ranks
from ...core.rows import ManifestLine
from ...core.types import Snapshot
from ...generation.sampling_context import SamplingContext
from ...generation.spread import Spread
from ..callbacks import OnProgress
from ..learner import Learner
from ..stages import Begun
from ..training import Training

TOGETHER = 64  # pictures in a message


def agree_on_weights(training: Training) -> None:
    """Have rank 0's weights everywhere, to the last bit."""
    if ranks.size() == 1:
        return
    learner = training.learner
    for module in {id(one): one for one in (learner.classifier, learner.tested, training.round_classifier)}.values():
        state = ranks.broadcast(module.state_dict())
        if not ranks.is_first():
            module.load_state_dict(state)


def agree_on_buffers(learner: Learner) -> None:
    """Have rank 0's buffers everywhere: a BatchNorm on CPUs has statistics of each rank's own part of the batches."""
    if ranks.size() == 1:
        return
    for module in {id(one): one for one in (learner.classifier, learner.tested)}.values():
        own = dict(module.named_buffers())
        for name, buffer in ranks.broadcast(own).items():
            own[name].copy_(buffer)


def begin_together(plan: Callable[[], Begun]) -> Begun:
    """Return what rank 0 plans."""
    if ranks.size() == 1:
        return plan()
    return Begun.from_data(agreeing.of_first(lambda: asdict(plan())))


def generate_together(training: Training, on_sample: OnProgress) -> Snapshot:
    """Generate what the round that has begun has planned, or the rest of it; return what there is to train on."""
    assert training.round is not None
    assert training.state.begun is not None
    round_, sampler = training.round, training.round.sampler
    if ranks.size() == 1:
        return round_.generate(training.state.begun.plan, training.round_classifier, on_sample)
    assert isinstance(sampler, Spread)
    if ranks.is_first():
        with sampler.leading():
            snapshot = round_.generate(training.state.begun.plan, training.round_classifier, on_sample)
        return _handed_on(training.state.snapshot, snapshot)
    with frozen(training.round_classifier):
        sampler.follow(SamplingContext(guide_image=round_.guide_image, classifier=training.round_classifier))
    return _handed_on(training.state.snapshot, training.state.snapshot)


def open_pictures(training: Training) -> None:
    """Give every rank what rank 0 has generated so far, after a start or a restart."""
    if training.round is None:
        return
    there = ranks.broadcast(str(training.folder.resolve()))
    folder = there if agreeing.sees_folder(Path(there)) else str(training.folder)
    nothing = Snapshot(folder=str(Path(folder) / "store"), rows=(), labels=())
    training.state.snapshot = _handed_on(nothing, training.state.snapshot if ranks.is_first() else nothing)


def _handed_on(before: Snapshot, now: Snapshot) -> Snapshot:
    """Return what is there `now` on rank 0, as this rank can read it; the first of them were there `before` everywhere."""
    there, count = ranks.broadcast((str(Path(now.folder).resolve()), len(now)))
    copies = not ranks.is_first() and before.folder != there
    with_files = any(ranks.exchange(copies))
    rows, labels = list(before.rows), list(before.labels)
    for start in range(len(before), count, TOGETHER):
        part = ranks.broadcast(_part(now, start, with_files) if ranks.is_first() else _Part(names=[], labels=[], files=[]))
        if copies:
            _write(Path(before.folder), part)
        rows += [cast(ManifestLine, {"file_name": name}) for name in part["names"]]  # all that a training reads of them
        labels += part["labels"]
    return now if ranks.is_first() else Snapshot(folder=before.folder, rows=rows, labels=labels)


class _Part(TypedDict):
    """Images of a snapshot; `files` hold their bytes, uint8 [n], where they are asked for."""

    names: list[str]
    labels: list[int]
    files: list[Tensor]


def _part(snapshot: Snapshot, start: int, with_files: bool) -> _Part:
    names = [str(row["file_name"]) for row in snapshot.rows[start : start + TOGETHER]]
    files = [(Path(snapshot.folder) / name).read_bytes() for name in names] if with_files else []
    return {
        "names": names,
        "labels": list(snapshot.labels[start : start + TOGETHER]),
        "files": [torch.frombuffer(bytearray(data), dtype=torch.uint8) for data in files],
    }


def _write(folder: Path, part: _Part) -> None:
    for name, data in zip(part["names"], part["files"], strict=True):
        make_folder((folder / name).parent)
        (folder / name).write_bytes(data.numpy().tobytes())
