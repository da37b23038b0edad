"""A folder of class folders: each sub-folder is a class, and every image file below it is one of its images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
# What Pillow may try, whatever the suffix says: a file never reaches a decoder that runs other programs (EPS).
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
_Read = TypeVar("_Read")
_DECODE_LIMIT = 100_000  # images; up to here every file is decoded when it is checked, beyond only its header is read


@dataclass(frozen=True)
class FolderImages:
    """Images in files, opened when asked for; `paths[i]` is the file of image `i`."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    keys: tuple[str, ...]

    def image(self, index: int) -> Image.Image:
        """Return image `index` in RGB, as `read_image` does."""
        return read_image(self.paths[index])


def read_folder_split(folder: Path, split: str, root: Path | None = None) -> FolderImages:
    """Return the images of the class folders in `folder`; keys are `split`/class/.../file.

    Symbolic links are followed as long as they stay inside `root` (`folder` when None). Raises UserError for a link
    that leads out, for no class folders, and for a class folder without images. Files are not opened: `check_images`.
    """
    inside = Path(os.path.realpath(root or folder))
    classes = sub_folders(folder)
    if not classes:
        raise UserError(f"{printable(folder)} has no class folders. It must hold one sub-folder of images per class.")
    found = [(label, path) for label, name in enumerate(classes) for path in _images(folder / name, inside)]
    if empty := sorted(set(range(len(classes))) - {label for label, _ in found}):
        raise UserError(f"{printable(folder / classes[empty[0]])} has no images ({' '.join(SUFFIXES)}). "
                        "Add some, or remove the folder if it is not a class.")  # fmt: skip
    return FolderImages(
        paths=tuple(path for _, path in found),
        labels=tuple(label for label, _ in found),
        class_names=tuple(printable(name) for name in classes),
        keys=tuple(f"{split}/{printable(path.relative_to(folder))}" for _, path in found),
    )


def sub_folders(folder: Path) -> list[str]:
    """Return the sorted names of the sub-folders of `folder`; hidden ones are left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def printable(path: PurePath | str) -> str:
    r"""Return a path as text that any file can hold: "/" between parts, bytes that are not UTF-8 as \xNN, "\" as "\\".

    Different paths give different texts.
    """
    text = path.as_posix() if isinstance(path, PurePath) else path
    return os.fsencode(text.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def _images(folder: Path, inside: Path) -> Iterator[Path]:
    """Yield the image files below `folder` in sorted order; hidden files and folders are left out."""
    _refuse_escape(folder, inside)
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.is_symlink():
                raise UserError(f"{printable(path)} is a link to a folder, and its images might count twice. "
                                "Move the folder here, or remove the link.")  # fmt: skip
            yield from _images(path, inside)
        elif path.suffix.lower() in SUFFIXES:
            _refuse_escape(path, inside)
            yield path


def _refuse_escape(path: Path, inside: Path) -> None:
    if path.is_symlink() and not (target := Path(os.path.realpath(path))).is_relative_to(inside):
        raise UserError(f"{printable(path)} is a link to {printable(target)}, outside {printable(inside)}. "
                        "Put a copy in its place, or remove the link.")  # fmt: skip


def read_image(path: Path) -> Image.Image:
    """Return an image file in RGB, upright.

    EXIF orientation is applied and of several frames the first is taken; colour profiles are ignored. Raises UserError
    for a file that is empty, not an image, broken, larger than Pillow's limit against decompression bombs, or of
    floating-point pixels.
    """
    return _guarded(_decode, path)


def _decode(path: Path) -> Image.Image:
    with _open(path) as image:
        image.load()
        return to_rgb(ImageOps.exif_transpose(image))


def _verify(path: Path) -> None:
    with _open(path) as image:
        image.verify()


def _open(path: Path) -> Image.Image:
    """Open an image lazily; Pillow itself refuses only above twice its limit, and warns below."""
    if not path.is_file():
        raise ValueError("it is not a file, or a link to nothing")
    if path.stat().st_size == 0:
        raise ValueError("it is empty (0 bytes)")
    image = Image.open(path, formats=_FORMATS)
    if Image.MAX_IMAGE_PIXELS is not None and image.width * image.height > Image.MAX_IMAGE_PIXELS:
        image.close()
        raise Image.DecompressionBombError
    return image


def _guarded(read: Callable[[Path], _Read], path: Path) -> _Read:
    try:
        return read(path)
    except Exception as error:  # Pillow's decoders raise many types on broken files: OSError, SyntaxError, struct.error
        raise UserError(f"cannot read the image {printable(path)}: {_reason(error)}. Repair or remove it.") from error


def _reason(error: Exception) -> str:
    match error:
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return f"it has more than {Image.MAX_IMAGE_PIXELS} pixels"
        case UnidentifiedImageError():
            return "it is not a PNG, JPEG, WebP, BMP, GIF or TIFF image, or its header is broken"
        case OSError() if error.strerror:
            return error.strerror
    return str(error).rstrip(".") or type(error).__name__


def to_rgb(image: Image.Image) -> Image.Image:
    """Return `image` in RGB: grey is repeated, 16-bit grey divided by 256, transparency laid on black.

    Black, because the other sources pad with black and it is what zero means. Raises ValueError for pixels whose range
    is unknown: floating point, or integers outside [0, 65535].
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers; save it with 8 or 16 bits per channel")
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    pixels = np.asarray(image)
    if pixels.min() < 0 or pixels.max() > 65535:
        raise ValueError("its pixels are integers outside 0..65535; save it with 8 or 16 bits per channel")
    return Image.fromarray((pixels // 256).astype(np.uint8)).convert("RGB")


def check_images(images: FolderImages, decode_limit: int = _DECODE_LIMIT) -> None:
    """Read every file in threads, and raise one UserError that names the first bad one and counts the others.

    Up to `decode_limit` images are decoded whole; of a larger set only headers (and the checksums of PNG) are checked.
    """

    def problem(path: Path) -> str | None:
        try:
            _guarded(_decode if len(images.paths) <= decode_limit else _verify, path)
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        problems = [text for text in pool.map(problem, images.paths) if text]
    if problems:
        raise UserError("\n".join([problems[0], f"{len(problems) - 1} more cannot be read."][: len(problems)]))
