"""Pictures that show nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from actgen.generation.filters.base import FilterView
from actgen.generation.filters.quality import Emptiness, Sharpness, detail
from tests.support.classifiers import classifier
from tests.support.pictures import fashion, picture, resized, sample_of


@pytest.fixture(scope="module")
def view() -> FilterView:
    return FilterView(classifier(1), {})


@pytest.mark.parametrize("level", [0, 128, 255])
def test_one_colour_is_refused_and_a_real_image_is_not(view: FilterView, level: int) -> None:
    empty = Image.new("RGB", (32, 32), (level, level // 2, 0))
    assert Emptiness(1.0).judge(sample_of(empty, "k"), view).filter == "emptiness"
    assert Emptiness(1.0).judge(sample_of(picture("train", level), "k"), view).kept


def test_noise_of_a_level_is_still_one_colour(view: FilterView) -> None:
    noise = np.random.default_rng(0).integers(100, 103, (32, 32, 1)).repeat(3, axis=2).astype(np.uint8)
    verdict = Emptiness(1.0).judge(sample_of(Image.fromarray(noise), "k"), view)
    assert verdict.filter == "emptiness"
    assert verdict.score == pytest.approx(0.82, abs=0.05)


def test_detail_is_invariant_to_brightness_and_falls_with_blur() -> None:
    image = picture("train", 3)
    levels = np.asarray(image).astype(int)
    brighter = Image.fromarray((levels // 2 + 50).astype(np.uint8))
    assert detail(brighter) == pytest.approx(detail(image) / 4, rel=0.05)
    blurred = [detail(image.filter(ImageFilter.GaussianBlur(radius))) for radius in (0, 0.5, 1, 2, 4)]
    assert blurred == sorted(blurred, reverse=True)
    assert blurred[-1] < 0.01 * blurred[0]


@pytest.mark.parametrize("side", [32, 128])
def test_blurred_pictures_are_refused_at_every_size_and_real_ones_are_not(view: FilterView, side: int) -> None:
    train = fashion().train
    sharp = Sharpness(0.05, train)
    for index in range(0, 200, 10):
        image, label = resized(picture("train", index), side), train.labels[index]
        assert sharp.judge(sample_of(image, "k", label), view).kept
        blurred = image.filter(ImageFilter.GaussianBlur(side / 8))
        assert sharp.judge(sample_of(blurred, "k", label), view).filter == "sharpness"
