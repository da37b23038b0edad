"""Laws of random crops."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from actgen.core.rng import generator
from actgen.data.crop import Crop, random_box


@pytest.mark.parametrize("smallest", [0.08, 0.5])
@pytest.mark.parametrize(("width", "height"), [(40, 40), (80, 50), (50, 80)])
def test_a_part_is_inside_and_of_the_size_and_sides_asked_for(width: int, height: int, smallest: float) -> None:
    for number in range(200):
        left, top, right, bottom = random_box(width, height, smallest, generator(number))
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert smallest <= (right - left) * (bottom - top) / (width * height) + 1e-9
        assert 0.75 - 1e-9 <= (right - left) / (bottom - top) <= 4 / 3 + 1e-9


def test_areas_are_spread_evenly() -> None:
    boxes = [random_box(1, 1, 0.08, generator(number)) for number in range(400)]
    areas = [(right - left) * (bottom - top) for left, top, right, bottom in boxes]
    assert min(areas) < 0.12
    assert max(areas) > 0.9


def test_an_image_that_no_part_fits_gives_its_centre_square() -> None:
    assert random_box(100, 10, 0.9, generator(0)) == (45, 0, 55, 10)


def test_seed_epoch_and_place_decide() -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
    crops = {
        Crop(smallest=0.1, seed=seed, epoch=epoch)(image, 16, index).tobytes()
        for seed in (0, 1)
        for epoch in (0, 1)
        for index in (0, 1)
        for _ in range(2)
    }
    assert len(crops) == 8
