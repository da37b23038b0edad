from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from actgen.core.errors import UserError
from actgen.data.datasets.idx import encode_idx
from actgen.data.datasets.imageset import ImageSet, to_pixels
from actgen.data.datasets.sources import load_data


def fill(folder: Path, count: int = 2) -> Path:
    """Write `count` small images to a class folder."""
    folder.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (4, 4), (i, i, i)).save(folder / f"{i}.png")
    return folder


def write_idx(folder: Path, train: list[int], test: list[int]) -> None:
    for stem, labels in (("train", train), ("t10k", test)):
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(encode_idx(np.array(labels, dtype=np.uint8)))
        pixels = np.zeros((len(labels), 28, 28), dtype=np.uint8)
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(encode_idx(pixels))


def message(spec: str | Path) -> str:
    """Return what a user reads, and check that it is one or two lines."""
    with pytest.raises(UserError) as caught:
        load_data(str(spec))
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


# what is accepted


def test_a_folder_of_classes_has_no_test_split(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        fill(tmp_path / name)
    data = load_data(str(tmp_path))
    assert (data.spec, data.test) == (str(tmp_path), None)
    assert isinstance(data.train, ImageSet)
    assert data.train.keys == ("train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "train/dog/1.png")


@pytest.mark.parametrize("name", ["test", "val", "valid", "validation", "Test"])
def test_a_test_folder_by_any_of_its_names(tmp_path: Path, name: str) -> None:
    for split in ("train", name):
        for label in ("cat", "dog"):
            fill(tmp_path / split / label)
    test = load_data(str(tmp_path)).test
    assert test is not None
    assert test.keys[0] == "test/cat/0.png"


def test_of_test_and_val_the_test_folder_is_used(tmp_path: Path) -> None:
    for split, count in (("train", 2), ("val", 3), ("test", 4)):
        for label in ("cat", "dog"):
            fill(tmp_path / split / label, count)
    test = load_data(str(tmp_path)).test
    assert test is not None
    assert len(test.labels) == 8


def test_train_alone(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        fill(tmp_path / "train" / label)
    data = load_data(str(tmp_path))
    assert data.train.keys[0] == "train/cat/0.png"
    assert data.test is None


def test_trains_may_be_a_class(tmp_path: Path) -> None:
    for label in ("bus", "train"):
        fill(tmp_path / label)
    assert load_data(str(tmp_path)).train.class_names == ("bus", "train")


def test_links_between_the_splits_of_one_root_are_inside(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        fill(tmp_path / "train" / label)
        (tmp_path / "test" / label).mkdir(parents=True)
        (tmp_path / "test" / label / "a.png").symlink_to(tmp_path / "train" / label / "0.png")
    assert load_data(str(tmp_path)).test is not None


def test_idx_folder(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 1, 2, 0, 1, 2], [0, 1])
    data = load_data(f"idx:{tmp_path}")
    assert data.test is not None
    assert data.train.class_names == data.test.class_names == ("0", "1", "2")


def test_the_digits_as_real_files(tmp_path: Path) -> None:
    digits = load_digits()
    pixels = (digits.images[:300] * 15.9375).astype(np.uint8)  # 0..16 => 0..255
    labels = digits.target[:300].tolist()
    for i, label in enumerate(labels):
        folder = tmp_path / ("train" if i < 200 else "test") / f"digit {label}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[i]).save(folder / f"{i:04}.png")
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert [len(data.train.labels), len(data.test.labels), len(data.train.class_names)] == [200, 100, 10]
    order = sorted(range(200, 300), key=lambda i: (labels[i], i))
    assert list(data.test.labels) == [labels[i] for i in order]
    expected = np.repeat(pixels[order][:, None], 3, axis=1)
    np.testing.assert_array_equal(to_pixels(data.test, 8).numpy(), expected)


# what is refused


@pytest.mark.parametrize("spec", ["cifar-10", "hg:cifar10", "", "  ", "no/such/folder"])
def test_unknown_specs_are_told_what_is_allowed(spec: str) -> None:
    text = message(spec)
    assert repr(spec) in text
    assert "Allowed: fashion-mnist-mini (bundled), idx:DIR" in text


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"PK")
    assert "data.zip is a file, not a folder. Unpack it" in message(tmp_path / "data.zip")


def test_a_name_that_the_system_refuses() -> None:
    assert "cannot read" in message("a" * 5000)


def test_a_folder_without_class_folders(tmp_path: Path) -> None:
    assert "has no class folders. It must hold one sub-folder" in message(tmp_path)
    (tmp_path / "train").mkdir()
    assert "train has no class folders" in message(tmp_path)


def test_idx_files_without_the_prefix(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 1], [0, 1])
    assert f"give idx:{tmp_path}" in message(tmp_path)


def test_a_test_folder_without_train(tmp_path: Path) -> None:
    fill(tmp_path / "test" / "cat")
    assert "has test, but no train folder" in message(tmp_path)


def test_one_class_only(tmp_path: Path) -> None:
    fill(tmp_path / "cat")
    assert "only one class, cat" in message(tmp_path)


def test_an_empty_class_folder(tmp_path: Path) -> None:
    fill(tmp_path / "cat")
    (tmp_path / "dog").mkdir()
    assert "dog has no images" in message(tmp_path)


def test_a_class_of_one_image(tmp_path: Path) -> None:
    fill(tmp_path / "cat")
    fill(tmp_path / "dog", 1)
    assert "fewer than 2 training images of: dog." in message(tmp_path)


def test_test_classes_must_be_those_of_training(tmp_path: Path) -> None:
    for name in ("train/cat", "train/dog", "val/cat", "val/eel"):
        fill(tmp_path / name)
    assert "must have the same class folders; missing from val: dog; only in val: eel." in message(tmp_path)


def test_a_long_difference_is_cut(tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "test/a", *(f"test/c{i}" for i in range(9))):
        fill(tmp_path / name)
    assert "missing from test: b; only in test: c0, c1, c2, c3, c4 and 4 more." in message(tmp_path)


@pytest.mark.parametrize("where", ["train/dog", "test/cat"])
def test_a_broken_image_of_either_split_is_named(tmp_path: Path, where: str) -> None:
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        fill(tmp_path / name)
    (tmp_path / where / "0.png").write_bytes((tmp_path / where / "0.png").read_bytes()[:40])
    assert f"cannot read the image {tmp_path / where / '0.png'}" in message(tmp_path)


def test_idx_labels_are_checked(tmp_path: Path) -> None:
    write_idx(tmp_path, [0, 0, 1], [0, 1])
    assert "fewer than 2 training images of: 1." in message(f"idx:{tmp_path}")
    write_idx(tmp_path, [0, 0, 1, 1], [0, 2])
    assert "test labels go up to 2" in message(f"idx:{tmp_path}")
    write_idx(tmp_path, [0, 0], [0, 0])
    assert "only one class, 0" in message(f"idx:{tmp_path}")
