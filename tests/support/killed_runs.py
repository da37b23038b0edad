"""Kinds of small runs that are to be killed or stopped, each with its clean end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.support.lives import Ended, Nursery

CHECKPOINT_IMAGES = 8
RUNS = {
    "guided by hard examples": ["strategy=actgen"],
    "all before the training, chosen": [
        "strategy=selective",
        "mining.proxy_epochs=1",
        "selection.samples_per_request=2",
        "selection.levels=1",
        "sampling.batch_size=2",
        "training.ema_decay=0.9",
    ],
    "in a second process": ["strategy=actgen", "generation.on=cpu", "model.name=actgen/tiny-cnn"],
    "by running losses": ["strategy=not-learned-early", "training.optimizer.name=adamw", "generation.checkpoint_images=1"],
}


def arguments(digits: Path, generator: Path, out: Path, settings: list[str]) -> list[str]:
    """Return the command of a small run: 4 epochs of 120 digits, 36 images in batches of 4."""
    every = [
        "sampling.num_inference_steps=2",
        "sampling.batch_size=4",
        "training.batch_size=32",
        "generation.previews=2",
        f"generation.checkpoint_images={CHECKPOINT_IMAGES}",
        *settings,
    ]
    return [
        "train",
        "--data",
        str(digits),
        "--generator",
        str(generator),
        "--out",
        str(out),
        "--epochs",
        "4",
        "--seed",
        "7",
        "--budget",
        "0.3",
        *(part for one in every for part in ("--set", one)),
    ]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of run, in a folder of its own, with how it ends when nothing stops it."""

    nursery: Nursery
    digits: Path
    generator: Path
    folder: Path
    settings: list[str]

    def live(self, out: Path, **end: object) -> Ended:
        command = arguments(self.digits, self.generator, out, self.settings)
        return self.nursery.live(command, out.with_suffix(".log"), **end)  # type: ignore[arg-type]

    @cached_property
    def whole(self) -> Ended:
        """How the run in `clean` ended."""
        ended = self.live(self.folder / "clean")
        assert ended.code == 0, (self.folder / "clean.log").read_text(encoding="utf-8")
        return ended
