"""PyTorch Lightning: a callback that does the rounds, and a data module whose batches grow.

    active = ActiveGeneration.from_recipe(recipe, out, classifier)
    trainer = pl.Trainer(max_epochs=active.epochs, callbacks=[DrawAfterEpochs(active)])
    trainer.fit(module, datamodule=GrowingData(active, batch_size=64, workers=4))

The callback's state is in Lightning's checkpoints: `trainer.fit(..., ckpt_path=...)` goes on with the images of the epoch.
With several processes (strategy "ddp") the first one generates and the others wait.
"""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader

from ..core.errors import UserError
from ..data.mixture import Mixture
from ..training.growing import Growing
from .active import ActiveGeneration

try:
    import pytorch_lightning as pl
except ImportError as error:
    raise UserError("pytorch-lightning is not installed. Install it: pip install 'actgen[lightning]'.") from error


class ActiveLightningCallback(pl.Callback):  # type: ignore[misc]
    """A round of generation after each epoch; put it behind callbacks that change the weights at an epoch's end."""

    def __init__(self, active: ActiveGeneration) -> None:
        self.active, self._restored = active, False

    def state_dict(self) -> dict[str, object]:
        """Return which epoch's images are trained on."""
        return self.active.state_dict()

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Go on with these."""
        self.active.load_state_dict(state_dict)
        self._restored = True

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that was made without this callback: it does not say which images it was trained on."""
        if self.state_key not in checkpoint.get("callbacks", {}):
            raise UserError("this Lightning checkpoint was made without DrawAfterEpochs. Start without it.")

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with the images of the first epoch, unless a checkpoint said otherwise."""
        if trainer.max_epochs != self.active.epochs:
            raise UserError(
                f"the Trainer has max_epochs={trainer.max_epochs}, the recipe training.epochs = "
                f"{self.active.epochs}. Give the same number: it decides when images are generated."
            )
        if not self._restored:
            self.active.begin(0)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make up for a round that was stopped after Lightning had saved the epoch."""
        self.active.begin(trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Generate."""
        self.active.after_epoch(trainer.current_epoch)


class GrowingData(pl.LightningDataModule):  # type: ignore[misc]
    """The growing dataset in loaders that are made once; with `workers`, their processes stay from epoch to epoch."""

    def __init__(self, active: ActiveGeneration, *, batch_size: int, workers: int = 0) -> None:
        super().__init__()
        self.active, self.batch_size, self.workers = active, batch_size, workers

    def train_dataloader(self) -> DataLoader[object]:
        """Return the loader of the growing set, which is in a new order every epoch."""
        return self._loader(self.active.dataset)

    def val_dataloader(self) -> DataLoader[object] | list[object]:
        """Return the loader of the images to measure on, none if there are none."""
        test = self.active.test
        return [] if test is None else self._loader(Mixture(test, size=self.active.classifier.image_size))

    def _loader(self, dataset: Growing | Mixture) -> DataLoader[object]:
        return DataLoader(dataset, self.batch_size, num_workers=self.workers, persistent_workers=self.workers > 0)
