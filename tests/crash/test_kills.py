"""A real training killed at random moments: the store is clean after every kill, and in the end all is as if nothing had been.

`pytest -m crash --kills 200` is the long form. Half of the kills come after a random time, half at a random file operation:
before it, after it, or in the middle of the writing of a line.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from actgen.core.lock import LOCK
from actgen.data.store.manifest import Manifest
from actgen.data.store.store import MANIFEST
from actgen.data.store.verify import verify
from actgen.training.parallel.background import Background
from tests.crash.conftest import Ended, Nursery
from tests.experiment.test_run import assert_same_run

pytestmark = [pytest.mark.crash, pytest.mark.timeout(3600)]

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


@dataclass
class Case:
    """A kind of run, and how it is when nothing stops it."""

    nursery: Nursery
    digits: Path
    generator: Path
    folder: Path
    settings: list[str]

    def live(self, out: Path, **end: object) -> Ended:
        command = arguments(self.digits, self.generator, out, self.settings)
        return self.nursery.live(command, out.with_suffix(".log"), **end)  # type: ignore[arg-type]

    def clean(self) -> Ended:
        ended = self.live(self.folder / "clean")
        assert ended.code == 0, (self.folder / "clean.log").read_text(encoding="utf-8")
        return ended


@pytest.fixture(scope="module")
def cases(
    nursery: Nursery, digits: Path, tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Case]]:
    folders = tmp_path_factory.mktemp("kills")
    yield [Case(nursery, digits, tiny_generator, _made(folders / name), settings) for name, settings in RUNS.items()]
    shutil.rmtree(folders, ignore_errors=True)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(cases: list[Case], kills: int) -> None:
    rng = random.Random(20261125)
    cases[0].live(cases[0].folder / "first")  # imports
    clean, survived, number = [case.clean() for case in cases], 0, 0
    while survived < kills:
        case, whole = cases[number % len(cases)], clean[number % len(cases)]
        out = case.folder / f"run-{number}"
        survived += _killed_to_the_end(case, out, whole, rng, kills - survived)
        (out / LOCK).unlink(missing_ok=True)  # of a life killed at its very end; the next one found the run done
        assert_same_run(case.folder / "clean", out)
        shutil.rmtree(out)
        number += 1
    assert survived == kills


def _killed_to_the_end(case: Case, out: Path, whole: Ended, rng: random.Random, most: int) -> int:
    """Kill a run, look at its store, continue it, and so on to its end; return the number of kills."""
    kills = 0
    while True:
        ended = case.live(out, **(_death(whole, rng) if kills < most else {}))
        _check(case, out, kills + 1)
        if ended.code == 0:
            return kills
        assert ended.code == -signal.SIGKILL, out.with_suffix(".log").read_text(encoding="utf-8")
        kills += 1


def _death(whole: Ended, rng: random.Random) -> dict[str, object]:
    if rng.random() < 0.5:
        return {"after": rng.uniform(0, whole.seconds)}
    return {"event": rng.randint(1, whole.events), "before": rng.random() < 0.5}


def _check(case: Case, out: Path, lives: int) -> None:
    """Whatever happened: nothing is damaged, no image is there twice, and not more was generated again than is allowed."""
    Background(out, "cpu", "").succeed()  # the second process ends with the first, a moment later
    if (out / "store" / MANIFEST).exists():
        assert verify(out / "store").damage == []
    generated = out.with_suffix(".drawn")
    if generated.exists():
        keys = generated.read_text(encoding="utf-8").split()
        counts = Counter(key.removesuffix(".0") for key in keys if "." not in key or key.endswith(".0"))  # first candidates
        again = sum(counts.values()) - len(counts)
        assert again <= (lives - 1) * CHECKPOINT_IMAGES, counts
        rows = Manifest(out / "store" / MANIFEST).rows()  # but for a torn last line
        assert len({row["key"] for row in rows}) == len(rows)
