from collections import Counter

import pytest

from actgen.data.datasets.idx import FASHION_MNIST_CLASSES
from actgen.data.datasets.imageset import ArrayImages
from actgen.data.datasets.sources import RealData, load_data


@pytest.fixture(scope="module")
def bundled() -> RealData:
    return load_data("fashion-mnist-mini")


@pytest.fixture(scope="module")
def train(bundled: RealData) -> ArrayImages:
    assert isinstance(bundled.train, ArrayImages)
    return bundled.train


@pytest.fixture(scope="module")
def test_part(bundled: RealData) -> ArrayImages:
    assert isinstance(bundled.test, ArrayImages)
    return bundled.test


def test_2000_balanced_training_images(train: ArrayImages) -> None:
    assert train.pixels.shape == (2000, 32, 32)
    assert Counter(train.labels) == dict.fromkeys(range(10), 200)


def test_10000_test_images(test_part: ArrayImages) -> None:
    assert test_part.pixels.shape == (10000, 32, 32)
    assert Counter(test_part.labels) == dict.fromkeys(range(10), 1000)


def test_both_have_the_class_names(train: ArrayImages, test_part: ArrayImages) -> None:
    assert train.class_names == test_part.class_names == FASHION_MNIST_CLASSES


def test_keys_are_indices_of_the_full_data_set(train: ArrayImages, test_part: ArrayImages) -> None:
    indices = [int(key.removeprefix("train/")) for key in train.keys]
    assert indices == sorted(set(indices))
    assert len(indices) == 2000
    assert 0 <= indices[0] <= indices[-1] < 60000
    assert test_part.keys == tuple(f"test/{i}" for i in range(10000))


def test_no_image_stands_twice_in_training_or_in_both_splits(train: ArrayImages, test_part: ArrayImages) -> None:
    seen = {image.tobytes() for image in train.pixels}
    assert len(seen) == 2000
    assert not seen & {image.tobytes() for image in test_part.pixels}


def test_an_image_is_rgb_with_a_black_border(train: ArrayImages) -> None:
    image = train.image(0)
    assert (image.mode, image.size) == ("RGB", (32, 32))
    assert image.getpixel((1, 16)) == (0, 0, 0)
