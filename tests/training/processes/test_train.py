"""`actgen train` on two processes: the run of one process, whoever sees the store, and whoever is killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from actgen.data.store.verify import verify
from actgen.experiment.reproduce import regenerate
from tests.conftest import read_lines, tree
from tests.support.whole_runs import assert_same_run
from tests.training.processes.conftest import ENVIRONMENT, Launch

pytestmark = pytest.mark.timeout(1200)

# What a classifier with other rounding in it leaves in a manifest line.
ROUNDED = ("probability", "guide_probability", "margin")
CANNOT_HIDE = "may not hide a folder"
SMOOTH = ["model.freeze=backbone"]  # one layer learns: rounding stays rounding, no ReLU turns it into more


def arguments(digits: Path, generator: Path, out: Path, *settings: str, strategy: str = "actgen") -> list[str]:
    fixed = [
        "sampling.num_inference_steps=2",
        "sampling.batch_size=4",
        "training.batch_size=24",
        "generation.holdout=0.2",
        "generation.checkpoint_images=4",
    ]
    return [
        "train",
        "--data",
        str(digits),
        "--generator",
        str(generator),
        "--out",
        str(out),
        "--model",
        "actgen/tiny-cnn",
        "--strategy",
        strategy,
        "--epochs",
        "4",
        "--budget",
        "0.2",
        "--seed",
        "7",
        *(part for setting in (*fixed, *settings) for part in ("--set", setting)),
    ]


def assert_same_manifest(one: Path, other: Path, *, rounding: float) -> None:
    """The same lines in the same order; what the classifier thinks of the pictures, to `rounding`; pixels, to a grey level."""
    lines = [read_lines(out / "store" / "metadata.jsonl") for out in (one, other)]
    assert len(lines[0]) == 24
    for mine, theirs in zip(*lines, strict=True):
        assert _without(mine) == _without(theirs)
        for name in ROUNDED:
            assert mine[name] == pytest.approx(theirs[name], abs=rounding), name
        pixels = [_pixels(out / "store" / mine["file_name"]) for out in (one, other)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 1


def _without(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in (*ROUNDED, "sha256", "chain", "seconds")}


def _pixels(path: Path) -> Any:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def assert_same_training(one: Path, other: Path, *, rounding: float) -> None:
    """The same accuracies, to one of 40 test images, and the same weights."""
    for mine, theirs in zip(read_lines(one / "stats.jsonl"), read_lines(other / "stats.jsonl"), strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], abs=rounding)
        assert mine["test_accuracy"] == pytest.approx(theirs["test_accuracy"], abs=2.5)
        assert mine["holdout_accuracy"] == theirs["holdout_accuracy"]
    weights = [load_file(out / "classifier.safetensors") for out in (one, other)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=0, atol=rounding)


@pytest.fixture(scope="module")
def runs(launch: Launch, digits: Path, tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same run by one process and by two."""
    folder = tmp_path_factory.mktemp("processes")
    for size, name in ((1, "one"), (2, "two")):
        log = folder / f"{name}.log"
        codes = launch(size, log, arguments(digits, tiny_generator, folder / name, *SMOOTH))
        assert codes == [0] * size, log.read_text(encoding="utf-8")
    return folder


def test_two_processes_do_the_run_of_one(runs: Path) -> None:
    assert_same_manifest(runs / "one", runs / "two", rounding=1e-5)
    assert_same_training(runs / "one", runs / "two", rounding=1e-5)
    assert set(tree(runs / "one")) == set(tree(runs / "two"))
    assert (runs / "two.log").read_text(encoding="utf-8").count("optimiser") == 1  # one of them speaks


def test_what_another_process_drew_can_be_drawn_again(runs: Path, tmp_path: Path) -> None:
    """Rank 1 drew the second batch of a round."""
    second = read_lines(runs / "two" / "store" / "metadata.jsonl")[5]
    (again,) = regenerate(runs / "two" / "store", [second["key"]], tmp_path / "again")
    assert again.differs == (0, 0)


def test_another_process_needs_not_see_the_store(
    runs: Path, launch: Launch, digits: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    """Rank 1 sees an empty read-only folder where rank 0 has the run: it gets the pictures, and the run is the same."""
    disk = tmp_path / "disk"
    disk.mkdir()
    log = tmp_path / "log"
    codes = launch(2, log, arguments(digits, tiny_generator, disk / "run", *SMOOTH), hide=str(disk))
    if CANNOT_HIDE in (said := log.read_text(encoding="utf-8")):
        pytest.skip(CANNOT_HIDE)
    assert codes == [0, 0], said
    assert_same_run(runs / "two", disk / "run")


@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_killed_process_ends_all_and_one_process_goes_on(
    rank: int, runs: Path, launch: Launch, digits: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    out, log = tmp_path / "run", tmp_path / "log"
    command = arguments(digits, tiny_generator, out, *SMOOTH)
    codes = launch(2, log, command, kill=[rank, 17, signal.SIGKILL], watched=str(out / "store" / "metadata.jsonl"))
    said = log.read_text(encoding="utf-8")
    assert codes[rank] == -9, said
    assert codes[1 - rank] != 0, said
    assert "Traceback" not in said
    if rank == 1:  # else the launcher has to tell: who is left may not know more than that it was asked to stop
        assert "another process of this run has ended" in said or "stopped. Continue" in said
    assert verify(out / "store").damage == []
    assert launch(1, log, command) == [0], log.read_text(encoding="utf-8")
    assert_same_manifest(runs / "one", out, rounding=1e-5)
    assert_same_training(runs / "one", out, rounding=1e-5)


@pytest.mark.parametrize(("watched", "lines"), [("stats.jsonl", 2), ("store/metadata.jsonl", 5)])
def test_a_signal_to_one_process_stops_all_at_the_same_place(
    watched: str, lines: int, runs: Path, launch: Launch, digits: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    """In the training of an epoch, or in a round; whoever gets it, rank 0 writes the checkpoint."""
    out, log = tmp_path / "run", tmp_path / "log"
    command = arguments(digits, tiny_generator, out, *SMOOTH)
    codes = launch(2, log, command, kill=[1, lines, signal.SIGTERM], watched=str(out / watched))
    said = log.read_text(encoding="utf-8")
    assert set(codes) <= {143, -15}, said  # the latter: asked once more, by the launcher, while it was ending
    assert said.count("stopped. Continue with the launcher and actgen train") == 1
    assert "Traceback" not in said
    assert launch(2, log, command) == [0, 0], log.read_text(encoding="utf-8")
    assert_same_run(runs / "two", out)


def test_an_error_is_said_once(launch: Launch, digits: Path, tiny_generator: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert launch(2, log, arguments(tmp_path / "nowhere", tiny_generator, tmp_path / "run")) == [2, 2]
    said = log.read_text(encoding="utf-8")
    assert said.startswith("actgen: there is no data set")
    assert said.count("actgen:") == 1
    assert not (tmp_path / "run").exists()


def test_what_one_process_refuses_all_refuse(launch: Launch, digits: Path, tiny_generator: Path, tmp_path: Path) -> None:
    """The data are there for rank 0 only."""
    log = tmp_path / "log"
    codes = launch(2, log, arguments(digits, tiny_generator, tmp_path / "run"), hide=str(digits))
    said = log.read_text(encoding="utf-8")
    if CANNOT_HIDE in said:
        pytest.skip(CANNOT_HIDE)
    assert codes == [2, 2], said
    assert "\nactgen: process 1: " in f"\n{said}"
    assert said.count("actgen:") == 1
    assert not (tmp_path / "run").exists()


# all of a network learns, ReLUs and BatchNorms too

ALL = {
    "guided by hard examples, BatchNorm and mixup": ("actgen", ["training.mixing.mixup=0.2", "training.ema_decay=0.9"]),
    "by running losses": ("not-learned-early", ["training.augment.randaugment=1"]),
    "all before the training, chosen": (
        "selective",
        ["mining.proxy_epochs=1", "selection.samples_per_request=2", "selection.levels=1", "sampling.batch_size=2"],
    ),
    "by cross-fitting": ("actgen", ["mining.pool=cross-fit", "mining.folds=2", "mining.fold_epochs=1"]),
}


@pytest.mark.parametrize(
    "name", [name if number == 0 else pytest.param(name, marks=pytest.mark.slow) for number, name in enumerate(ALL)]
)
def test_two_processes_repeat_themselves_to_the_last_bit(
    name: str, launch: Launch, digits: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    """Also when one was killed and the same command continued."""
    strategy, settings = ALL[name]
    for out in ("two", "again"):
        log = tmp_path / f"{out}.log"
        command = arguments(digits, tiny_generator, tmp_path / out, *settings, strategy=strategy)
        if out == "again":
            manifest = str(tmp_path / out / "store" / "metadata.jsonl")
            codes = launch(2, log, command, kill=[1, 9, signal.SIGKILL], watched=manifest)
            assert 0 not in codes, log.read_text(encoding="utf-8")
        codes = launch(2, log, command)
        assert codes == [0, 0], log.read_text(encoding="utf-8")
    assert_same_run(tmp_path / "two", tmp_path / "again")
    keys = [row["key"] for row in read_lines(tmp_path / "two" / "store" / "metadata.jsonl")]
    assert len(keys) == len(set(keys)) == 24
    assert verify(tmp_path / "two" / "store").damage == []


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_random_kills_of_either_process_lose_and_repeat_no_image(
    kills: int, runs: Path, launch: Launch, digits: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    """One run, killed again and again at random lines of its manifest or statistics, and always continued."""
    out, log, lot = tmp_path / "run", tmp_path / "log", random.Random(kills)
    command = arguments(digits, tiny_generator, out, *SMOOTH)
    for _ in range(kills):
        watched = out / lot.choice(["store/metadata.jsonl", "stats.jsonl"])
        there = len(watched.read_text(encoding="utf-8").splitlines()) if watched.exists() else 0
        codes = launch(2, log, command, kill=[lot.randrange(2), there + lot.randrange(2), signal.SIGKILL], watched=str(watched))
        if codes == [0, 0]:
            break
        assert "Traceback" not in log.read_text(encoding="utf-8")
        assert not (out / "store").exists() or verify(out / "store").damage == []
    else:
        assert launch(2, log, command) == [0, 0], log.read_text(encoding="utf-8")
    assert_same_run(runs / "two", out)


def test_a_batch_that_cannot_be_shared_evenly_is_refused(
    launch: Launch, digits: Path, tiny_generator: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    codes = launch(2, log, arguments(digits, tiny_generator, tmp_path / "run", "training.batch_size=25"))
    assert codes == [2, 2]
    assert "training.batch_size = 25: 2 processes take equal parts of it. Give a multiple of 2." in log.read_text(
        encoding="utf-8"
    )
    assert not (tmp_path / "run").exists()


# the real launchers

SCRIPTS = Path(sys.executable).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [
        ["torchrun", "--standalone", "--nproc_per_node", "2"],
        ["accelerate", "launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"],
    ],
)
def test_the_launchers(launcher: list[str], runs: Path, digits: Path, tiny_generator: Path, tmp_path: Path) -> None:
    """accelerate starts several processes on the CPU as with --multi_gpu."""
    command = [str(SCRIPTS / launcher[0]), *launcher[1:], "-m", "actgen"]
    done = subprocess.run(
        [*command, *arguments(digits, tiny_generator, tmp_path / "run", *SMOOTH)],
        env=ENVIRONMENT,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert_same_run(runs / "two", tmp_path / "run")


@pytest.mark.slow
def test_torchrun_and_a_killed_process(runs: Path, digits: Path, tiny_generator: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [
        str(SCRIPTS / "torchrun"),
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "actgen",
        *arguments(digits, tiny_generator, out, *SMOOTH),
    ]
    with subprocess.Popen(command, env=ENVIRONMENT, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as job:
        while not (out / "store" / "metadata.jsonl").exists():
            time.sleep(0.05)
            assert job.poll() is None
        killed = psutil.Process(job.pid).children(recursive=True)[-1]
        killed.kill()
        said = job.communicate(timeout=120)[1]
    assert job.returncode == 1
    assert "SIGKILL" in said
    assert verify(out / "store").damage == []
    subprocess.run(command, env=ENVIRONMENT, cwd=tmp_path, check=True, capture_output=True)
    assert_same_run(runs / "two", out)
