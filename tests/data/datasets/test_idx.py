import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from actgen.core.errors import UserError
from actgen.data.datasets.idx import encode_idx, parse_idx, read_idx_split


def bytes_of_shape(*shape: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write_split(folder: Path, stem: str, pixels: npt.NDArray[np.uint8], labels: list[int], suffix: str = "") -> None:
    for kind, array in (("images-idx3", pixels), ("labels-idx1", np.array(labels, dtype=np.uint8))):
        data = encode_idx(array)
        (folder / f"{stem}-{kind}-ubyte{suffix}").write_bytes(gzip.compress(data) if suffix else data)


@pytest.mark.parametrize("shape", [(5,), (3, 28, 28), (2, 3, 4, 5), (0,), (0, 28, 28)])
def test_parse_undoes_encode(shape: tuple[int, ...]) -> None:
    array = bytes_of_shape(*shape)
    parsed = parse_idx(encode_idx(array), "x")
    assert parsed.dtype == np.uint8
    np.testing.assert_array_equal(parsed, array)


def test_encode_writes_the_format_of_mnist() -> None:
    assert encode_idx(np.array([[1, 2, 3]], dtype=np.uint8)) == bytes.fromhex("00000802 00000001 00000003 010203")


@pytest.mark.parametrize("cut", [1, 5, 9, 20])
def test_a_truncated_file_is_named(cut: int) -> None:
    with pytest.raises(UserError, match=r"labels\.idx"):
        parse_idx(encode_idx(bytes_of_shape(10))[:-cut], "labels.idx")


def test_a_longer_file_is_refused() -> None:
    with pytest.raises(UserError, match="too long"):
        parse_idx(encode_idx(bytes_of_shape(10)) + b"\0", "x")


def test_another_element_type_is_refused() -> None:
    with pytest.raises(UserError, match="not an IDX file of bytes"):
        parse_idx(b"\0\0\x0d\1" + bytes(8), "x")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_28_pixels_are_padded_to_32_with_black(tmp_path: Path, suffix: str) -> None:
    pixels = bytes_of_shape(4, 28, 28)
    write_split(tmp_path, "train", pixels, [0, 1, 0, 1], suffix)
    images = read_idx_split(tmp_path, "train")
    assert images.pixels.shape == (4, 32, 32)
    np.testing.assert_array_equal(images.pixels[:, 2:-2, 2:-2], pixels)
    assert int(images.pixels.sum()) == int(pixels.sum())
    assert (images.labels, images.class_names) == ((0, 1, 0, 1), ("0", "1"))
    assert images.keys == ("train/0", "train/1", "train/2", "train/3")


def test_other_sizes_are_kept_and_grey_is_repeated(tmp_path: Path) -> None:
    write_split(tmp_path, "t10k", pixels := bytes_of_shape(2, 8, 9), [0, 1])
    write_split(tmp_path, "train", pixels, [0, 1])
    image = read_idx_split(tmp_path, "test").image(1)
    assert (image.mode, image.size) == ("RGB", (9, 8))
    np.testing.assert_array_equal(np.asarray(image), np.repeat(pixels[1][:, :, None], 3, axis=2))


def test_class_names_are_read_and_must_suffice(tmp_path: Path) -> None:
    write_split(tmp_path, "train", bytes_of_shape(2, 8, 8), [0, 1])
    (tmp_path / "class_names.txt").write_text("cat\nsea lion\n", encoding="utf-8")
    assert read_idx_split(tmp_path, "train").class_names == ("cat", "sea lion")
    (tmp_path / "class_names.txt").write_text("cat\n", encoding="utf-8")
    with pytest.raises(UserError, match="one name a line"):
        read_idx_split(tmp_path, "train")


def test_class_names_that_are_no_utf_8_are_a_user_error(tmp_path: Path) -> None:
    write_split(tmp_path, "train", bytes_of_shape(2, 8, 8), [0, 1])
    (tmp_path / "class_names.txt").write_bytes("café\nthé\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"class_names\.txt is not UTF-8"):
        read_idx_split(tmp_path, "train")


def test_images_and_labels_must_have_one_length(tmp_path: Path) -> None:
    write_split(tmp_path, "train", bytes_of_shape(3, 8, 8), [0, 1])
    with pytest.raises(UserError, match=r"labels of shape \(2,\)"):
        read_idx_split(tmp_path, "train")


def test_missing_and_truncated_files_are_user_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no train-images-idx3-ubyte"):
        read_idx_split(tmp_path, "train")
    write_split(tmp_path, "train", bytes_of_shape(3, 8, 8), [0, 1, 1], ".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="intact IDX file"):
        read_idx_split(tmp_path, "train")


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path, "train", bytes_of_shape(0, 28, 28), [])
    with pytest.raises(UserError, match="N above 0"):
        read_idx_split(tmp_path, "train")


def test_a_damaged_gzip_stream_is_a_user_error(tmp_path: Path) -> None:
    write_split(tmp_path, "train", bytes_of_shape(3, 8, 8) // 8, [0, 1, 1], ".gz")
    path = tmp_path / "train-images-idx3-ubyte.gz"
    data = bytearray(path.read_bytes())
    data[20:40] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(UserError, match="intact IDX file"):
        read_idx_split(tmp_path, "train")
