"""Laws of tracking: a tracker is told everything once, whatever stops the run, and the run is the same without it."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.core.rows import EpochRow
from actgen.experiment.config import Recipe, build_recipe, flat, read_tracking, to_toml
from actgen.experiment.run import run
from actgen.experiment.tracking import NOTES, epoch_values, parse_trackers, summary_values
from actgen.training.callbacks import Callbacks
from actgen.training.stages import EpochStats
from tests.conftest import Refuse, read_lines, tree, without_times

EPOCHS = 3
SETTINGS = ["model.image_size=8", "training.batch_size=64", "generation.until=0.7", "filters.retries=0"]
TIMES = {"train/seconds", "round/seconds", "summary/train_seconds", "summary/generation_seconds", "summary/peak_memory_gib"}


class Stop(Exception):
    """What interrupts a run."""


@dataclass(frozen=True)
class Events:
    """What TensorBoard reads: (step, value) by curve, pictures by step, the recipe."""

    scalars: dict[str, list[tuple[int, float]]]
    pictures: dict[int, bytes]
    recipe: str


@pytest.fixture(scope="module")
def small(digits: Path) -> Recipe:
    """A recipe that needs no generator: its rounds copy hard examples."""
    flags = {
        "data": str(digits),
        "model.name": "actgen/tiny-cnn",
        "strategy": "oversample",
        "training.epochs": EPOCHS,
        "generation.budget": 0.1,
    }
    return build_recipe(settings=SETTINGS, flags=flags)


@pytest.fixture(scope="module")
def plain(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run without a tracker."""
    out = tmp_path_factory.mktemp("plain") / "run"
    run(small, out)
    return out


@pytest.fixture(scope="module")
def tracked(small: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped after its first epoch and continued."""
    out = tmp_path_factory.mktemp("tracked") / "run"
    with pytest.raises(Stop):
        run(small, out, track=["tensorboard"], callbacks=Callbacks(on_epoch=stop))
    run(small, out, track=["tensorboard"])
    return out


def stop(stats: EpochStats) -> None:
    raise Stop


def read(out: Path) -> Events:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    predictions = EventAccumulator(str(out / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    predictions.Reload()
    tags = predictions.Tags()
    (recipe,) = (path.read_text(encoding="utf-8") for path in (out / "tensorboard").rglob("hparams.yml"))
    return Events(
        scalars={tag: [(event.step, event.value) for event in predictions.Scalars(tag)] for tag in tags["scalars"]},
        pictures={event.step: event.encoded_image_string for tag in tags["images"] for event in predictions.Images(tag)},
        recipe=recipe,
    )


def assert_told_everything(out: Path) -> None:
    """Every number of statistics and summary is there once, at its epoch, and nothing else is."""
    wanted: dict[str, list[tuple[int, Any]]] = {}
    rows = cast(list[EpochRow], read_lines(out / "stats.jsonl"))
    for row in rows:
        for name, value in epoch_values(row).items():
            wanted.setdefault(name, []).append((row["epoch"], pytest.approx(value, rel=1e-6)))
    for name, value in summary_values(json.loads((out / "summary.json").read_text(encoding="utf-8"))).items():
        wanted[name] = [(len(rows), pytest.approx(value, rel=1e-6))]
    assert read(out).scalars == wanted


def test_a_tracked_run_is_the_same_run(plain: Path, tracked: Path) -> None:
    one, other = tree(plain), tree(tracked)
    extra = {name for name in other if name.startswith("tensorboard") or name == NOTES}
    assert extra
    assert other.keys() - extra == one.keys()
    for name in one:
        if name.endswith((".safetensors", ".png", ".toml")):
            assert one[name] == other[name], name
    for name in ("stats.jsonl", "store/metadata.jsonl"):
        assert without_times(read_lines(plain / name)) == without_times(read_lines(tracked / name))


def test_tensorboard_is_told_every_epoch_once_over_a_stop(tracked: Path) -> None:
    assert_told_everything(tracked)
    assert [step for step, _ in read(tracked).scalars["train/loss"]] == [0, 1, 2]
    assert {"test/accuracy", "round/keep_rate", "test/class/three", "summary/test_accuracy"} <= read(tracked).scalars.keys()


def test_pictures_of_each_round_are_those_of_the_store(tracked: Path, tmp_path: Path) -> None:
    rows = read_lines(tracked / "store" / "metadata.jsonl")
    pictures = read(tracked).pictures
    assert sorted(pictures) == sorted({row["round"] for row in rows})
    for number, encoded in pictures.items():
        (tmp_path / "grid.png").write_bytes(encoded)
        grid = np.asarray(Image.open(tmp_path / "grid.png").convert("RGB"))
        (first, *_) = (row for row in rows if row["round"] == number)
        image = np.asarray(Image.open(tracked / "store" / first["file_name"]).convert("RGB"))
        assert np.array_equal(grid[: image.shape[0], : image.shape[1]], image)


def test_the_recipe_is_told_once(small: Recipe, tracked: Path) -> None:
    import yaml

    told = {key: "" if value == () else value for key, value in flat(small).items()}  # lists as text; the small one's are empty
    assert yaml.safe_load(read(tracked).recipe) == told


def test_what_was_told_but_not_noted_shows_once(small: Recipe, tracked: Path) -> None:
    notes = json.loads((tracked / NOTES).read_text(encoding="utf-8"))
    (tracked / NOTES).write_text(json.dumps({"tensorboard": {**notes["tensorboard"], "epochs": 1, "summarised": False}}))
    run(small, tracked, track=["tensorboard"])
    assert_told_everything(tracked)
    assert sorted(read(tracked).pictures) == [0, 1]


def test_a_finished_run_is_told_afterwards_and_only_once(small: Recipe, plain: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(plain, out)
    run(small, out, track=["tensorboard"])
    assert_told_everything(out)
    before = tree(out)
    run(small, out, track=["tensorboard"])
    assert tree(out) == before


def test_a_run_goes_on_when_its_tracker_fails(
    small: Recipe, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from accelerate.tracking import TensorBoardTracker

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(TensorBoardTracker, "log", full)
        run(small, tmp_path / "run", track=["tensorboard"])
    assert len([line for line in caplog.messages if "tensorboard failed and is left out" in line]) == 1
    assert (tmp_path / "run" / "classifier.safetensors").read_bytes() == (plain / "classifier.safetensors").read_bytes()
    run(small, tmp_path / "run", track=["tensorboard"])
    assert_told_everything(tmp_path / "run")


# what is no part of the recipe


def test_the_key_tracking_of_a_recipe_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('tracking = "tensorboard"\nseed = 3\n')
    assert read_tracking(file) == "tensorboard"
    assert read_tracking(file, ["tracking=wandb"]) == "wandb"
    assert build_recipe(file) == build_recipe(flags={"seed": 3})
    assert "tracking" not in to_toml(build_recipe(file, ["tracking=wandb"]))
    with pytest.raises(UserError, match="write trackers as a text"):
        read_tracking(file, ["tracking=[1]"])


def test_the_command_line_tracks(small: Recipe, plain: Path) -> None:
    arguments = [f"--set={setting}" for setting in SETTINGS]
    flags = [
        "--data",
        small.data,
        "--model",
        "actgen/tiny-cnn",
        "--strategy",
        "oversample",
        "--epochs",
        str(EPOCHS),
        "--budget",
        "0.1",
        "--out",
        str(plain),
    ]
    result = CliRunner().invoke(app, ["train", *flags, *arguments, "--track", "tensorboard"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert_told_everything(plain)


@pytest.mark.parametrize(
    ("name", "said"),
    [("wandb", "needs the package wandb: pip install wandb"), ("papyrus", "tensorboard, wandb, mlflow, trackio")],
)
def test_a_tracker_that_is_not_there_is_refused_before_anything(
    name: str, said: str, refuse: Refuse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    for more in ([], ["--dry-run"]):
        assert said in refuse("train", "--strategy", "none", "--epochs", "1", "--out", "run", "--track", name, *more)
    assert said in refuse("train", "--strategy", "none", "--epochs", "1", "--out", "run", "--set", f"tracking={name}")


def test_trackers_are_named_with_projects() -> None:
    assert parse_trackers(["tensorboard:mine", "", "tensorboard"]) == {"tensorboard": "actgen"}
    assert parse_trackers([]) == {}


def test_damaged_notes_are_refused(small: Recipe, plain: Path) -> None:
    notes = plain / NOTES
    before = notes.read_bytes() if notes.exists() else None
    notes.write_text('{"tensorboard": {"pages": 3}}')
    with pytest.raises(UserError, match="is damaged"):
        run(small, plain, track=["tensorboard"])
    notes.unlink() if before is None else notes.write_bytes(before)


def test_names_of_classes_stay_apart() -> None:
    row = {
        "train_loss": 1.0,
        "learning_rate": 0.1,
        "optimizer_steps": 1,
        "train_seconds": 1.0,
        "test_accuracy": 50.0,
        "validation_accuracy": None,
        "holdout_accuracy": None,
        "real_images": 4,
        "synthetic_images": 0,
        "generated_so_far": 0,
        "generation_seconds": 0.0,
        "per_class": {"🦆": 1.0, "🐕": 2.0, "a b": 3.0},
        "filters": {},
    }
    found = {name: value for name, value in epoch_values(cast(EpochRow, row)).items() if "class" in name}
    assert found == {"test/class/_ 0": 1.0, "test/class/_ 1": 2.0, "test/class/a b": 3.0}


@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow"])
def test_other_trackers_take_a_run_over_a_stop(
    name: str, small: Recipe, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    out = tmp_path / "run"
    with pytest.raises(Stop):
        run(small, out, track=[name], callbacks=Callbacks(on_epoch=stop))
    assert noted(out, name)["epochs"] == 1
    first = noted(out, name)["run"]
    run(small, out, track=[name])
    assert noted(out, name) == {"run": first, "configured": True, "epochs": EPOCHS, "summarised": True}
    assert (out / "classifier.safetensors").read_bytes() == (plain / "classifier.safetensors").read_bytes()
    if name == "mlflow":
        from mlflow import MlflowClient

        told = MlflowClient().get_metric_history(first, "train/loss")
        rows = read_lines(out / "stats.jsonl")
        assert [(point.step, point.value) for point in told] == [(row["epoch"], row["train_loss"]) for row in rows]


def noted(out: Path, name: str) -> dict[str, Any]:
    notes: dict[str, Any] = json.loads((out / NOTES).read_text(encoding="utf-8"))[name]
    return notes
