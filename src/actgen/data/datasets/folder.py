"""A folder of class folders: each sub-folder is a class, and every image file below it is one of its images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

from PIL import Image

from ...core.errors import UserError
from .bad_images import BadImages
from .decoding import decode, guarded, read_image, silenced, verify
from .names import kept, printable

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_DECODE_LIMIT = 100_000  # images; up to here every file is decoded when it is checked, beyond only its header is read
_DEEPEST = 64  # folders within a class folder


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


def read_folder_split(folder: Path, split: str, root: Path | None = None, bad: BadImages | None = None) -> FolderImages:
    """Return the images of the class folders in `folder`; keys are `split`/class/.../file.

    Symbolic links are followed as long as they stay inside `root` (`folder` when None); others are bad files. Raises UserError
    for these unless `bad` leaves them out, for no class folders, for a class folder that is a link out of `root`, and for one
    without images. Files are not opened: `check_images`.
    """
    inside, bad = Path(os.path.realpath(root or folder)), bad or BadImages()
    classes = sub_folders(folder)
    if not classes:
        raise UserError(f"{printable(folder)} has no class folders. It must hold one sub-folder of images per class.")
    if escapes := [problem for name in classes if (problem := _escape(folder / name, inside))]:
        raise UserError(escapes[0])
    found = [(label, path) for label, name in enumerate(classes) for path in _images(folder / name, inside, bad)]
    if empty := sorted(set(range(len(classes))) - {label for label, _ in found}):
        raise UserError(
            f"{printable(folder / classes[empty[0]])} has no images ({' '.join(SUFFIXES)}). "
            "Add some, or remove the folder if it is not a class."
        )
    return FolderImages(
        paths=tuple(path for _, path in found),
        labels=tuple(label for label, _ in found),
        class_names=tuple(kept(name) for name in classes),
        keys=tuple(f"{split}/{kept(path.relative_to(folder))}" for _, path in found),
    )


def sub_folders(folder: Path) -> list[str]:
    """Return the sorted names of the sub-folders of `folder`; hidden ones are left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def _images(folder: Path, inside: Path, bad: BadImages, depth: int = 0) -> Iterator[Path]:
    """Yield the image files below `folder` in sorted order; hidden files and folders are left out."""
    if depth > _DEEPEST:
        raise UserError(
            f"{printable(folder.parents[depth - 1])} has folders within folders, more than {_DEEPEST} deep. "
            "Give the images in class folders."
        )
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if path.is_symlink():
                bad.meet(
                    [
                        f"{printable(path)} is a link to a folder, and its images might count twice. "
                        "Move the folder here, or remove the link."
                    ]
                )
                continue
            yield from _images(path, inside, bad, depth + 1)
        elif path.suffix.lower() in SUFFIXES:
            if problem := _escape(path, inside):
                bad.meet([problem])
                continue
            yield path


def _escape(path: Path, inside: Path) -> str:
    """Return what is wrong with a link that leads out of `inside`; "" if nothing is."""
    if not path.is_symlink() or (target := Path(os.path.realpath(path))).is_relative_to(inside):
        return ""
    return (
        f"{printable(path)} is a link to {printable(target)}, outside {printable(inside)}. "
        "Put a copy in its place, or remove the link."
    )


def check_images(images: FolderImages, bad: BadImages | None = None, decode_limit: int = _DECODE_LIMIT) -> FolderImages:
    """Read every file in threads and return the images without the bad files, if these are left out.

    Otherwise one UserError names the first bad file and counts the others. Up to `decode_limit` images, and wherever bad files
    are left out, every file is decoded whole; else only headers (and the checksums of PNG) are checked.
    """
    bad = bad or BadImages()
    read: Callable[[Path], object] = decode if bad.skips or len(images.paths) <= decode_limit else verify

    def problem(path: Path) -> str:
        try:
            guarded(read, path)
        except UserError as error:
            return str(error)
        return ""

    with silenced(), ThreadPoolExecutor() as pool:
        problems = list(pool.map(problem, images.paths))
    bad.meet([text for text in problems if text])
    return images if not any(problems) else _without(images, [not text for text in problems])


def _without(images: FolderImages, good: list[bool]) -> FolderImages:
    return replace(
        images,
        paths=tuple(compress(images.paths, good)),
        labels=tuple(compress(images.labels, good)),
        keys=tuple(compress(images.keys, good)),
    )
