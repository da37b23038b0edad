"""Hugging Face's Trainer: a callback that does the rounds, and a collator for the growing dataset.

    active = ActiveGeneration.from_recipe(recipe, out, Classifier(model, size, mean, std))
    Trainer(model, args, train_dataset=active.dataset, data_collator=PixelValues(active.classifier),
            callbacks=[DrawAfterEpochs(active)]).train()

`resume_from_checkpoint` goes on with the images of the epoch. With several processes the first one generates, the others wait.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..classifiers.classifier import Classifier
from ..core.errors import UserError
from .active import ActiveGeneration


class PixelValues:
    """(uint8 [3, S, S], label) items -> the batch that a model of transformers takes, normalised as the rounds see it."""

    def __init__(self, classifier: Classifier) -> None:
        self.mean, self.std = classifier.mean.cpu().clone(), classifier.std.cpu().clone()

    def __call__(self, items: Sequence[tuple[Tensor, int]]) -> dict[str, Tensor]:
        """Return `pixel_values` float32 [B, 3, S, S] and `labels` [B]."""
        pixels = torch.stack([pixels for pixels, _ in items]).float() / 255
        return {"pixel_values": (pixels - self.mean) / self.std, "labels": torch.tensor([label for _, label in items])}


class ActiveTrainerCallback(TrainerCallback):  # type: ignore[misc]
    """A round of generation after each epoch of a Trainer."""

    def __init__(self, active: ActiveGeneration) -> None:
        self.active = active

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Start with the images of the epoch that the Trainer starts or goes on with."""
        if args.max_steps > 0 or args.num_train_epochs != self.active.epochs:
            raise UserError(
                f"the Trainer has num_train_epochs={args.num_train_epochs:g} and max_steps={args.max_steps}, the "
                f"recipe training.epochs = {self.active.epochs}. Give the same number of epochs, which decides when"
                " images are generated, and no max_steps."
            )
        self.active.begin(_finished(state))

    def on_epoch_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Hold the images of this epoch."""
        self.active.begin(_finished(state))

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object) -> None:
        """Generate."""
        if state.epoch is not None and float(state.epoch).is_integer():  # else the epoch was cut short
            self.active.after_epoch(_finished(state) - 1)


def _finished(state: TrainerState) -> int:
    """Return how many epochs are over."""
    return int(state.epoch or 0)
