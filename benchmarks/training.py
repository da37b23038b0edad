"""The training loop beside timm's: images a second, as ratios, and the losses that both come to.

    python benchmarks/training.py                     # all cases, one process and two
    python benchmarks/training.py --cases memory --processes 1 --rounds 3

Both train the same model from the same weights on the same images, with the same transforms, batch size, optimiser, schedule
and number of data-loading processes; `timm` is the loop of its training script, put together from its parts
(`create_transform`, `create_optimizer_v2`, `CosineLRScheduler`, DistributedDataParallel), without what it logs. They take
turns, epoch by epoch, in one process (or in two, by torchrun), each with one thread, so that whatever else the machine does
meets both. The figure of a loop is its fastest epoch; the first is not counted. The losses are those of the last epoch.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision import transforms

from actgen.classifiers.classifier import Classifier
from actgen.core.parallel import ranks
from actgen.data.datasets.imageset import ArrayImages, ImageSet
from actgen.data.datasets.sources import RealData
from actgen.experiment.build import open_data, open_run
from actgen.experiment.config import build_recipe
from actgen.training.callbacks import SILENT
from actgen.training.epoch import train_epoch
from actgen.training.training import Training

CLASSES = 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained on what: `images` of the data, `size` pixels, `settings` of the recipe's augmentation."""

    model: str
    folder: bool
    images: int
    size: int
    batch_size: int
    workers: int
    settings: tuple[str, ...]


POLICY = "rand-m7-inc1"  # with m9 and mstd timm asks Pillow 12 to posterise to no bits, and ends
MEMORY = ("training.augment.shift=2", "training.augment.flip=true")
PHOTOGRAPHS = (
    "training.augment.shift=0",
    "training.augment.flip=true",
    "training.augment.crop=0.08",
    f"training.augment.policy={POLICY}",
    "training.augment.erase=0.2",
)
CASES = {
    "small-cnn, memory": Case(
        model="actgen/small-cnn", folder=False, images=1024, size=32, batch_size=64, workers=0, settings=MEMORY
    ),
    "resnet18, memory": Case(model="resnet18", folder=False, images=256, size=32, batch_size=64, workers=0, settings=MEMORY),
    "small-cnn, JPEGs": Case(
        model="actgen/small-cnn", folder=True, images=256, size=32, batch_size=32, workers=1, settings=PHOTOGRAPHS
    ),
    "resnet18, JPEGs": Case(model="resnet18", folder=True, images=128, size=64, batch_size=32, workers=1, settings=PHOTOGRAPHS),
}


def main() -> None:
    """Measure the cases that are asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="", help="those whose name has this in it")
    parser.add_argument("--processes", default="1,2", help="how many, separated by commas")
    parser.add_argument("--rounds", type=int, default=8, help="counted epochs of each loop")
    parser.add_argument("--measure", nargs=2, metavar=("CASE", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        measure(asked.measure[0], Path(asked.measure[1]), asked.rounds)
        return
    print(f"{'case':<20} {'processes':>9} {'timm/s':>8} {'actgen/s':>8} {'ratio':>6}   loss of timm, of actgen")
    for name in (name for name in CASES if asked.cases in name):
        for processes in (int(text) for text in asked.processes.split(",")):
            found = in_processes(name, processes, asked.rounds)
            rates = {loop: CASES[name].images / min(seconds) for loop, seconds in found["seconds"].items()}
            ratio = rates["actgen"] / rates["timm"]
            losses = "  ".join(f"{found['loss'][loop]:.3f}" for loop in ("timm", "actgen"))
            print(
                f"{name:<20} {processes:>9} {rates['timm']:>8.1f} {rates['actgen']:>8.1f} {ratio:>6.2f}   {losses}", flush=True
            )


def in_processes(name: str, processes: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return what `measure` wrote, in fresh processes."""
    with tempfile.TemporaryDirectory() as folder:
        own = [__file__, "--rounds", str(rounds), "--measure", name, folder]
        many = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
        subprocess.run(
            [sys.executable, *(many if processes > 1 else []), *own],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )
        return dict(json.loads((Path(folder) / "found.json").read_text(encoding="utf-8")))


def measure(name: str, folder: Path, rounds: int) -> None:
    """Have both loops train in turns, in this process or in all of a job; rank 0 writes the seconds of their epochs."""
    ranks.begin()
    case = CASES[name]
    training = opened(case, folder, epochs=rounds + 1)
    model = copy.deepcopy(training.learner.classifier)
    loops: dict[str, Callable[[int], float]] = {
        "timm": Timm(case, model, training.real, rounds + 1).epoch,
        "actgen": lambda epoch: own_epoch(training, epoch),
    }
    seconds: dict[str, list[float]] = {loop: [] for loop in loops}
    losses: dict[str, float] = {}
    for epoch in range(rounds + 1):
        for loop, run in loops.items():
            ranks.total(0.0)  # all begin together
            began = time.perf_counter()
            losses[loop] = run(epoch)
            seconds[loop].append(time.perf_counter() - began)
    if ranks.is_first():
        counted = {loop: spent[1:] for loop, spent in seconds.items()}
        (folder / "found.json").write_text(json.dumps({"seconds": counted, "loss": losses}), encoding="utf-8")
    ranks.end()


def opened(case: Case, folder: Path, epochs: int) -> Training:
    """Return a training of a case, nothing of it done."""
    settings = [
        *case.settings,
        "strategy=none",
        f"model.name={case.model}",
        f"model.image_size={case.size}",
        f"training.epochs={epochs}",
        f"training.batch_size={case.batch_size}",
        f"training.workers={case.workers}",
        "training.learning_rate=0.05",
    ]
    images = photographs(folder / f"data-{ranks.rank()}", case.images) if case.folder else in_memory(case)
    return open_run(build_recipe(None, settings), folder / f"run-{ranks.rank()}", RealData("benchmark", images, None))


def in_memory(case: Case) -> ImageSet:
    """Return pictures of `CLASSES` coloured patterns that can be learned, in memory."""
    rng = np.random.default_rng(0)
    labels = np.arange(case.images) % CLASSES
    pixels = rng.integers(0, 160, (case.images, case.size, case.size, 3), dtype=np.uint8)
    pixels[..., 0] += (20 * labels[:, None, None]).astype(np.uint8)
    names = tuple(f"class {number}" for number in range(CLASSES))
    return ArrayImages(pixels, tuple(labels.tolist()), names, tuple(f"train/{number}" for number in range(case.images)))


def photographs(folder: Path, count: int) -> ImageSet:
    """Write JPEGs of 400 x 500 pixels as class folders and return them."""
    rng = np.random.default_rng(0)
    for number in range(count):
        label = number % CLASSES
        small = rng.integers(0, 160, (25, 20, 3), dtype=np.uint8)
        small[..., 0] += 20 * label
        path = folder / "train" / f"class{label}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(small).resize((400, 500), Image.Resampling.BICUBIC).save(path, quality=90)
    return open_data(build_recipe(None, [f"data={folder}", "strategy=none"])).train


def own_epoch(training: Training, epoch: int) -> float:
    """Train an epoch as `actgen train` does; return its mean loss."""
    loss, _, steps = train_epoch(training, epoch, training.mixture(epoch), SILENT.on_batch)
    training.state.stats.append({"optimizer_steps": steps})
    return loss


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images in memory with torchvision's transforms, as one gives them to timm's loop."""

    def __init__(self, images: ImageSet, transform: Callable[[Image.Image], Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images.image(index)), self.images.labels[index]


class Timm:
    """timm's loop."""

    def __init__(self, case: Case, classifier: Classifier, images: ImageSet, epochs: int) -> None:
        from timm.optim import create_optimizer_v2
        from timm.scheduler import CosineLRScheduler

        self.model: nn.Module = classifier.model
        if ranks.size() > 1:
            self.model = nn.parallel.DistributedDataParallel(self.model)
        self.optimizer = create_optimizer_v2(self.model.parameters(), "sgd", lr=0.05, weight_decay=5e-4, momentum=0.9)
        dataset = Pictures(images, self._transform(case, classifier))
        self.sampler: DistributedSampler[int] = DistributedSampler(dataset, ranks.size(), ranks.rank(), seed=0)
        self.loader = DataLoader(
            dataset,
            batch_size=case.batch_size // ranks.size(),
            sampler=self.sampler,
            num_workers=case.workers,
            drop_last=True,
            persistent_workers=case.workers > 0,
        )
        self.steps = len(self.loader)
        total = epochs * self.steps
        ramp = 0.1 * total
        self.schedule = CosineLRScheduler(
            self.optimizer,
            t_initial=total - ramp,
            warmup_t=ramp,
            warmup_lr_init=0.05 / (ramp + 1),
            warmup_prefix=True,
            t_in_epochs=False,
        )

    @staticmethod
    def _transform(case: Case, classifier: Classifier) -> Callable[[Image.Image], Tensor]:
        from timm.data import create_transform

        mean, std = (tuple(values.flatten().tolist()) for values in (classifier.mean, classifier.std))
        made: Callable[[Image.Image], Tensor]
        if case.folder:
            made = create_transform(case.size, is_training=True, auto_augment=POLICY, re_prob=0.2, mean=mean, std=std)
            return made
        made = transforms.Compose(
            [
                transforms.RandomCrop(case.size, padding=2),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(mean, std),
            ]
        )
        return made

    def epoch(self, epoch: int) -> float:
        """Train an epoch; return its mean loss."""
        self.model.train()
        self.sampler.set_epoch(epoch)
        losses: list[float] = []
        for number, (images, labels) in enumerate(self._batches()):
            self.schedule.step_update(epoch * self.steps + number)
            loss = cross_entropy(self.model(images), labels, label_smoothing=0.1)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(float(loss.detach()))
        return statistics.fmean(losses)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in self.loader:
            yield images.contiguous(memory_format=torch.channels_last), labels


if __name__ == "__main__":
    main()
