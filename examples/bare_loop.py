"""Active generation in a bare PyTorch loop, with data-loading processes that stay from epoch to epoch.

    python examples/bare_loop.py runs/bare
    python examples/bare_loop.py runs/bare      # after a stop: goes on where it was

Anything of the recipe can be changed behind the folder: `generation.budget=0.1 training.epochs=8`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

import actgen

SETTINGS = ["training.epochs=6", "generation.budget=0.1", "images=500"]  # a minute on two cores


def network(classes: int) -> nn.Module:
    """Return any module that gives logits; nothing of it is known to actgen."""
    layers = [nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, classes))


def train(recipe: actgen.Recipe, out: Path, classes: int = 10, size: int = 32, workers: int = 2) -> None:
    """Train a network with active generation; the same call goes on after a stop."""
    torch.manual_seed(0)
    classifier = actgen.Classifier(network(classes), size, mean=(0.5,) * 3, std=(0.5,) * 3)
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.05, momentum=0.9)
    with actgen.ActiveGeneration.from_recipe(recipe, out, classifier) as active:
        first = restore(out / "loop.pt", active, classifier, optimizer)
        loader = DataLoader(
            active.dataset, recipe.training.batch_size, num_workers=workers, persistent_workers=workers > 0
        )  # made once; no shuffle=True: every epoch has its own order, by seed
        for epoch in range(first, active.epochs):
            active.begin(epoch)  # the dataset now holds the images of this epoch, in all processes
            for pixels, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(classifier(pixels.float() / 255), labels).backward()
                optimizer.step()
            active.after_epoch(epoch)  # look, mine, plan, generate, keep
            save(out / "loop.pt", active, classifier, optimizer)
            print(f"epoch {epoch + 1}: {len(active.snapshot)} images generated so far")


def save(path: Path, active: actgen.ActiveGeneration, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the loop's own state, whole or not at all."""
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "active": active.state_dict()}
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def restore(path: Path, active: actgen.ActiveGeneration, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Read the loop's own state, if there is one; return the epoch to go on with."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    active.load_state_dict(state["active"])
    return int(state["active"]["epoch"])


if __name__ == "__main__":
    train(actgen.build_recipe(settings=[*SETTINGS, *sys.argv[2:]]), Path(sys.argv[1]))
