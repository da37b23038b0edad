import os
import struct
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from actgen.core.errors import UserError
from actgen.data.datasets.decoding import read_image
from actgen.data.datasets.folder import check_images, read_folder_split
from actgen.data.datasets.imageset import ImageSet
from actgen.data.datasets.names import printable

ORIENTATION = 0x0112


def save(path: Path, colour: tuple[int, int, int] = (10, 20, 30), size: tuple[int, int] = (4, 3)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


def pixel(path: Path, x: int = 0, y: int = 0) -> tuple[int, ...]:
    image = read_image(path)
    assert image.mode == "RGB"
    return tuple(np.asarray(image)[y, x].tolist())


# what is an image, and what it is called


def test_classes_files_and_keys_are_sorted_and_stable(tmp_path: Path) -> None:
    for name in ("dog/b.JPG", "cat/002.png", "cat/001.png", "cat/sub/a.webp", "cat/z.gif", "dog/a.Tiff", "dog/c.bmp"):
        save(tmp_path / name)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "cat" / "._001.png").write_bytes(b"left by another system")
    (tmp_path / "README.md").write_text("no class")
    save(tmp_path / ".hidden" / "x.png")
    images = read_folder_split(tmp_path, "train")
    assert isinstance(images, ImageSet)
    assert images.class_names == ("cat", "dog")
    assert images.labels == (0, 0, 0, 0, 1, 1, 1)
    assert images.keys == (
        "train/cat/001.png",
        "train/cat/002.png",
        "train/cat/sub/a.webp",
        "train/cat/z.gif",
        "train/dog/a.Tiff",
        "train/dog/b.JPG",
        "train/dog/c.bmp",
    )
    check_images(images)


def test_images_are_opened_only_when_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "cat" / "a.png")
    images = read_folder_split(tmp_path, "train")
    save(path, (1, 2, 3))
    assert images.image(0).getpixel((0, 0)) == (1, 2, 3)


def test_odd_names_give_unique_keys_that_utf8_can_hold(tmp_path: Path) -> None:
    names = [b"caf\xe9.png", b"caf\\xe9.png", "café.png".encode(), b" .png", b"a'b\"c.png", b"%s{0}.png"]
    source = save(tmp_path / "source.png").read_bytes()
    folder = os.fsencode(tmp_path / "data") + b"/\xff class"
    os.makedirs(folder)
    for name in names:
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(source)
    images = read_folder_split(tmp_path / "data", "train")
    assert len({key.encode("utf-8") for key in images.keys}) == len(names)
    assert images.class_names == (r"\xff class",)
    assert r"train/\xff class/caf\xe9.png" in images.keys
    check_images(images)
    assert printable(Path("train", "plain name.png")) == "train/plain name.png"


# how pixels are converted


def test_grey_is_repeated(tmp_path: Path) -> None:
    Image.new("L", (2, 2), 77).save(tmp_path / "a.png")
    assert pixel(tmp_path / "a.png") == (77, 77, 77)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values: npt.NDArray[np.uint16] = np.array([[0, 255, 256], [32768, 65279, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(path := tmp_path / f"a{suffix}")
    assert np.asarray(read_image(path))[:, :, 0].tolist() == [[0, 0, 1], [128, 254, 255]]


def test_32_bit_integers_are_read_as_16_bit_grey_or_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 51200, dtype=np.int32)).save(path := tmp_path / "a.tif")
    assert pixel(path) == (200, 200, 200)
    Image.fromarray(np.full((2, 2), 70000, dtype=np.int32)).save(path)
    with pytest.raises(UserError, match=r"outside 0\.\.65535"):
        read_image(path)


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), dtype=np.float32)).save(path := tmp_path / "a.tif")
    with pytest.raises(UserError, match="floating-point"):
        read_image(path)


def test_transparency_is_laid_on_black(tmp_path: Path) -> None:
    rgba = np.array([[[255, 100, 50, 0], [255, 100, 50, 255], [200, 100, 50, 128]]], dtype=np.uint8)
    Image.fromarray(rgba).save(path := tmp_path / "a.png")
    assert (pixel(path, 0), pixel(path, 1)) == ((0, 0, 0), (255, 100, 50))
    np.testing.assert_allclose(pixel(path, 2), (100, 50, 25), atol=1)
    Image.new("LA", (1, 1), (90, 0)).save(path := tmp_path / "la.png")
    assert pixel(path) == (0, 0, 0)


def test_palettes_keep_their_colours_and_their_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    image.save(path := tmp_path / "opaque.png")
    assert (pixel(path, 0), pixel(path, 1)) == ((10, 20, 30), (40, 50, 60))
    image.save(path := tmp_path / "one.png", transparency=1)
    assert (pixel(path, 0), pixel(path, 1)) == ((10, 20, 30), (0, 0, 0))
    image.save(path := tmp_path / "bytes.png", transparency=bytes([255, 0]))
    assert (pixel(path, 0), pixel(path, 1)) == ((10, 20, 30), (0, 0, 0))


def test_a_transparent_key_colour_is_black(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (9, 8, 7)).save(path := tmp_path / "a.png", transparency=(9, 8, 7))
    assert pixel(path) == (0, 0, 0)


def test_one_bit_and_cmyk(tmp_path: Path) -> None:
    Image.new("1", (1, 1), 1).save(path := tmp_path / "a.png")
    assert pixel(path) == (255, 255, 255)
    Image.new("CMYK", (8, 8), (0, 0, 0, 255)).save(path := tmp_path / "a.jpg")
    np.testing.assert_allclose(pixel(path), (0, 0, 0), atol=2)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_exif_orientation_is_applied_once(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((16, 32, 3), dtype=np.uint8)
    pixels[:, 16:] = 255  # right half white; orientation 6 says "turn clockwise to view", so the lower half is white
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(pixels).save(path := tmp_path / f"a{suffix}", exif=exif)
    assert read_image(path).size == (16, 32)
    assert min(pixel(path, 8, 28)) > 200
    assert max(pixel(path, 8, 4)) < 50


def test_the_first_of_several_frames_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(path := tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert pixel(path) == (255, 0, 0)


# what is refused


def test_no_class_folders(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    with pytest.raises(UserError, match="no class folders"):
        read_folder_split(tmp_path, "train")


def test_a_class_folder_without_images(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "a.txt").write_text("x")
    with pytest.raises(UserError, match="dog has no images"):
        read_folder_split(tmp_path, "train")


def test_links_may_stay_inside_but_not_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    inside, outside = save(root / "cat" / "a.png"), save(tmp_path / "elsewhere" / "b.png")
    (link := root / "cat" / "b.png").symlink_to(inside)
    assert len(read_folder_split(root, "train").keys) == 2
    link.unlink()
    link.symlink_to(outside)
    with pytest.raises(UserError, match="outside"):
        read_folder_split(root, "train")
    link.unlink()
    (root / "dog").symlink_to(outside.parent)
    with pytest.raises(UserError, match="outside"):
        read_folder_split(root, "train")


def test_a_folder_that_is_itself_a_link_may_be_given(tmp_path: Path) -> None:
    save(tmp_path / "data" / "cat" / "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert read_folder_split(tmp_path / "link", "train").keys == ("train/cat/a.png",)


def test_a_loop_of_links_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "again").symlink_to(tmp_path / "cat")
    with pytest.raises(UserError, match="link to a folder"):
        read_folder_split(tmp_path, "train")


@pytest.mark.parametrize("decode_limit", [100, 0], ids=["decoded", "header only"])
def test_unreadable_files_are_named_and_counted(tmp_path: Path, decode_limit: int) -> None:
    save(tmp_path / "cat" / "a.png")
    (tmp_path / "cat" / "b.png").write_bytes(b"")
    (tmp_path / "cat" / "c.jpg").write_text("<html>not found</html>")
    (tmp_path / "cat" / "d.png").symlink_to(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"b\.png: it is empty") as caught:
        check_images(read_folder_split(tmp_path, "train"), decode_limit=decode_limit)
    assert str(caught.value).splitlines()[1:] == ["2 more cannot be read. --on-bad-image skip leaves such files out."]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".gif", ".tif"])
def test_a_truncated_file_is_found(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    (tmp_path / "cat").mkdir()
    Image.fromarray(noise).save(path := tmp_path / "cat" / f"a{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"cannot read the image .*a\.") as caught:
        check_images(read_folder_split(tmp_path, "train"))
    assert len(str(caught.value).splitlines()) == 2


def test_another_format_under_an_image_suffix_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(UserError, match="not a PNG, JPEG"):
        read_image(path)


@pytest.mark.parametrize("side", [9_500, 20_000], ids=["where Pillow warns", "where Pillow refuses"])
@pytest.mark.parametrize("action", ["ignore", "error"])
def test_decompression_bombs_are_refused(tmp_path: Path, side: int, action: Literal["ignore", "error"]) -> None:
    data = bytearray(save(path := tmp_path / "bomb.bmp").read_bytes())
    data[18:26] = struct.pack("<ii", side, side)  # width and height in the header
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter(action, Image.DecompressionBombWarning)
        with pytest.raises(UserError, match=r"more than \d+ pixels"):
            read_image(path)
