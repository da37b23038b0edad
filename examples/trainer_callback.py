"""Active generation in Hugging Face's Trainer: a callback, the growing dataset and a collator.

    python examples/trainer_callback.py runs/trainer
    python examples/trainer_callback.py runs/trainer      # after a stop: goes on where it was

A ViT from nothing, small; `ViTForImageClassification.from_pretrained` of published weights goes in the same way.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import Trainer, TrainingArguments, ViTConfig, ViTForImageClassification
from transformers.trainer_utils import get_last_checkpoint

import actgen
from actgen.integrations.trainer import ActiveTrainerCallback, PixelValues

SETTINGS = ["training.epochs=6", "generation.budget=0.1", "images=500"]


def network(classes: int, size: int, saved: str | None) -> ViTForImageClassification:
    """Return a small ViT, or the one that a Trainer saved.

    The Trainer loads its checkpoint as well, but without the names that transformers gives some weights when it saves them, of
    a ViT too: those stay as they are here (transformers issue 43701).
    """
    if saved is not None:
        return ViTForImageClassification.from_pretrained(saved)
    config = ViTConfig(
        image_size=size,
        patch_size=size // 4,
        num_labels=classes,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    return ViTForImageClassification(config)


def train(recipe: actgen.Recipe, out: Path, classes: int = 10, size: int = 32, workers: int = 2) -> None:
    """Train with active generation; the same call goes on after a stop."""
    torch.manual_seed(0)
    saved = last(out / "trainer")
    model = network(classes, size, saved)
    classifier = actgen.Classifier(model, size, mean=(0.5,) * 3, std=(0.5,) * 3)
    arguments = TrainingArguments(
        str(out / "trainer"),
        num_train_epochs=recipe.training.epochs,  # the recipe's: they decide when images are generated
        per_device_train_batch_size=recipe.training.batch_size,
        learning_rate=1e-3,
        save_strategy="epoch",
        save_total_limit=2,
        dataloader_num_workers=workers,
        dataloader_persistent_workers=workers > 0,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=recipe.seed,
    )
    with actgen.ActiveGeneration.from_recipe(recipe, out, classifier) as active:
        trainer = Trainer(
            model,
            arguments,
            train_dataset=active.dataset,
            data_collator=PixelValues(classifier),
            callbacks=[ActiveTrainerCallback(active)],
        )
        trainer.train(resume_from_checkpoint=saved)
        print(f"{len(active.snapshot)} images generated")


def last(folder: Path) -> str | None:
    """Return the Trainer's newest checkpoint, None if there is none."""
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


if __name__ == "__main__":
    train(actgen.build_recipe(settings=[*SETTINGS, *sys.argv[2:]]), Path(sys.argv[1]))
