"""CIFAR-10 and CIFAR-100 in their published binary format (Krizhevsky 2009).

A file is a row of records: one label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100, whose fine label is used), then
3072 bytes of a 32-pixel image, plane by plane: red, green, blue.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...core.class_words import class_words
from ...core.errors import UserError
from .imageset import ArrayImages

_PIXELS = 3 * 32 * 32
_HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class Version:
    """One of the two sets: the files of its splits (patterns), the file of its class names, how many labels a record has."""

    name: str
    train: str
    test: str
    names: str
    labels: int
    classes: int

    @property
    def layout(self) -> str:
        """What to download, and what the folder must hold."""
        number = self.name.removeprefix("cifar")
        return (
            f"Download cifar-{number}-binary.tar.gz from {_HOME} and unpack it; {self.name}:DIR is the folder with "
            f"{self.train.replace('*', '1')}{' and the others' if '*' in self.train else ''}, {self.test} and {self.names}."
        )


VERSIONS = {
    "cifar10": Version("cifar10", "data_batch_*.bin", "test_batch.bin", "batches.meta.txt", 1, 10),
    "cifar100": Version("cifar100", "train.bin", "test.bin", "fine_label_names.txt", 2, 100),
}


def read_cifar(folder: Path, version: Version) -> tuple[ArrayImages, ArrayImages]:
    """Return the training and the test images; `folder` holds the files, or the folder in which the archive unpacks does.

    Keys are `train/NUMBER` and `test/NUMBER` in the order of the files. Raises UserError for what is missing or damaged, and
    for the version for Python, which can run code when it is opened.
    """
    inside = next((path for path in (folder, *sorted(folder.glob("cifar-*-b*"))) if (path / version.test).is_file()), None)
    if inside is None:
        raise UserError(f"{folder} does not hold {version.test}{_for_python(folder)}.\n{version.layout}")
    names = _class_names(inside / version.names, version)
    return _split(inside, "train", version.train, names, version), _split(inside, "test", version.test, names, version)


def _for_python(folder: Path) -> str:
    for path in (folder, *folder.glob("cifar-*")):
        if any((path / name).is_file() for name in ("batches.meta", "meta", "data_batch_1", "data_batch_1.mat", "train.mat")):
            return ", but the version for Python or Matlab: it can run code and is not read, take the binary version"
    return ""


def _class_names(path: Path, version: Version) -> tuple[str, ...]:
    if not path.is_file():
        raise UserError(f"{path} is missing.\n{version.layout}")
    try:
        names = tuple(class_words(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text ({error.reason}). Unpack the archive again.") from error
    if len(set(names)) != version.classes or len(names) != version.classes:
        raise UserError(
            f"{path} has {len(set(names))} class names, one a line; {version.name} has {version.classes}. Unpack "
            "the archive again."
        )
    return names


def _split(folder: Path, split: str, pattern: str, names: tuple[str, ...], version: Version) -> ArrayImages:
    files = sorted(folder.glob(pattern))
    if not files:
        raise UserError(f"{folder} has no {pattern}.\n{version.layout}")
    records = np.concatenate([_records(path, version) for path in files])
    labels = records[:, version.labels - 1]
    pixels = records[:, version.labels :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    keys = tuple(f"{split}/{number}" for number in range(len(labels)))
    return ArrayImages(np.ascontiguousarray(pixels), tuple(labels.tolist()), names, keys)


def _records(path: Path, version: Version) -> npt.NDArray[np.uint8]:
    data = np.fromfile(path, dtype=np.uint8)
    size = version.labels + _PIXELS
    if not len(data) or len(data) % size:
        raise UserError(
            f"{path} has {len(data)} bytes, which is not a row of records of {size} bytes. It is cut short, or not "
            f"of {version.name}: unpack the archive again."
        )
    records = data.reshape(-1, size)
    if (highest := int(records[:, version.labels - 1].max())) >= version.classes:
        raise UserError(
            f"{path} has a label {highest}, but {version.name} has the classes 0 to {version.classes - 1}. It is "
            "damaged, or of another set."
        )
    return records
