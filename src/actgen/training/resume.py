"""The state of a training on disk: checkpoints that a stopped run goes on from, as if it had not been stopped.

    FOLDER/checkpoints/NNNNNNN-STAGE.pt    NNNNNNN epochs are finished

    0-before     the round before the first epoch has begun
    0-ready      nothing is under way, but for a round in a second process (`away.py`)
    1-training   the next epoch was stopped while it trained
    2-generating    it is trained and tested, and its round has begun (how far it is: `store/journal.py`)

The order of the names is that of time; the last few are kept, and an older one is taken if the newest is damaged.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core import files
from ..core.errors import UserError
from ..core.parallel import agreeing, ranks
from ..data.datasets.imageset import names_digest
from ..generation.filters.leakage import refuse_leaks
from .parallel import exchange
from .stages import Begun, EpochStats, PendingRound, Within
from .training import Training

_TRAINING = "1-training"
_log = logging.getLogger(__name__)


def save(training: Training) -> None:
    """Write a checkpoint, then the statistics; checkpoints that are not needed any more are removed. Rank 0 alone does."""
    if not ranks.is_first():
        return
    files.save(_folder(training) / f"{training.state.start:07d}-{_stage(training)}.pt", _state(training))
    files.write_lines(training.folder / "stats.jsonl", training.state.stats)
    _prune(training)


def restore(training: Training) -> None:
    """Continue from the newest checkpoint that is whole; images generated after it are set aside, to be generated again.

    Of several processes rank 0 does, and the others go on from its state.
    """
    with agreeing.agreed():
        if ranks.is_first():
            _restore(training)
    if ranks.size() > 1:
        tests = "" if training.test is None else names_digest(training.test)
        agreeing.refuse_different({**training.inputs, "test images": tests})
        state = ranks.broadcast(_state(training) if ranks.is_first() else dict[str, Any]())
        if not ranks.is_first():
            _apply(training, training.folder, state)
        exchange.open_pictures(training)


def _restore(training: Training) -> None:
    images, rejected, chain = _load(training)
    files.clean(training.folder)
    _prune(training)
    if training.state.stats or (training.folder / "stats.jsonl").exists():  # a stop may have come between the two files
        files.write_lines(training.folder / "stats.jsonl", training.state.stats)
    if (round_ := training.round) is None:
        return
    round_.store.manifest.refresh()  # another process may have held the folder since it was opened
    refuse_leaks(round_.filters, round_.store.snapshot(), images)
    if training.state.begun is None and training.state.pending is None:  # else the round itself goes on with what is there
        round_.store.keep(images, chain)
        round_.rejections.keep(rejected)
    round_.files.forget_from(training.state.start + (training.state.begun is not None))
    training.state.snapshot = round_.store.snapshot(images)


def _prune(training: Training) -> None:
    """Remove what is not needed: old checkpoints, those within an epoch that has gone on, the journal of a finished round."""
    names = sorted(_folder(training).glob("*.pt"))
    spent = [path for path in names[:-1] if path.stem.endswith(_TRAINING)]
    rest = [path for path in names if path not in spent]
    for path in spent + rest[: -training.learner.options.keep_checkpoints]:
        path.unlink()
    under_way = training.state.begun is not None or training.state.pending is not None
    if not under_way and training.round is not None:
        training.round.journal.clear()


def _folder(training: Training) -> Path:
    return training.folder / "checkpoints"


def _stage(training: Training) -> str:
    if training.state.begun is not None and training.state.begun.plan.number < 0:
        return "0-before"
    if training.state.trained is not None:
        return "2-drawing"
    return "0-ready" if training.state.within is None else _TRAINING


def _state(training: Training) -> dict[str, Any]:
    state, store = training.state, None if training.round is None else training.round.store
    return {
        "parts": {name: part.state_dict() for name, part in training.parts.items()},
        "inputs": training.inputs,
        "stats": state.stats,
        "images": len(state.snapshot),
        "rejected": training.rejections,
        "chain": "" if store is None else store.manifest.chain_at(len(state.snapshot)),
        "before": state.before,
        "trained": state.trained,
        "within": None if state.within is None else vars(state.within),
        "begun": None if state.begun is None else asdict(state.begun),
        "away": None if state.pending is None else {**vars(state.pending), "begun": asdict(state.pending.begun)},
    }


def _load(training: Training) -> tuple[int, int, str]:
    """Load the newest whole checkpoint; return how many images and refusals there were, and the chain of the last image."""
    damaged: UserError | None = None
    for path in sorted(_folder(training).glob("*.pt"), reverse=True):
        try:
            state = files.load(path)
            found = _apply(training, path, state or {})
        except files.Damaged as error:
            damaged = damaged or error
            continue
        if damaged is not None:
            _log.warning("%s The run goes on from the one before.", str(damaged).partition(" Remove")[0])
        return found
    if damaged is not None:
        raise damaged
    return 0, 0, ""


def _apply(training: Training, path: Path, state: dict[str, Any]) -> tuple[int, int, str]:
    try:
        _refuse_other_inputs(training, dict(state["inputs"]))
        parts = dict(state["parts"])
        for name, part in training.parts.items():
            part.load_state_dict(parts[name])
        within, begun, pending = state["within"], state["begun"], state.get("away")
        now = training.state
        now.stats = [asdict(EpochStats(**row)) for row in state["stats"]]  # TypeError for anything else
        now.before = None if state["before"] is None else float(state["before"])
        now.trained = None if state["trained"] is None else _checked(dict(state["trained"]))
        now.within = None if within is None else Within(**within)
        now.begun = None if begun is None else Begun.from_data(begun)
        now.pending = None if pending is None else _pending(training, dict(pending))
        return int(state["images"]), int(state["rejected"]), str(state["chain"])
    except UserError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise files.damaged(path) from error


def _pending(training: Training, state: dict[str, Any]) -> PendingRound:
    """Return the round that was away; ValueError if its weights are not those of a classifier like this run's."""
    weights = dict(state["weights"])
    own = training.learner.tested.state_dict()
    if {name: value.shape for name, value in weights.items()} != {name: value.shape for name, value in own.items()}:
        raise ValueError("weights of another classifier")
    return PendingRound(Begun.from_data(state["begun"]), weights)


def _checked(trained: dict[str, Any]) -> dict[str, Any]:
    """Return the statistics of an epoch that has trained; TypeError if they are not those."""
    EpochStats(epoch=0, **trained, holdout_accuracy=None, generation_seconds=0.0, failed=[], generated_so_far=0, filters={})
    return trained


def _refuse_other_inputs(training: Training, before: dict[str, str]) -> None:
    changed = [name for name, digest in training.inputs.items() if before.get(name, "") != digest]
    if changed:
        raise UserError(
            f"the {' and the '.join(changed)} changed since {training.folder} was stopped. Put back what was "
            "there, or start a new run with another --out."
        )
