"""A folder of class folders, or one split of another layout: which files are which images."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import compress
from pathlib import Path

from PIL import Image

from ...core.errors import UserError
from .account import Account
from .bad_images import BadImages
from .decoding import USUAL, Limits, bits_of, guarded, measure, read_image, silenced, verify
from .layout import SplitPart, class_folders
from .names import kept
from .tree import look_through

_DECODE_LIMIT = 100_000  # images; up to here every file is decoded when it is checked, beyond only its header is read


@dataclass(frozen=True)
class FolderImages:
    """Images in files, opened when asked for, within `limits`; `paths[i]` is the file of image `i`."""

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    keys: tuple[str, ...]
    limits: Limits = USUAL

    def image(self, index: int) -> Image.Image:
        """Return image `index` in RGB, as `read_image` does."""
        return read_image(self.paths[index], self.limits)


def read_folder_split(folder: Path, split: str, root: Path | None = None, bad: BadImages | None = None) -> FolderImages:
    """Return the images of the class folders in `folder`; keys are `split`/class/.../file.

    Symbolic links to files are followed as long as they stay inside `root` (`folder` when None); other links are bad files.
    Raises UserError for these unless `bad` leaves them out, for no class folders and for a class folder without images. Files
    are not opened: `check_images`.
    """
    account = Account(bad or BadImages())
    found = look_through(folder, account, inside=root)
    return from_part(class_folders(found, account, train=True), split)


def from_part(part: SplitPart, split: str, class_names: Sequence[str] | None = None, limits: Limits = USUAL) -> FolderImages:
    """Return the images of one split of a folder; `class_names`: those that its classes are numbered by, if not its own."""
    names = sorted({*part.classes.values()}) if class_names is None else list(class_names)
    label = {name: number for number, name in enumerate(names)}
    paths = sorted(part.classes, key=lambda path: (label[part.classes[path]], path.relative_to(part.base).parts))
    return FolderImages(
        paths=tuple(paths),
        labels=tuple(label[part.classes[path]] for path in paths),
        class_names=tuple(kept(name) for name in names),
        keys=tuple(f"{split}/{kept(path.relative_to(part.base))}" for path in paths),
        limits=limits,
    )


def sub_folders(folder: Path) -> list[str]:
    """Return the sorted names of the sub-folders of `folder`; hidden ones are left out."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir())


def check_images(images: FolderImages, bad: BadImages | None = None, decode_limit: int = _DECODE_LIMIT) -> FolderImages:
    """Read every file in threads and return the images without the bad files, if these are left out.

    Otherwise one UserError names the first bad file and counts the others. Up to `decode_limit` images, and wherever bad files
    are left out, every file is decoded whole; else only headers (and the checksums of PNG) are checked. Where pictures are deep
    grey, their largest value says of how many bits; that is in the `limits` of what is returned.
    """
    bad = bad or BadImages()
    read = measure if bad.skips or len(images.paths) <= decode_limit else verify

    def judged(path: Path) -> str | int:
        try:
            return guarded(partial(read, limits=images.limits), path)
        except UserError as error:
            return str(error)

    with silenced(), ThreadPoolExecutor() as pool:
        found = list(pool.map(judged, images.paths))
    bad.meet([one for one in found if isinstance(one, str)])
    highest = max((one for one in found if isinstance(one, int)), default=0)
    images = replace(images, limits=replace(images.limits, bits=bits_of(highest), highest=highest))
    good = [isinstance(one, int) for one in found]
    return images if all(good) else _without(images, good)


def _without(images: FolderImages, good: list[bool]) -> FolderImages:
    return replace(
        images,
        paths=tuple(compress(images.paths, good)),
        labels=tuple(compress(images.labels, good)),
        keys=tuple(compress(images.keys, good)),
    )
