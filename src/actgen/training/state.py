"""The moving parts of a training."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor

from ..classifiers.classifier import Classifier
from ..classifiers.mining import CROSS_FIT, TRAINING, Mining
from ..classifiers.predictions import Predictions
from ..classifiers.zero_shot import ZeroShot
from ..core.device import open_accelerator
from ..core.parallel import ranks
from ..core.types import Snapshot
from ..data.crop import Crop
from ..data.datasets.evaluation import TEST
from ..data.datasets.imageset import ImageSet, Subset, names_digest, to_pixels
from ..data.mixture import CACHE_BYTES, Mixture
from ..diffusion.weights import hash_networks
from ..generation.filters.tally import tally
from ..generation.round import Round
from ..generation.strategies.base import BEFORE, EVERY_EPOCH, PLATEAU
from ..generation.strategies.class_budgets import ClassBudgets
from .distil import Taught
from .optim.average import averaged
from .optim.microbatch import MicroBatches
from .options import MIXED, TrainingOptions
from .parallel.background import Background
from .parallel.batchnorm import has_batch_norm
from .running_losses import RunningLosses
from .schedule import epoch_budgets, generating_epochs, has_round, stopped_improving, with_rejections
from .stages import Begun, PendingRound, Proxy, ProxyModel, Within

PLATEAU_ROUNDS, PLATEAU_PATIENCE = 5, 2


class Stateful(Protocol):
    """Whatever has a state that a stopped run goes on with."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state: tensors, numbers, strings, lists and dicts of them."""
        ...

    def load_state_dict(self, state: Any) -> Any:
        """Take the state back."""
        ...


@dataclass(kw_only=True)
class Training:
    """The moving parts of a run: classifier, optimiser, round and data; `fit` drives them.

    `budget` images are to be generated in all, in rounds after each `every`th of the first part `until` of the epochs. `test`
    are the images that accuracy is measured on; `shift_budget`: classes that are generated badly get less
    (`strategies/class_budgets.py`). `evaluated_on` says what they are, "test" or "validation" images. `initial_weights` is the
    digest of the classifier before its first step. `left_out`: image files of the data that could not be used. `learns`:
    whether `fit` moves the weights; where another loop does (`active.py`), there is no optimiser, and no running losses. The
    last `extra` of the `real` images lengthen no epoch. `teacher`: who gives soft labels (`distil.py`), `taught` when it has.

    Of the epoch under way: `within` is set when it was stopped while it trained, `trained` (its part of the statistics) when it
    has trained and been tested, `begun` when its round has begun. `before`: the seconds of a round before the first epoch.

    `background`: the second process that generates the rounds, if there is one; `pending` is the round that it generates now.

    `proxies`: what was trained before the training to choose what is generated, by name. `predictions`: the last look at
    `test`.
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
    extra: int = 0
    teacher: ZeroShot | None = None
    until: float = 0.5
    every: int = 1
    shift_budget: bool = False
    seed: int = 0
    data_note: str = ""
    left_out: tuple[str, ...] = ()
    learns: bool = True
    stats: list[dict[str, Any]] = field(default_factory=list)
    within: Within | None = None
    trained: dict[str, Any] | None = None
    begun: Begun | None = None
    before: float | None = None
    background: Background | None = None
    pending: PendingRound | None = None
    proxies: dict[str, Proxy] = field(default_factory=dict)
    predictions: Predictions | None = None

    def __post_init__(self) -> None:
        self.initial_weights = hash_networks([self.classifier])
        self.average: Any = None
        self.running: RunningLosses | None = None
        if self.learns:
            self._open_learning()
        self.total_real = len(self.real.labels)
        later = self.background is not None  # an epoch more lies between a round and the first epoch that trains on it
        self.generating = generating_epochs(self.options.epochs, self.until, later) if self.round is not None else 0
        self.budgets = epoch_budgets(self.budget, self.generating, self.every)
        self.cross_fitted: Predictions | None = None
        self.proxy: ProxyModel | None = None
        self.taught: Taught | None = None
        self.class_budgets = ClassBudgets(len(self.real.class_names)) if self.round is not None and self.shift_budget else None
        self.micro_batches = MicroBatches(may_split=ranks.size() == 1 or not has_batch_norm(self.classifier))
        self.snapshot = Snapshot(folder=".", rows=(), labels=())
        self._pixels: dict[str, Tensor] = {}

    def _open_learning(self) -> None:
        """Make what the training steps need."""
        options = self.options
        self.accelerator = open_accelerator(options.precision, f'training.precision = "{options.precision}"')
        optimizer = options.optimizer.create(self.classifier, options.learning_rate, options.weight_decay)
        if ranks.size() == 1 and self.accelerator.num_processes == 1:
            self.model, self.optimizer = self.accelerator.prepare(self.classifier, optimizer)
        else:  # accelerate would wrap the model; what ranks share is in `loop.py`, and a loop of others has one of them here
            self.model = self.accelerator.prepare_model(self.classifier, evaluation_mode=True)
            self.optimizer = self.accelerator.prepare_optimizer(optimizer)
        if options.precision in MIXED:  # only the training step is in mixed precision: see `_step`
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.average = averaged(self.classifier, options.ema_decay) if options.ema_decay else None
        watched = self.mining is not None and self.mining.pool == TRAINING
        self.running = RunningLosses(len(self.real.labels)) if watched else None

    @property
    def own_real(self) -> int:
        """How many real images the steps of an epoch are counted from: all but the extra ones."""
        return self.total_real - self.extra

    @property
    def own(self) -> ImageSet:
        """The real images without the extra ones."""
        return Subset(self.real, tuple(range(self.own_real))) if self.extra else self.real

    @property
    def tested(self) -> Classifier:
        """What is tested and saved: the average of the weights where there is one."""
        return self.classifier if self.average is None else cast(Classifier, self.average.module)

    @property
    def round_classifier(self) -> Classifier:
        """What the rounds ask: what is tested, or before the training, if there is one, the proxy model."""
        return self.tested if self.proxy is None else self.proxy.classifier

    @property
    def needs_proxy_model(self) -> bool:
        """Whether its round comes before the training but wants to know what a trained classifier finds hard."""
        before = self.round is not None and self.round.strategy.when == BEFORE
        return before and self.mining is not None and self.mining.pool == TRAINING

    @property
    def start(self) -> int:
        """The next epoch."""
        return len(self.stats)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """What has to stay the same while a run is stopped, besides its recipe: digests by name."""
        return {
            "generator": "" if self.round is None else str(self.round.sampler.facts["generator_hash"]),
            "training images": names_digest(self.real),
            "loop": "" if self.learns else "another",
        }

    @property
    def parts(self) -> dict[str, Stateful]:
        """All that has a state, by name: what a checkpoint holds and gives back."""
        scaler = self.accelerator.scaler if self.learns else None
        return {
            **({"model": self.classifier, "optimizer": self.optimizer} if self.learns else {}),
            **({} if self.average is None else {"average": self.average.module}),
            **({} if scaler is None else {"scaler": scaler}),
            **({} if self.class_budgets is None else {"class_budgets": self.class_budgets}),
            **({} if self.running is None else {"running": self.running}),
            **({} if self.round is None else {"bank": self.round.sampler.bank}),
            **({} if self.round is None else {"filters": self.round.filters}),
        }

    def real_rows(self, epoch: int) -> tuple[int, ...]:
        """Return the real images of an epoch: the held-out ones join when the last round of generation is over."""
        pending = set(self.held_out.keys) if self.held_out is not None and epoch < self.generating else set()
        return tuple(i for i, key in enumerate(self.real.keys) if key not in pending)

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

    @property
    def mined_pool(self) -> str | None:
        """Which images the rounds look at, by name; None if none."""
        return None if self.mining is None else self.mining.pool

    def predict_pool(self) -> Predictions | None:
        """Return what the round is to see of the real images; None if it does without."""
        if self.round is None or self.mining is None:
            return None
        if self.mining.pool == CROSS_FIT:
            return self.cross_fitted
        if self.proxy is not None:
            return self.proxy.predictions
        predictions = self.round.predict_pool(self.tested)
        return (
            predictions
            if predictions is None or self.running is None
            else replace(predictions, running_N=self.running.losses_N)
        )

    def has_round(self, epoch: int) -> bool:
        """Whether there is a look at the real images, and perhaps a round, after an epoch."""
        if self.round is None or epoch >= self.generating:
            return False
        return self.round.strategy.when == PLATEAU or has_round(epoch, self.generating, self.every)

    def owed(self, epoch: int, accuracy: float | None = None) -> int:
        """Return how many images the round of an epoch is to generate: what earlier rounds left is made up for.

        `accuracy`: of the classifier now, on the images that the rounds look at, in percent; it decides when rounds come that
        wait for a plateau. Epoch -1 is before the first.
        """
        generated, when = len(self.snapshot), EVERY_EPOCH if self.round is None else self.round.strategy.when
        due = self.budget if when == BEFORE else sum(self.budgets[: epoch + 1])
        if when == PLATEAU and epoch + 1 < self.generating:
            due = generated + self._plateau_share(accuracy)
        return with_rejections(max(0, min(due, self.budget) - generated), self.rejections, self._share(epoch, when))

    def _share(self, epoch: int, when: str) -> int:
        """Return how many images a round is there for by itself."""
        if when == PLATEAU:
            return -(-self.budget // PLATEAU_ROUNDS)
        return self.budgets[epoch] if epoch >= 0 else self.budget

    def _plateau_share(self, accuracy: float | None) -> int:
        """Return a share of the budget if the accuracy has stopped improving since the last round, else 0."""
        since = [row for row in self.stats if row["generated_so_far"] == len(self.snapshot)]
        predictions = [float(row["holdout_accuracy"]) for row in since] + [float(accuracy or 0.0)]
        return self._share(0, PLATEAU) if stopped_improving(predictions, PLATEAU_PATIENCE) else 0

    @property
    def rejections(self) -> int:
        """How many generated images the filters have refused."""
        return 0 if self.round is None else len(self.round.rejections)

    def tallied(self) -> dict[str, Any]:
        """Return what was generated, kept and refused since the last statistics."""
        if self.round is None or not self.round.rejections.is_written:
            return {}
        before = [row["filters"] for row in self.stats]
        kept, generated = sum(row["kept"] for row in before), sum(row["generated"] for row in before)
        return {**tally(self.snapshot.rows[kept:], self.round.rejections.rows[generated - kept :])}

    def counts(self) -> tuple[list[int], list[int]]:
        """Return how many images of each class were generated, and kept, until the last statistics."""
        tallies = [row["filters"].get("classes", {}) for row in self.stats]

        def total(name: str, what: str) -> int:
            return sum(classes[name][what] for classes in tallies if name in classes)

        names = self.real.class_names
        return [total(name, "generated") for name in names], [total(name, "kept") for name in names]

    def cached(self, name: str, images: ImageSet) -> Tensor | None:
        """Decode a set of images once; None if it is too large to keep."""
        size = self.classifier.image_size
        if len(images.labels) * 3 * size * size > CACHE_BYTES:
            return None
        if name not in self._pixels:
            self._pixels[name] = to_pixels(images, size)
        return self._pixels[name]
