"""Validation images: never those that are trained on, never those of the test."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from actgen.core.errors import UserError
from actgen.data.datasets.evaluation import Evaluation, choose_images, others
from actgen.data.datasets.imageset import ArrayImages, names_digest
from actgen.data.datasets.sources import RealData, load_data

MINI = "fashion-mnist-mini"


class Forbidden:
    """Test images that nobody may look at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test images were asked for their {name}")


@pytest.fixture(scope="module")
def mini() -> RealData:
    return load_data(MINI)


def unseen(data: RealData) -> RealData:
    return RealData(data.spec, data.train, Forbidden())


def pictures(count: int, first: int = 0, names: tuple[str, ...] = ("a", "b")) -> ArrayImages:
    pixels = (np.arange(count, dtype=np.uint8) + first)[:, None, None] * np.ones((1, 4, 4), dtype=np.uint8)
    return ArrayImages(pixels, tuple(i % 2 for i in range(count)), names, tuple(f"x/{i}" for i in range(count)))


def test_for_the_test_nothing_changes(mini: RealData) -> None:
    assert choose_images(mini, Evaluation(), seed=0) is mini


def test_a_fraction_of_the_training_images_is_taken_from_them(mini: RealData) -> None:
    chosen = choose_images(unseen(mini), Evaluation(on="validation", fraction=0.2), seed=0)
    assert chosen.test is not None
    assert (len(chosen.train.labels), len(chosen.test.labels)) == (1600, 400)
    assert {*chosen.train.keys} | {*chosen.test.keys} == {*mini.train.keys}
    assert {*chosen.train.keys} & {*chosen.test.keys} == set()


def test_another_seed_takes_another_part_and_the_same_seed_the_same(mini: RealData) -> None:
    options = Evaluation(on="validation")
    parts = [choose_images(unseen(mini), options, seed).test for seed in (0, 0, 1)]
    digests = [names_digest(part) for part in parts if part is not None]
    assert digests[0] == digests[1] != digests[2]


def test_a_source_gives_what_is_not_trained_on() -> None:
    left = others(pictures(20), pictures(5, first=3), most=100)
    assert list(left.indices) == [0, 1, 2, *range(8, 20)]
    few = others(pictures(20), pictures(5, first=3), most=4)
    assert len(few.indices) == 4
    assert set(few.indices) < set(left.indices)
    assert few.indices == others(pictures(20), pictures(5, first=3), most=4).indices


def test_pictures_are_known_by_their_pixels_whatever_their_name() -> None:
    twin = pictures(3)
    renamed = ArrayImages(twin.pixels, twin.labels, twin.class_names, ("p", "q", "r"))
    with pytest.raises(UserError, match="no image that is not trained on"):
        others(renamed, twin, most=10)
    assert isinstance(renamed.image(0), Image.Image)


def test_other_classes_are_refused() -> None:
    with pytest.raises(UserError, match="the same classes"):
        others(pictures(4, names=("a", "c")), pictures(4), most=10)


def test_the_bundled_data_are_no_source_for_themselves(mini: RealData) -> None:
    with pytest.raises(UserError, match="no image that is not trained on"):
        choose_images(unseen(mini), Evaluation(on="validation", source=MINI), seed=0)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match=r"evaluation\.on = 'train' is unknown; allowed: test, validation"):
        Evaluation(on="train")
