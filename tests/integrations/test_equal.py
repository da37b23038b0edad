"""Whoever trains: the same weights after each epoch give the images of `actgen train`, its manifest line by line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Trainer, TrainerCallback, TrainingArguments

from actgen.classifiers.classifier import Classifier
from actgen.integrations.active import ActiveGeneration
from actgen.integrations.growing_folder import GrowingFolder
from actgen.integrations.lightning import ActiveLightningCallback, GrowingData
from actgen.integrations.trainer import ActiveTrainerCallback as DrawAfterTrainerEpochs
from actgen.integrations.trainer import PixelValues
from tests.integrations.conftest import EPOCHS, Trained, assert_same_images

Replay = Callable[..., None]


def bare(active: ActiveGeneration, trained: Trained, _: Path) -> None:
    for epoch in range(active.epoch, active.epochs):
        active.begin(epoch)
        active.classifier.load_state_dict(trained.weights[epoch])
        active.after_epoch(epoch)


def bare_with_another_model(active: ActiveGeneration, trained: Trained, _: Path) -> None:
    """The model is handed over, without the classifier around it: a moving average, for example."""
    for epoch in range(active.epoch, active.epochs):
        other = trained.classifier()
        other.load_state_dict(trained.weights[epoch])
        active.after_epoch(epoch, other.model)


def folder(active: ActiveGeneration, trained: Trained, path: Path) -> None:
    growing = GrowingFolder(active, path / "folder")
    for epoch in range(active.epoch, active.epochs):
        growing.begin(epoch)
        active.classifier.load_state_dict(trained.weights[epoch])
        growing.after_epoch(epoch, active.classifier.model)


class Module(pl.LightningModule):  # type: ignore[misc]
    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return F.cross_entropy(self.classifier(batch[0].float() / 255), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        self.log("accuracy", (self.classifier(batch[0].float() / 255).argmax(dim=1) == batch[1]).float().mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class LightningWeights(pl.Callback):  # type: ignore[misc]
    def __init__(self, classifier: nn.Module, weights: list[dict[str, Tensor]]) -> None:
        self.classifier, self.weights = classifier, weights

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.classifier.load_state_dict(self.weights[trainer.current_epoch])


def lightning(active: ActiveGeneration, trained: Trained, path: Path, batches: int | None = 1, workers: int = 0) -> None:
    callbacks = [LightningWeights(active.classifier, trained.weights), ActiveLightningCallback(active)]
    trainer = pl.Trainer(
        max_epochs=EPOCHS,
        callbacks=callbacks,
        default_root_dir=path,
        accelerator="cpu",
        logger=False,
        limit_train_batches=batches,
        limit_val_batches=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Module(active.classifier), datamodule=GrowingData(active, batch_size=32, workers=workers))


class TrainerWeights(TrainerCallback):  # type: ignore[misc]
    def __init__(self, classifier: nn.Module, weights: list[dict[str, Tensor]]) -> None:
        self.classifier, self.weights = classifier, weights

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.classifier.load_state_dict(self.weights[round(state.epoch) - 1])


def trainer(active: ActiveGeneration, trained: Trained, path: Path, batches: int | None = None, workers: int = 0) -> None:
    arguments = TrainingArguments(
        str(path / "trainer"),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=64,
        save_strategy="no",
        report_to="none",
        remove_unused_columns=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        use_cpu=True,
        dataloader_num_workers=workers,
        dataloader_persistent_workers=workers > 0,
    )
    callbacks = [TrainerWeights(active.classifier, trained.weights), DrawAfterTrainerEpochs(active)]
    Trainer(
        active.classifier.model,
        arguments,
        train_dataset=active.dataset,
        data_collator=PixelValues(active.classifier),
        callbacks=callbacks,
    ).train()


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|LeafSpec).*")  # Lightning's
@pytest.mark.filterwarnings("ignore:.*number of training batches.*:UserWarning")
@pytest.mark.parametrize("replay", [bare, bare_with_another_model, folder, lightning, trainer])
def test_the_same_weights_draw_what_actgen_train_draws(replay: Replay, trained: Trained, tmp_path: Path) -> None:
    with ActiveGeneration.from_recipe(trained.recipe, tmp_path / "out", trained.classifier()) as active:
        replay(active, trained, tmp_path)
        assert active.epoch == EPOCHS
        assert len(active.snapshot) == len(trained.weights) * 3
    assert_same_images(trained.out, tmp_path / "out")


@pytest.mark.filterwarnings("ignore:.*(does not have many workers|LeafSpec).*")
@pytest.mark.parametrize("replay", [lightning, trainer])
def test_trainers_with_a_process_that_stays_train_on_what_is_drawn(replay: Replay, trained: Trained, tmp_path: Path) -> None:
    with ActiveGeneration.from_recipe(trained.recipe, tmp_path / "out", trained.classifier()) as active:
        predictions: list[float] = []

        def see(model: nn.Module, given: Any, named: Any) -> None:
            pixels = given[0] if given else named["pixel_values"]
            predictions.extend(pixels.double().sum(dim=(1, 2, 3)).tolist() if model.training else [])

        hook = active.classifier.model.register_forward_pre_hook(see, with_kwargs=True)
        replay(active, trained, tmp_path, batches=None, workers=1)
        hook.remove()
        length = len(active.dataset)
        assert len(predictions) == EPOCHS * length
        for epoch in range(EPOCHS):
            active.begin(epoch)
            wanted = PixelValues(active.classifier)([active.dataset[place] for place in range(length)])["pixel_values"]
            sums = torch.tensor(predictions[epoch * length : (epoch + 1) * length]).sort().values
            torch.testing.assert_close(sums, wanted.double().sum(dim=(1, 2, 3)).float().sort().values, rtol=0, atol=0.01)


def test_other_weights_draw_other_images(trained: Trained, tmp_path: Path) -> None:
    other = replace(trained, weights=trained.weights[::-1])
    with ActiveGeneration.from_recipe(trained.recipe, tmp_path / "out", trained.classifier()) as active:
        bare(active, other, tmp_path)
    with pytest.raises(AssertionError):
        assert_same_images(trained.out, tmp_path / "out")
