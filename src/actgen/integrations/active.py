"""ACTIVE GENERATION IN A LOOP OF YOUR OWN: a dataset for the epochs and a hook between them; the rest is as in `actgen train`.

    active = ActiveGeneration.from_recipe(recipe, out, classifier)
    for epoch in range(active.epoch, active.epochs):
        active.begin(epoch)                 # the dataset now holds the images of this epoch
        ...train on active.dataset...
        active.after_epoch(epoch)           # look, mine, plan, generate, keep

Hold-out, budgets, plans, filters and bank follow from the recipe and the epoch alone, and the pictures from these and the
classifier, so with equal weights after each epoch a loop of anybody's generates what `actgen train` generates. Its optimiser,
augmentation and schedule are its own.

With several processes every one of them makes the object and calls both hooks; the first one generates, the others wait.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from ..classifiers.classifier import Classifier
from ..classifiers.mining import CROSS_FIT
from ..core import files
from ..core.errors import UserError
from ..core.frozen import frozen
from ..core.lock import locked, refuse_in_use
from ..core.signals import deferred
from ..core.types import Snapshot
from ..data.datasets.imageset import ImageSet
from ..data.datasets.sources import RealData
from ..data.store.store import Store
from ..diffusion.weights import hash_networks
from ..experiment.build import Generators, held_out_images, open_data, open_generator, open_run
from ..experiment.config import Recipe, build_recipe, to_toml
from ..generation.strategies.base import BEFORE
from ..training.callbacks import SILENT, Callbacks
from ..training.crossfit import cross_fit
from ..training.growing import Growing, Transform
from ..training.loop import finish_epoch, generate_before, generate_if_due
from ..training.proxy_model import train_proxy_model
from ..training.resume import restore, save
from ..training.schedule import generating_epochs
from ..training.stages import Begun
from ..training.training import Training
from .waiting import are_several, from_first, generates_here

_FAILED = -1
_ELSEWHERE = (
    "train_loss",
    "learning_rate",
    "test_accuracy",
    "validation_accuracy",
    "per_class",
    "optimizer_steps",
    "train_seconds",
)


class ActiveGeneration:
    """What a loop needs to train on images that are generated for its classifier: `dataset`, `begin` and `after_epoch`.

    `epochs`: how many the recipe has; `test`: the images to measure on, if there are some. The folder keeps what `actgen train`
    keeps of its rounds; this process holds it until `close`, or the end of the `with` block.
    """

    def __init__(
        self,
        classifier: Classifier,
        dataset: Growing,
        epochs: int,
        test: ImageSet | None,
        training: Training | None,
        held: ExitStack,
    ) -> None:
        """Use `from_recipe`. `training`: in the process that generates."""
        self.classifier, self.dataset, self.epochs, self.test = classifier, dataset, epochs, test
        self._training, self._held, self._prepared, self._closed = training, held, False, False

    @classmethod
    def from_recipe(
        cls,
        recipe: Recipe | str | Path,
        out: str | Path,
        classifier: Classifier,
        *,
        data: RealData | None = None,
        generators: Generators = open_generator,
        transform: Transform | None = None,
    ) -> Self:
        """Open the folder `out`, new or stopped, for a loop that trains `classifier`.

        `recipe`: or its file, or the name of a shipped one. Of its `[training]` the epochs, `batch_size`, `epoch_length`,
        `sampling` and `augment.crop` shape the epochs; the rest of it and `[model]` are for `actgen train` and strategies with
        a proxy model. `transform` makes the items of the dataset of uint8 [3, S, S] pixels. `data`, `generators`: see
        `assembling.open_run`. `UserError` for anything that cannot be used, before anything is written.
        """
        recipe, out = recipe if isinstance(recipe, Recipe) else build_recipe(Path(recipe)), Path(out)
        if recipe.generation.on:
            raise UserError(
                f"generation.on = {recipe.generation.on!r} is for `actgen train`: a loop of your own generates in its "
                "own process. Leave it out."
            )
        data = open_data(recipe) if data is None else data
        _refuse_other_classes(classifier, data.train)
        held, training, images = ExitStack(), None, held_out_images(recipe, data.train)
        if generates_here():
            refuse_in_use(out)
            training = open_run(recipe, out, data, generators, classifier)
        generating = generating_epochs(recipe.training.epochs, recipe.generation.until)
        dataset = Growing(
            data.train,
            out / "store",
            size=classifier.image_size,
            options=recipe.training,
            seed=recipe.seed,
            held_out_keys=() if images is None else frozenset(images.keys),
            until=generating,
            transform=transform,
            extra=data.extra,
        )
        active = cls(classifier, dataset, recipe.training.epochs, data.test, training, held)
        if training is not None:
            held.enter_context(locked(out))
            try:
                restore(training)
                files.write_text(out / "recipe.toml", to_toml(recipe))
            except BaseException:
                held.close()
                raise
        active._show(active.epoch)
        if are_several():
            active._agree()
        return active

    @property
    def epoch(self) -> int:
        """The first epoch whose round is not done: where a loop without a state of its own goes on."""
        return self.dataset.epoch if self._training is None else self._training.state.start

    @property
    def snapshot(self) -> Snapshot:
        """The generated images that the dataset's epoch trains on."""
        return Store(self.dataset.store).snapshot(self.dataset.now[1])

    def begin(self, epoch: int, model: nn.Module | None = None, callbacks: Callbacks = SILENT) -> None:
        """Have the dataset hold the images of `epoch` (0-based), and none that came later; to be called before it is trained.

        What is owed is done first: the round before the training, of strategies that have one, and the round of the last epoch
        if the loop was stopped between saving its own state and the end of that round.
        """
        with self._telling():
            if (training := self._training) is not None:
                if epoch == training.state.start + 1:
                    self._generate(training, epoch - 1, model, callbacks)
                _refuse_gap(training, epoch)
                if epoch == 0:
                    self._prepare(training, -1, model, callbacks)
                self._show(epoch)
        self._agree()

    def after_epoch(self, epoch: int, model: nn.Module | None = None, callbacks: Callbacks = SILENT) -> Snapshot:
        """Do the round that comes after `epoch` (0-based), if one does; return the generated images of the next epoch.

        `model`: the classifier as it is now, if it is another one than this was made for (a moving average of it, say): a
        `Classifier`, or a model like the one in it, also within DistributedDataParallel or torch.compile. Of the `callbacks`
        that of generated images is called. What is generated stays generated: if the loop went back to an earlier state, no
        round is done twice.
        """
        with self._telling():
            if (training := self._training) is not None:
                if epoch >= training.state.start:
                    self._generate(training, epoch, model, callbacks)
                self._show(epoch + 1)
        self._agree()
        return self.snapshot

    def state_dict(self) -> dict[str, Any]:
        """Return where the dataset stands, for the loop's own checkpoint."""
        epoch, generated = self.dataset.now
        return {"epoch": epoch, "generated": generated, "chain": Store(self.dataset.store).manifest.chain_at(generated)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the epoch of a loop's checkpoint; `UserError` if it belongs to another folder."""
        manifest = Store(self.dataset.store).manifest
        epoch, generated = int(state["epoch"]), int(state["generated"])
        if generated > len(manifest) or manifest.chain_at(generated) != state["chain"]:
            raise UserError(
                f"{self.dataset.store} does not hold the images that this state of the loop was trained on. Give "
                "the folder that belongs to it, or start the loop anew in a new one."
            )
        self.begin(epoch)

    def close(self) -> None:
        """Let go of the folder."""
        self._held.close()
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _generate(self, training: Training, epoch: int, model: nn.Module | None, callbacks: Callbacks) -> None:
        """Do the round of an epoch, or the rest of it, and write down that the epoch is over."""
        _refuse_gap(training, epoch)
        if epoch >= self.epochs:
            raise UserError(f"the recipe has {self.epochs} epochs, the loop more. Set training.epochs to those of the loop.")
        if epoch == 0 and training.state.before is None and not self._prepared and _has_preliminaries(training):
            raise UserError("call begin(0) before the first epoch is trained: this strategy has something to do before it.")
        self._prepare(training, epoch, model, callbacks)
        with deferred():
            training.state.trained = {
                **dict.fromkeys(_ELSEWHERE),
                "real_images": len(self.dataset.rows(epoch)),
                "synthetic_images": len(training.state.snapshot),
            }
            finish_epoch(training, epoch, training.state.trained, generate_if_due(training, epoch, callbacks.on_sample))

    def _prepare(self, training: Training, number: int, model: nn.Module | None, callbacks: Callbacks) -> None:
        """Take the classifier as it is now, for round `number`, and do what comes before the first epoch if it is not done."""
        training.learner.classifier = self._seated(self.classifier if model is None else model)
        mining = training.mining
        if mining is not None and mining.pool == CROSS_FIT and training.state.cross_fitted is None:
            training.state.cross_fitted = cross_fit(training, mining)
        if mining is not None and training.needs_proxy_model and training.state.proxy is None:
            training.state.proxy = train_proxy_model(training, mining)
        begun = training.state.begun
        if begun is not None and begun.plan.number == number and begun.weights != hash_networks([training.round_classifier]):
            _start_again(training, begun)
        generate_before(training, callbacks.on_sample)
        self._prepared = True

    def _seated(self, model: nn.Module) -> Classifier:
        """Return a model as a `Classifier`, all of it on the device of its parameters."""
        own: Any = self.classifier
        inner: Any = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        inner = getattr(inner, "_orig_mod", inner)
        if inner is own.model:
            inner = own
        if not isinstance(inner, Classifier):
            inner = Classifier(inner, own.image_size, own.mean.flatten().tolist(), own.std.flatten().tolist())
        seated: Classifier = inner.to(next(inner.model.parameters()).device)
        return seated

    def _show(self, epoch: int) -> None:
        """Have the dataset at `epoch`."""
        training = self._training
        if training is not None:
            known = epoch < training.state.start
            count = int(training.state.stats[epoch]["synthetic_images"]) if known else len(training.state.snapshot)
            self.dataset.at(epoch, count)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """After an error of the first process nothing goes on: its folder is let go of, and the others stop waiting."""
        if self._closed:
            raise UserError(
                f"{self.dataset.store.parent} was let go of. Make the ActiveGeneration anew; it goes on from there."
            )
        try:
            yield
        except BaseException:
            self.close()
            with suppress(RuntimeError):  # of a connection to one that is gone already
                from_first((_FAILED, 0))
            raise

    def _agree(self) -> None:
        """Have the datasets of all processes at the epoch of the first one, which they wait for."""
        if self._training is None and not are_several():
            raise UserError(
                "this process is not the first one, by its environment, and there is no process group to hear of "
                "the first one's images. Call torch.distributed.init_process_group before."
            )
        epoch, generated = from_first(self.dataset.now)
        if epoch == _FAILED:
            raise UserError("the first process stopped with an error, which it shows; so this one ends, too.")
        self.dataset.at(epoch, generated)


def _start_again(training: Training, begun: Begun) -> None:
    """The loop came back to a stopped round with other weights: what was generated of it is set aside, and it is planned
    anew."""
    assert training.round is not None
    training.round.store.keep(begun.plan.images)
    training.round.rejections.keep(begun.plan.rejected)
    if (budgets := training.budget.class_budgets) is not None:
        budgets.take_back()  # or the losses of the weights that are gone would be those after the last round
    training.state.trained = training.state.begun = None
    save(training)


def _has_preliminaries(training: Training) -> bool:
    before = training.round is not None and training.round.strategy.when == BEFORE
    return before or (training.mining is not None and training.mining.pool == CROSS_FIT)


def _refuse_gap(training: Training, epoch: int) -> None:
    if epoch > training.state.start:
        raise UserError(
            f"{training.folder} knows of {training.state.start} epochs, but epoch number {epoch} (from 0) was asked for: "
            "call after_epoch for every epoch, and continue from a state of the loop that fits."
        )


def _refuse_other_classes(classifier: Classifier, real: ImageSet) -> None:
    """Raise `UserError` unless the classifier takes pictures and gives a number for every class."""
    size, wanted = classifier.image_size, len(real.class_names)
    with torch.no_grad(), frozen(classifier):
        logits = classifier.to(next(classifier.model.parameters()).device)(
            torch.zeros(1, 3, size, size, device=classifier.mean.device)
        )
    if tuple(logits.shape) != (1, wanted):
        raise UserError(
            f"the classifier gives {list(logits.shape)} for one image, but the data have {wanted} classes. Give "
            f"one with {wanted} outputs, in the order of the classes."
        )
