"""The growing folder: what is in it after each round, whoever reads it, and that a stop leaves nothing wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from timm.data import create_dataset
from torchvision.datasets import ImageFolder

from actgen.classifiers.classifier import create_classifier
from actgen.core.errors import UserError
from actgen.data.datasets.imageset import Renamed, Subset
from actgen.data.datasets.sources import load_data
from actgen.experiment.build import open_data
from actgen.experiment.config import build_recipe
from actgen.integrations.active import ActiveGeneration
from actgen.integrations.growing_folder import LINKS, GrowingFolder, class_folder, file_of
from tests.conftest import CLASSES, TEST_IMAGES, TRAIN_IMAGES, tree
from tests.integrations.conftest import IMAGES, Trained

REAL, AWAY = len(CLASSES) * TRAIN_IMAGES, len(CLASSES) * TRAIN_IMAGES // 10


def files(folder: Path, begin: str = "") -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.name.startswith(begin))


@pytest.mark.parametrize("links", LINKS)
def test_it_holds_what_the_epoch_trains_on(trained: Trained, tmp_path: Path, links: str) -> None:
    with ActiveGeneration.from_recipe(trained.recipe, tmp_path / "run", trained.classifier()) as active:
        folder = GrowingFolder(active, tmp_path / "folder", links=links)
        train = tmp_path / "folder" / "train"
        for epoch, (real, generated) in enumerate([(REAL - AWAY, 0), (REAL - AWAY, IMAGES // 2), (REAL, IMAGES)]):
            folder.begin(epoch)
            assert (len(files(train, "real-")), len(files(train, "generated-"))) == (real, generated)
            wanted = sorted(active.dataset.open().mixture.labels)
            by_timm = create_dataset("", root=str(tmp_path / "folder"), split="train").reader.samples
            for samples in (by_timm, ImageFolder(train).samples):
                assert sorted(label for _, label in samples) == wanted
            active.classifier.load_state_dict(trained.weights[epoch])
            folder.after_epoch(epoch)
        assert len(files(tmp_path / "folder" / "val")) == len(CLASSES) * TEST_IMAGES
        for row in active.snapshot.rows:
            name = (
                f"{class_folder(row['label'], active.dataset.real.class_names)}/generated-{row['key']}-{row['sha256'][:8]}.png"
            )
            assert (train / name).read_bytes() == (tmp_path / "run/store" / row["file_name"]).read_bytes()
            assert (train / name).is_symlink() == (links == "symlink")
        folder.begin(1)  # a loop that went back
        assert (len(files(train, "real-")), len(files(train, "generated-"))) == (REAL - AWAY, IMAGES // 2)
    assert json.loads((tmp_path / "folder" / "growing.json").read_text())["epoch"] == 1


def test_what_a_stop_left_is_made_whole(trained: Trained, tmp_path: Path) -> None:
    with ActiveGeneration.from_recipe(trained.recipe, tmp_path / "run", trained.classifier()) as active:
        GrowingFolder(active, tmp_path / "folder", links="copy").begin(0)
        whole, (first, second, *_) = tree(tmp_path / "folder"), files(tmp_path / "folder" / "train")
        first.unlink()
        second.rename(second.with_name(second.name + ".part"))
        GrowingFolder(active, tmp_path / "folder", links="copy").update()
        assert tree(tmp_path / "folder") == whole


def test_images_that_are_no_files_are_written(tmp_path: Path) -> None:
    recipe = build_recipe(settings=["images=20", "strategy=none"])
    data = open_data(recipe)
    data = replace(data, test=Subset(data.train, (3,)))
    with ActiveGeneration.from_recipe(
        recipe, tmp_path / "run", create_classifier("actgen/tiny-cnn", 10, data_size=32), data=data
    ) as active:
        GrowingFolder(active, tmp_path / "folder").begin(0)
    found = ImageFolder(tmp_path / "folder" / "train")
    assert len(found) == 20
    for place, (path, label) in enumerate(found.samples):
        row = int(Path(path).stem.removeprefix("real-"))
        assert label == data.train.labels[row]
        assert np.array_equal(np.asarray(found[place][0]), np.asarray(data.train.image(row)))


def test_class_folders_are_named_for_any_file_system() -> None:
    assert [class_folder(label, ["a/b", "..", "c" * 200])[2:] for label in range(3)] == ["a_b", "..", "c" * 80]
    assert class_folder(3, ["x"] * 11) == "03-x"


def test_files_are_found_behind_subsets_and_names(digits: Path) -> None:
    real = load_data(str(digits)).train
    names = Renamed(Subset(Subset(real, (5, 70)), (1,)), ("a", "b", "c", "d"))
    assert file_of(names, 0) == digits.resolve() / real.keys[70]
    assert file_of(load_data("fashion-mnist-mini").train, 0) is None


def test_a_folder_of_something_else_is_refused(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with ActiveGeneration.from_recipe(trained.recipe, tmp_path / "run", trained.classifier()) as active:
        with pytest.raises(UserError, match="is not empty and is no growing folder"):
            GrowingFolder(active, tmp_path / "other")
        with pytest.raises(UserError, match="links = 'hard' is unknown; allowed: symlink, hardlink, copy"):
            GrowingFolder(active, tmp_path / "folder", links="hard")
        GrowingFolder(active, tmp_path / "folder").begin(0)
    with ActiveGeneration.from_recipe(trained.recipe, tmp_path / "again", trained.classifier()) as active:
        with pytest.raises(UserError, match="holds the images of"):
            GrowingFolder(active, tmp_path / "folder")
