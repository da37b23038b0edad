"""Active generation for timm's train script, or any script that reads a folder: the folder grows between the epochs.

    python examples/timm_folder.py runs/timm
    python examples/timm_folder.py runs/timm      # after a stop: goes on where it was

What timm's train.py does, epoch by epoch, with timm's own parts: the script is not in timm's wheel. docs/loops.md says how to
use it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import create_dataset, create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import AverageMeter

import actgen
from actgen.integrations.growing_folder import GrowingFolder

SETTINGS = ["training.epochs=6", "generation.budget=0.1", "images=500"]


def loader_of(folder: Path, split: str, classifier: actgen.Classifier, batch_size: int, workers: int) -> Any:
    """Return timm's loader of a split, with timm's augmentation for training; its processes list the folder as it is now."""
    dataset, size = create_dataset("", root=str(folder), split=split), classifier.image_size
    return create_loader(
        dataset,
        input_size=(3, size, size),
        batch_size=batch_size,
        is_training=split == "train",
        num_workers=workers,
        mean=tuple(classifier.mean.flatten().tolist()),
        std=tuple(classifier.std.flatten().tolist()),
        use_prefetcher=False,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        auto_augment="rand-m7-mstd0.5",
    )


def train_one_epoch(epoch: int, model: Any, loader: Any, optimizer: Any, scheduler: Any) -> float:
    """Train on what is in the folder; return the mean loss."""
    losses, loss_of = AverageMeter(), LabelSmoothingCrossEntropy(0.1)
    model.train()
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.update(loss.item(), len(images))
    scheduler.step(epoch + 1)
    return float(losses.avg)


def train(
    recipe: actgen.Recipe, out: Path, classes: int = 10, size: int = 32, workers: int = 2, name: str = "resnet18"
) -> None:
    """Train with active generation; the same call goes on after a stop."""
    torch.manual_seed(0)
    model, config = timm.create_model(name, num_classes=classes), timm.get_pretrained_cfg(name)
    classifier = actgen.Classifier(model, size, config.mean, config.std)
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.05, momentum=0.9, weight_decay=5e-4)
    scheduler, _ = create_scheduler_v2(optimizer, sched="cosine", num_epochs=recipe.training.epochs)
    with actgen.ActiveGeneration.from_recipe(recipe, out, classifier) as active:
        folder, state = GrowingFolder(active, out / "folder"), out / "last.pt"
        first = restore(state, model, optimizer, scheduler)
        for epoch in range(first, active.epochs):
            torch.manual_seed(recipe.seed + epoch)  # of timm's augmentation and order, so that a stop changes nothing
            folder.begin(epoch)
            loader = loader_of(folder.folder, "train", classifier, recipe.training.batch_size, workers)
            loss = train_one_epoch(epoch, model, loader, optimizer, scheduler)
            folder.after_epoch(epoch, model)
            save(state, epoch + 1, model, optimizer)
            print(f"epoch {epoch + 1}: {len(loader.dataset)} images, loss {loss:.3f}, generated so far {len(active.snapshot)}")


def save(path: Path, epoch: int, model: Any, optimizer: Any) -> None:
    """Write the state to go on from, whole or not at all."""
    state = {"epoch": epoch, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def restore(path: Path, model: Any, optimizer: Any, scheduler: Any) -> int:
    """Read the state, if there is one; return the epoch to go on with."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    scheduler.step(state["epoch"])
    return int(state["epoch"])


if __name__ == "__main__":
    train(actgen.build_recipe(settings=[*SETTINGS, *sys.argv[2:]]), Path(sys.argv[1]))
