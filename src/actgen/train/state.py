"""The moving parts of a training, and their state on disk."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from .. import checkpoint
from ..classify.classifier import Classifier
from ..classify.evaluate import Predictions
from ..classify.mining import CROSS_FIT, TRAINING, Mining
from ..data.crop import Crop
from ..data.evaluation import TEST
from ..data.imageset import ImageSet, Subset, names_digest, to_pixels
from ..data.mixture import CACHE_BYTES, Mixture
from ..data.stored import digest_of_lines
from ..diffuse.weights import hash_networks
from ..errors import UserError
from ..filters.leakage import refuse_leaks
from ..filters.tally import tally
from ..records import Snapshot
from ..strategies.base import BEFORE, EVERY_EPOCH, PLATEAU
from ..synthesis import Round
from .average import averaged
from .microbatch import MicroBatches
from .options import TrainingOptions
from .precision import open_accelerator
from .running import RunningLosses
from .schedule import generating_epochs, round_budgets, stopped_improving, with_refusals

PLATEAU_ROUNDS, PLATEAU_PATIENCE = 5, 2


@dataclass(frozen=True, kw_only=True)
class EpochStats:
    """One epoch; accuracies in percent, times in seconds, `optimizer_steps` since the start.

    `synthetic_images` were trained on, `drawn_so_far` are there after the round. `refused`: requests of this epoch's round that
    gave no picture in any precision, with the reason.
    `filters`: what the round drew, kept and refused (`filters/tally.py`).
    """

    epoch: int
    train_loss: float
    learning_rate: float
    test_accuracy: float | None
    validation_accuracy: float | None
    holdout_accuracy: float | None
    per_class: dict[str, float] | None
    real_images: int
    synthetic_images: int
    drawn_so_far: int
    optimizer_steps: int
    train_seconds: float
    generation_seconds: float
    refused: list[dict[str, str]]
    filters: dict[str, Any]


@dataclass(kw_only=True)
class Training:
    """The moving parts of a run: classifier, optimiser, round and data; `fit` drives them.

    `budget` images are to be drawn in all, in the first part `until` of the epochs. `test` are the images that accuracy is
    measured on; `evaluated_on` says what they are, "test" or "validation" images. `initial_weights` is the digest of the
    classifier before its first step. `left_out`: image files of the data that could not be used.
    """

    classifier: Classifier
    options: TrainingOptions
    real: ImageSet
    folder: Path
    held_out: ImageSet | None = None
    test: ImageSet | None = None
    evaluated_on: str = TEST
    round: Round | None = None
    budget: int = 0
    until: float = 0.5
    seed: int = 0
    data_note: str = ""
    left_out: tuple[str, ...] = ()
    stats: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.initial_weights = hash_networks([self.classifier])
        options = self.options
        self.accelerator = open_accelerator(options.precision)
        optimizer = options.optimizer.create(self.classifier, options.learning_rate, options.weight_decay)
        self.model, self.optimizer = self.accelerator.prepare(self.classifier, optimizer)
        if options.precision != "no":  # only the training step is in mixed precision: see `_step`
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.average = averaged(self.classifier, options.ema_decay) if options.ema_decay else None
        self.total_real = len(self.real.labels)
        self.generating = generating_epochs(options.epochs, self.until) if self.round is not None else 0
        self.budgets = round_budgets(self.budget, self.generating)
        self.running = RunningLosses(self.total_real) if self.mining is not None and self.mining.pool == TRAINING else None
        self.cross_fitted: Predictions | None = None
        self.micro_batches = MicroBatches()
        self.snapshot = Snapshot(folder=".", rows=())
        self._pixels: dict[str, Tensor] = {}

    @property
    def tested(self) -> Classifier:
        """What is tested and saved: the average of the weights where there is one. Rounds look at the classifier itself."""
        return self.classifier if self.average is None else cast(Classifier, self.average.module)

    @property
    def start(self) -> int:
        """The next epoch."""
        return len(self.stats)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """What has to stay the same while a run is stopped, besides its recipe: digests by name."""
        return {
            "generator": "" if self.round is None else str(self.round.artist.facts["generator_hash"]),
            "training images": names_digest(self.real),
        }

    def real_rows(self, epoch: int) -> tuple[int, ...]:
        """Return the real images of an epoch: the held-out ones join when the last round of generation is over."""
        away = set(self.held_out.keys) if self.held_out is not None and epoch < self.generating else set()
        return tuple(i for i, key in enumerate(self.real.keys) if key not in away)

    def crop(self, epoch: int) -> Crop | None:
        """Return how the images of an epoch are cut when they are read; None for the centre square."""
        smallest = self.options.augment.crop
        return Crop(smallest=smallest, seed=self.seed, epoch=epoch) if smallest < 1 else None

    def mixture(self, epoch: int) -> Mixture:
        """Return what an epoch trains on."""
        rows, crop = self.real_rows(epoch), self.crop(epoch)
        cache = None if crop else self.cached("real", self.real)
        if cache is not None and len(rows) < self.total_real:
            cache = cache[list(rows)]
        return Mixture(Subset(self.real, rows), self.snapshot, size=self.classifier.image_size, cache=cache, crop=crop)

    @property
    def mining(self) -> Mining | None:
        """How the rounds choose among the real images; None if they do without."""
        return None if self.round is None else self.round.mines

    def look(self) -> Predictions | None:
        """Return what the round is to see of the real images; None if it does without."""
        if self.round is None or self.mining is None:
            return None
        if self.mining.pool == CROSS_FIT:
            return self.cross_fitted
        seen = self.round.look(self.classifier)
        return seen if seen is None or self.running is None else replace(seen, running_N=self.running.losses_N)

    def owed(self, epoch: int, accuracy: float | None = None) -> int:
        """Return how many images the round of an epoch is to draw: what earlier rounds left is made up for.

        `accuracy`: of the classifier now, on the images that the rounds look at, in percent; it decides when rounds come that
        wait for a plateau. Epoch -1 is before the first.
        """
        drawn, when = len(self.snapshot), EVERY_EPOCH if self.round is None else self.round.strategy.when
        due = self.budget if when == BEFORE else sum(self.budgets[: epoch + 1])
        if when == PLATEAU and epoch + 1 < self.generating:
            due = drawn + self._plateau_share(accuracy)
        return with_refusals(max(0, min(due, self.budget) - drawn), self.refusals, self._share(epoch, when))

    def _share(self, epoch: int, when: str) -> int:
        """Return how many images a round is there for by itself."""
        if when == PLATEAU:
            return -(-self.budget // PLATEAU_ROUNDS)
        return self.budgets[epoch] if epoch >= 0 else self.budget

    def _plateau_share(self, accuracy: float | None) -> int:
        """Return a share of the budget if the accuracy has stopped improving since the last round, else 0."""
        since = [row for row in self.stats if row["drawn_so_far"] == len(self.snapshot)]
        seen = [float(row["holdout_accuracy"]) for row in since] + [float(accuracy or 0.0)]
        return self._share(0, PLATEAU) if stopped_improving(seen, PLATEAU_PATIENCE) else 0

    @property
    def refusals(self) -> int:
        """How many drawings the filters have refused."""
        return 0 if self.round is None or self.round.ledger is None else len(self.round.ledger)

    def tallied(self) -> dict[str, Any]:
        """Return what was drawn, kept and refused since the last statistics."""
        if self.round is None or self.round.ledger is None:
            return {}
        before = [row["filters"] for row in self.stats]
        kept, drawn = sum(row["kept"] for row in before), sum(row["drawn"] for row in before)
        return tally(self.snapshot.rows[kept:], self.round.ledger.rows[drawn - kept :])

    def cached(self, name: str, images: ImageSet) -> Tensor | None:
        """Decode a set of images once; None if it is too large to keep."""
        size = self.classifier.image_size
        if len(images.labels) * 3 * size * size > CACHE_BYTES:
            return None
        if name not in self._pixels:
            self._pixels[name] = to_pixels(images, size)
        return self._pixels[name]


def save(training: Training) -> None:
    """Write checkpoint and statistics after an epoch."""
    state = {
        "model": training.classifier.state_dict(), "optimizer": training.optimizer.state_dict(), "stats": training.stats,
        "images": len(training.snapshot), "bank": training.round.artist.bank.state_dict() if training.round else {},
        "inputs": training.inputs, "running": training.running.state_dict() if training.running else {},
        "average": {} if training.average is None else training.average.module.state_dict(),
        "scaler": training.accelerator.scaler.state_dict() if training.accelerator.scaler else {},
        "checked": digest_of_lines(training.snapshot), "refused": training.refusals,
        "filters": training.round.filters.state_dict() if training.round and training.round.filters else {},
    }  # fmt: skip
    checkpoint.save(training.folder / "checkpoints" / "last.pt", state)
    checkpoint.write_lines(training.folder / "stats.jsonl", training.stats)


def restore(training: Training) -> None:
    """Continue from the checkpoint, if there is one; images drawn after it are set aside, to be drawn again."""
    path = training.folder / "checkpoints" / "last.pt"
    state = checkpoint.load(path)
    images, refused, checked = (0, 0, "") if state is None else _restore(training, path, state)
    if training.round is not None:
        if training.round.filters is not None:
            training.round.filters.load_state_dict({} if state is None else state["filters"])
            refuse_leaks(training.round.filters, training.round.store.snapshot(), images, checked)
        training.round.store.keep(images)
        if training.round.ledger is not None:
            training.round.ledger.keep(refused)
        if training.round.files is not None:
            training.round.files.forget_from(training.start)
        training.snapshot = training.round.store.snapshot()
    if state is not None:  # a stop may have come between the two files
        checkpoint.write_lines(training.folder / "stats.jsonl", training.stats)


def _restore(training: Training, path: Path, state: dict[str, Any]) -> tuple[int, int, str]:
    """Load the state; return how many images had been stored and refused, and the digest of the stored ones."""
    try:
        _refuse_other_inputs(training, dict(state["inputs"]))
        training.classifier.load_state_dict(state["model"])
        training.optimizer.load_state_dict(state["optimizer"])
        if training.average is not None:
            training.average.module.load_state_dict(state["average"])
        if training.accelerator.scaler is not None:
            training.accelerator.scaler.load_state_dict(state["scaler"])
        training.stats = [asdict(EpochStats(**row)) for row in state["stats"]]  # TypeError for anything else
        if training.round is not None:
            training.round.artist.bank.load_state_dict(state["bank"])
        if training.running is not None:
            training.running.load_state_dict(state["running"])
        state["filters"] = dict(state["filters"])
        return int(state["images"]), int(state["refused"]), str(state["checked"])
    except UserError:
        raise
    except (LookupError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise checkpoint.damaged(path) from error


def _refuse_other_inputs(training: Training, before: dict[str, str]) -> None:
    changed = [name for name, digest in training.inputs.items() if before[name] != digest]
    if changed:
        raise UserError(f"the {' and the '.join(changed)} changed since {training.folder} was stopped. Put back what was "
                        "there, or start a new run with another --out.")  # fmt: skip
