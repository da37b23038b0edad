"""One suite over every source of real data, and what is special in each format."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actgen.core.class_words import class_words
from actgen.core.errors import UserError
from actgen.core.prompts import Prompts
from actgen.data.datasets.eurosat import CLASSES, NOTE
from actgen.data.datasets.imagenet import class_names_by_id
from actgen.data.datasets.imageset import ImageSet
from actgen.data.datasets.sources import READERS, RealData, load_data
from tests.support.stand_ins import (
    CIFAR10,
    IMAGENET,
    SOURCES,
    hub_columns,
    pixels,
    write_cifar,
    write_eurosat,
    write_hub,
    write_imagenet,
)


@pytest.fixture(params=SOURCES, scope="module")
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return SOURCES[request.param](tmp_path_factory.mktemp("source") / "data")


@pytest.fixture(scope="module")
def data(spec: str) -> RealData:
    return load_data(spec)


def splits(data: RealData) -> list[ImageSet]:
    return [data.train] if data.test is None else [data.train, data.test]


def message(spec: str) -> str:
    with pytest.raises(UserError) as caught:
        load_data(spec)
    assert 1 <= len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


# every source


def test_labels_are_classes_and_every_class_has_training_images(data: RealData) -> None:
    for images in splits(data):
        assert len(images.labels) == len(images.keys) > 0
        assert set(images.labels) <= set(range(len(images.class_names)))
        assert all(type(label) is int for label in images.labels)
    assert set(data.train.labels) == set(range(len(data.train.class_names)))


def test_keys_name_each_image_for_ever(data: RealData, spec: str) -> None:
    keys = [key for images in splits(data) for key in images.keys]
    assert len(set(keys)) == len(keys)
    assert keys == [key for images in splits(load_data(spec)) for key in images.keys]


def test_images_are_rgb_and_the_same_every_time(data: RealData) -> None:
    for images in splits(data):
        for index in (0, len(images.labels) // 2, len(images.labels) - 1):
            image = images.image(index)
            assert image.mode == "RGB"
            assert image.tobytes() == images.image(index).tobytes()


def test_class_names_are_words_and_no_two_classes_share_a_prompt(data: RealData) -> None:
    names = list(data.train.class_names)
    assert names == [class_words(name) for name in names]
    assert len(set(Prompts().of(names).values())) == len(names)
    assert all(list(images.class_names) == names for images in splits(data))


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "bundled"])
def test_an_image_is_the_one_that_was_written_with_its_label(name: str, tmp_path: Path) -> None:
    """Colours belong to classes, so a mixed-up label or plane shows in the mean colour."""
    data = load_data(SOURCES[name](tmp_path / "data"))
    for images in splits(data):
        seen: dict[int, list[float]] = {}
        for index, label in enumerate(images.labels):
            seen.setdefault(label, []).append(float(np.asarray(images.image(index), dtype=float).mean()))
        for means in seen.values():
            assert max(means) - min(means) < 12
    if name in ("cifar10", "cifar100", "folders", "hf", "hf, texts"):
        assert np.array_equal(np.asarray(data.train.image(0)), pixels(0, 0))


@pytest.mark.parametrize("prefix", READERS)
def test_a_missing_folder_is_answered_with_the_layout(prefix: str, tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        text = message(f"{prefix}:{folder}")
        assert READERS[prefix].layout in text
        assert "https://" in READERS[prefix].layout


# CIFAR


def test_cifar_names_and_numbers(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    data = load_data(f"cifar10:{tmp_path}")  # the folder in which the archive was unpacked will do
    assert data.train.class_names == CIFAR10
    assert data.train.keys[:2] == ("train/0", "train/1")
    assert Counter(data.train.labels) == dict.fromkeys(range(10), 4)
    assert data.test is not None
    assert Counter(data.test.labels) == dict.fromkeys(range(10), 2)


def test_of_cifar100_the_fine_labels_are_used_as_words(tmp_path: Path) -> None:
    data = load_data(write_cifar(tmp_path, "cifar100", train=2, test=1))
    assert "aquarium fish" in data.train.class_names
    assert set(data.train.labels) == set(range(100))


@pytest.mark.parametrize("name", ["data_batch_1", "batches.meta", "train.mat"])
def test_pickled_cifar_is_refused_with_the_binary_version_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / name).write_bytes(b"\x80\x02}")
    for folder in (tmp_path, tmp_path / "cifar-10-batches-py"):
        text = message(f"cifar10:{folder}")
        assert "it can run code and is not read" in text
        assert "cifar-10-binary.tar.gz" in text


def test_damaged_cifar(tmp_path: Path) -> None:
    inside = Path(write_cifar(tmp_path).partition(":")[2])
    whole = (inside / "data_batch_2.bin").read_bytes()
    (inside / "data_batch_2.bin").write_bytes(whole[:-1])
    assert "data_batch_2.bin has 24583 bytes, which is not a row of records of 3073 bytes" in message(f"cifar10:{inside}")
    (inside / "data_batch_2.bin").write_bytes(b"\x0a" + whole[1:])
    assert "has a label 10, but cifar10 has the classes 0 to 9" in message(f"cifar10:{inside}")
    (inside / "data_batch_2.bin").write_bytes(b"")
    assert "has 0 bytes" in message(f"cifar10:{inside}")
    (inside / "data_batch_2.bin").write_bytes(whole)
    (inside / "batches.meta.txt").write_text("cat\ncat\n")
    assert "has 1 class names, one a line; cifar10 has 10" in message(f"cifar10:{inside}")
    (inside / "batches.meta.txt").unlink()
    assert "batches.meta.txt is missing" in message(f"cifar10:{inside}")
    for path in inside.glob("data_batch_*"):
        path.unlink()
    (inside / "batches.meta.txt").write_text("\n".join(CIFAR10))
    assert "has no data_batch_*.bin" in message(f"cifar10:{inside}")


# EuroSAT


def test_eurosat_has_a_test_split_drawn_once_and_for_all(tmp_path: Path) -> None:
    data = load_data(write_eurosat(tmp_path))
    assert data.note == NOTE
    assert data.train.class_names[0] == "annual crop"
    assert data.test is not None
    assert Counter(data.test.labels) == dict.fromkeys(range(10), 1)
    assert [int(key[-5]) for key in data.test.keys] == [3, 4, 5, 5, 2, 1, 1, 2, 2, 3]
    inside = load_data(f"eurosat:{tmp_path / 'EuroSAT_RGB'}")
    assert [images.keys for images in splits(inside)] == [images.keys for images in splits(data)]


def test_what_is_not_eurosat(tmp_path: Path) -> None:
    write_eurosat(tmp_path, each=2, classes=[*CLASSES[:2], "Moon"])
    assert "Moon is not a class of EuroSAT" in message(f"eurosat:{tmp_path}")


# ImageNet


def test_all_classes_of_imagenet_have_words_of_their_own() -> None:
    names = class_names_by_id()
    assert len(names) == len(set(Prompts().of(list(names.values())).values())) == 1000
    assert list(names) == sorted(names)
    for key, words in {**IMAGENET, "n03710637": "maillot", "n03773504": "missile", "n04008634": "projectile"}.items():
        assert names[key] == words
    assert names["n03710721"] != "maillot"


@pytest.mark.parametrize("val", ["folders", "kaggle", "ids", "devkit"])
def test_imagenet_knows_its_validation_labels(val: str, tmp_path: Path) -> None:
    data = load_data(write_imagenet(tmp_path, val))
    assert data.train.class_names == tuple(IMAGENET.values())
    assert data.test is not None
    assert len(data.test.labels) == 10
    for index, label in enumerate(data.test.labels):
        place = int(data.test.keys[index][-13:-5]) - 1
        assert label == place % 5  # as they were written


def test_a_flat_validation_folder_may_hold_other_classes_too(tmp_path: Path) -> None:
    spec = write_imagenet(tmp_path, "kaggle")
    shutil.rmtree(tmp_path / "train" / "n01440764")
    data = load_data(spec)
    assert data.test is not None
    assert len(data.test.labels) == 8
    assert set(data.test.labels) == set(range(4))


def test_what_is_not_imagenet(tmp_path: Path) -> None:
    spec = write_imagenet(tmp_path / "flat", "kaggle")
    table = tmp_path / "flat" / "LOC_val_solution.csv"
    table.write_text(table.read_text().replace("ILSVRC2012_val_00000003,", "other,"))
    assert "has no line for ILSVRC2012_val_00000003" in message(spec)
    table.write_bytes(b"ImageId,PredictionString\nILSVRC2012_val_00000001,\xff\0  \nx,  \n")
    assert "columns ImageId and PredictionString" in message(spec)
    table.write_text("a,b\n1,2\n")
    assert "columns ImageId and PredictionString" in message(spec)
    table.unlink()
    assert "there is no file with its labels" in message(spec)
    for path in (tmp_path / "flat" / "val").iterdir():
        path.unlink()
    assert "val is empty" in message(spec)
    spec = write_imagenet(tmp_path / "devkit", "devkit")
    devkit = tmp_path / "devkit" / "ILSVRC2012_devkit_t12" / "data"
    (devkit / "meta.mat").write_bytes(b"no matrix")
    assert "do not fit together" in message(spec)
    (devkit / "meta.mat").unlink()
    assert "put it beside that file" in message(spec)
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n")
    assert "has 2 labels, but val/ has 10 images" in message(spec)
    spec = write_imagenet(tmp_path / "folders")
    shutil.rmtree(tmp_path / "folders" / "val" / "n01440764")
    assert "n01440764 is in one of them only" in message(spec)
    (tmp_path / "folders" / "train" / "fish").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "folders" / "train" / "fish" / "1.JPEG", "JPEG")
    assert "fish is no class of ImageNet" in message(spec)


# Hugging Face


def test_hub_columns_and_splits_are_found_or_named(tmp_path: Path) -> None:
    spec = write_hub(tmp_path / "data")
    data = load_data(spec)
    assert data.train.class_names == ("annual crop", "sea lake", "river")
    assert data.test is not None
    assert len(data.test.labels) == 6
    turned = load_data(f"{spec}?train=validation&test=train&image=picture&label=label")
    assert turned.train.labels == data.test.labels
    numbers = load_data(f"{spec}?test=train&label=number")
    assert numbers.train.class_names == ("0", "1", "2", "3")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("?labels=x", "unknown option 'labels'; allowed are config, train, test, image, label"),
        ("?train=all", "there is no split 'all', only train, validation"),
        ("?image=label", "the image column cannot be 'label'. The columns are label, number, picture"),
        ("?label=kind", "the label column cannot be 'kind'"),
        ("?label=picture", "the column 'picture' does not hold one label an image"),
        ("?label=number", "6 images have a label that is no class of the training images (first: number 0, 4)"),
    ],
)
def test_hub_refusals(options: str, words: str, tmp_path: Path) -> None:
    assert words in message(write_hub(tmp_path / "data") + options)


def test_an_ambiguous_hub_set_is_asked_about(tmp_path: Path) -> None:
    import datasets

    one = hub_columns(4)
    other = one.select_columns(["picture"]).rename_column("picture", "mask")
    datasets.concatenate_datasets([one, other], axis=1).save_to_disk(str(tmp_path / "images"))
    assert "which column is the image?" in message(f"hf:{tmp_path / 'images'}")
    one.remove_columns("label").save_to_disk(str(tmp_path / "labels"))
    assert "which column is the label?" in message(f"hf:{tmp_path / 'labels'}")


def test_a_name_that_the_hub_does_not_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "hf:no-such/set cannot be loaded" in message("hf:no-such/set")
    assert "names no data set" in message("hf:")


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    import datasets

    whole = hub_columns(4)
    broken = whole.cast_column("picture", datasets.Image(decode=False)).map(
        lambda row: {"picture": {"bytes": b"no picture", "path": None}} if row["number"] == 3 else row,
        load_from_cache_file=False,
    )
    broken.cast_column("picture", datasets.Image()).save_to_disk(str(tmp_path / "data"))
    with pytest.raises(UserError, match=r"cannot read the image train/9[^$]*2 more cannot be read"):
        load_data(f"hf:{tmp_path / 'data'}")
    data = load_data(f"hf:{tmp_path / 'data'}", "skip")
    assert len(data.left_out) == 3
    assert {f"train/{number}" for number in range(12)} - {*data.train.keys} == {"train/9", "train/10", "train/11"}
    assert data.train.image(8).mode == "RGB"
