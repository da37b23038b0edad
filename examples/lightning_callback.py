"""Active generation in PyTorch Lightning: a callback and a data module.

pip install 'actgen[lightning]'
python examples/lightning_callback.py runs/lightning
python examples/lightning_callback.py runs/lightning      # after a stop: goes on where it was
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.nn import functional as F

import actgen
from actgen.integrations.lightning import ActiveLightningCallback, GrowingData

SETTINGS = ["training.epochs=6", "generation.budget=0.1", "images=500"]


class Module(pl.LightningModule):  # type: ignore[misc]
    """A classifier as Lightning trains it: pixels come as uint8, the classifier takes them in [0, 1]."""

    def __init__(self, classifier: actgen.Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss."""
        pixels, labels = batch
        return F.cross_entropy(self.classifier(pixels.float() / 255), labels)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Measure the accuracy on the images that the recipe measures on."""
        pixels, labels = batch
        right = self.classifier(pixels.float() / 255).argmax(dim=1) == labels
        self.log("accuracy", right.float().mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """Return the optimiser."""
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


def train(recipe: actgen.Recipe, out: Path, classes: int = 10, size: int = 32, workers: int = 2) -> None:
    """Train with active generation; the same call goes on after a stop."""
    classifier = actgen.create_classifier("actgen/tiny-cnn", classes, data_size=size)
    with actgen.ActiveGeneration.from_recipe(recipe, out, classifier) as active:
        saved = ModelCheckpoint(out / "lightning", filename="last", enable_version_counter=False)
        trainer = pl.Trainer(
            max_epochs=active.epochs,  # the recipe's: they decide when images are generated
            callbacks=[ActiveLightningCallback(active), saved],
            default_root_dir=out,
            accelerator="auto",
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        data = GrowingData(active, batch_size=recipe.training.batch_size, workers=workers)
        last = out / "lightning" / "last.ckpt"
        trainer.fit(Module(classifier), datamodule=data, ckpt_path=last if last.exists() else None, weights_only=True)
        print(f"{len(active.snapshot)} images generated")


if __name__ == "__main__":
    train(actgen.build_recipe(settings=[*SETTINGS, *sys.argv[2:]]), Path(sys.argv[1]))
