"""Laws of the distance of two pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from actgen.data.datasets.imageset import Subset
from actgen.generation.filters.thumbnails import LOOKS, WIDTH, Album, describe, look_at, thumbnails
from tests.support.pictures import fashion, jpeg, mirrored, picture, resized


def album_of(rows: range) -> Album:
    test = fashion().test
    assert test is not None
    return Album.of(Subset(test, tuple(rows)))


@pytest.fixture(scope="module")
def album() -> Album:
    return album_of(range(300))


def flat(level: int, size: int = 32) -> Image.Image:
    return Image.new("RGB", (size, size), (level,) * 3)


def test_a_description_has_unit_length() -> None:
    vectors = describe(thumbnails([picture("test", 0), flat(0), flat(255, 224)]))
    assert vectors.shape == (3, WIDTH)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(3))


def test_every_picture_of_an_album_is_found_in_every_look(album: Album) -> None:
    for number in range(0, 300, 7):
        image = picture("test", number)
        inner = image.crop((2, 2, 30, 30))  # MNIST's 28 pixels, which the reader padded
        found = album.nearest(look_at([image, mirrored(image), inner, mirrored(inner)]))
        assert {near.key for near in found} == {f"test/{number}"}
        assert [near.distance for near in found] == pytest.approx([0.0] * 4, abs=1e-3)
        assert [near.look for near in found] == list(LOOKS)


def test_flat_pictures_are_alike_and_nothing_else_is_like_them(album: Album) -> None:
    grey = Album()
    grey.add(["grey"], describe(thumbnails([flat(128)])))
    assert grey.nearest(look_at([flat(128)]))[0].distance == 0.0
    assert grey.nearest(look_at([flat(90, 224)]))[0].distance == pytest.approx(0.0, abs=1e-6)
    assert album.nearest(look_at([flat(0)]))[0].distance > 0.5


@pytest.mark.parametrize("change", [jpeg, lambda image: resized(image, 30), lambda image: resized(image, 224)])
def test_a_changed_copy_is_nearer_than_any_other_picture(album: Album, change: object) -> None:
    assert callable(change)
    for number in range(0, 300, 11):
        (near,) = album.nearest(look_at([change(picture("test", number))]))
        assert near.key == f"test/{number}"
        assert near.distance < 0.12


def test_colour_counts() -> None:
    """Two pictures of equal brightness everywhere, one in colours."""
    red, grey = Image.new("RGB", (32, 32), (150, 0, 0)), Image.new("RGB", (32, 32), (45, 45, 45))
    striped = Image.new("RGB", (32, 32), (45, 45, 45))
    for left in range(0, 32, 16):
        striped.paste(red.crop((0, 0, 8, 32)), (left, 0))
    album = Album()
    album.add(["grey"], describe(thumbnails([grey])))
    assert album.nearest(look_at([striped]))[0].distance > 0.3


def test_many_at_once_and_one_by_one_give_the_same(album: Album) -> None:
    images = [picture("train", number) for number in range(20)]
    together = album.nearest(look_at(images))
    assert together == [album.nearest(look_at([image]))[0] for image in images]


def test_an_album_grown_one_by_one_equals_one_made_at_once() -> None:
    whole, grown = album_of(range(150)), Album()
    for number in range(150):
        grown.add([f"test/{number}"], describe(thumbnails([picture("test", number)])))
    looks = look_at([picture("train", number) for number in range(5)])
    assert len(grown) == len(whole) == 150
    assert grown.nearest(looks) == whole.nearest(looks)


def test_a_large_picture_is_looked_at_in_its_centre_square(album: Album) -> None:
    image = resized(picture("test", 5), 200)
    wide = np.zeros((200, 300, 3), dtype=np.uint8)
    wide[:, 50:250] = np.asarray(image)
    (near,) = album.nearest(look_at([Image.fromarray(wide)]))
    assert near.key == "test/5"
    assert near.distance < 0.05
