"""From what a user writes (`--data SPEC`) to checked real images: the one place that knows where data comes from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ...core.errors import UserError
from ...core.text import brief, visible
from . import cifar, eurosat, imagenet
from .bad_images import BadImages
from .folder import FolderImages, check_images, read_folder_split, sub_folders
from .hub import read_hub
from .idx import LAYOUT, read_idx_split
from .imageset import ArrayImages, ImageSet
from .names import kept, printable

BUNDLED = "fashion-mnist-mini"
ALLOWED = (
    f"Allowed: {BUNDLED} (bundled), idx:DIR (MNIST's format), cifar10:DIR, cifar100:DIR, eurosat:DIR, imagenet:DIR, hf:NAME "
    "(Hugging Face), or the path of a folder of class folders."
)
_ASSETS = Path(__file__).parents[2] / "core" / "assets"
_TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first one that is there is used


@dataclass(frozen=True)
class RealData:
    """Real images as given: `test` is None when the source has no split of its own. `spec` is what the user wrote.

    `note`: what there is to know about them. `prompts`: what a generator is told of a class, by name, where that is not the
    usual; `variants`: all that are dealt to requests, where there are several. `left_out`: the files of both splits that could
    not be used, with the reasons. `all_keys`: those of the whole training split, in its order, where `train` is a part of it.
    The last `extra` of `train` are beyond those of the recipe, and `rest` is what it leaves of the training split
    (`datasets/extra.py`).
    """

    spec: str
    train: ImageSet
    test: ImageSet | None
    note: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    all_keys: Sequence[str] = ()
    extra: int = 0
    rest: ImageSet | None = None


def load_data(spec: str, on_bad_image: str = "refuse") -> RealData:
    """Return the real data that `spec` names: "fashion-mnist-mini", PREFIX:DIR with a prefix of `READERS`, "hf:NAME" (see
    `hub.read_hub`), or the path of a folder.

    A folder holds one sub-folder per class, or `train/` with these inside and perhaps one of `test/`, `val/`, `valid/`
    and `validation/` with the same classes. Every image file is read once (see `check_images`), but of ImageNet.
    Raises UserError for anything that cannot be trained on; with `on_bad_image` "skip", image files that cannot be used are
    left out instead, as long as enough remain of every class.
    """
    bad = BadImages(on_bad_image)
    try:
        train, test = _load(spec, bad)
        _check_classes(spec, train)
        if not spec.startswith("imagenet:"):  # over a million files, known to be whole
            train, test = _checked(train, bad), None if test is None else _checked(test, bad)
    except OSError as error:
        where = printable(str(error.filename or spec))
        raise UserError(
            f"cannot read {where}: {error.strerror}. Check that it exists and that you may read it, or give other data."
        ) from error
    if bad.found:
        _check_left(spec, train, test, bad)
    note = eurosat.NOTE if spec.startswith("eurosat:") else ""
    return RealData(spec, train, test, note=note, left_out=tuple(bad.found))


def _checked(images: ImageSet, bad: BadImages) -> ImageSet:
    return check_images(images, bad) if isinstance(images, FolderImages) else images


def _check_left(spec: str, train: ImageSet, test: ImageSet | None, bad: BadImages) -> None:
    """Check again what is left when bad files are out."""
    try:
        _check_classes(spec, train)
        if test is not None and not test.labels:
            raise UserError(f"{printable(spec)} has no test images left.")
    except UserError as error:
        raise UserError(f"{len(bad.found)} image files were left out, and {error}\nThe first: {bad.found[0]}") from error


def _load(spec: str, bad: BadImages) -> tuple[ImageSet, ImageSet | None]:
    if spec == BUNDLED:
        return _load_bundled(_ASSETS / BUNDLED)
    prefix, colon, rest = spec.partition(":")
    if colon and prefix == "hf":
        return read_hub(rest)
    if colon and prefix in READERS:
        reader = READERS[prefix]
        return reader.read(_folder(spec, rest, reader.layout))
    return _load_folder(_folder(spec, spec), bad)


def _folder(spec: str, text: str, layout: str = ALLOWED) -> Path:
    path = Path(text).expanduser() if text.startswith("~/") else Path(text)
    if text.strip() and path.is_dir():
        return path
    if text.strip() and path.exists():
        raise UserError(f"{printable(spec)} is a file, not a folder. Unpack it first if it is an archive.\n{layout}")
    what = "data set and no folder" if layout is ALLOWED else "folder"
    raise UserError(f"there is no {what} called {brief(kept(text))}.\n{layout}")


def _load_bundled(folder: Path) -> tuple[ArrayImages, ArrayImages]:
    """Read the bundled IDX folder; a training image is known by its index in the full data set."""
    train, test = _load_idx(folder)
    indices = (folder / "train_indices.txt").read_text(encoding="utf-8").split()
    return replace(train, keys=tuple(f"train/{index}" for index in indices)), test


def _load_idx(folder: Path) -> tuple[ArrayImages, ArrayImages]:
    train, test = read_idx_split(folder, "train"), read_idx_split(folder, "test")
    if (highest := max(test.labels)) >= len(train.class_names):
        raise UserError(
            f"{printable(folder)}: the test labels go up to {highest}, but training has only the classes "
            f"0 to {len(train.class_names) - 1}. Give files of one data set."
        )
    return train, replace(test, class_names=train.class_names)


@dataclass(frozen=True)
class Reader:
    """A format: what reads a folder of it (training images, test images or None), and what to say where there is none."""

    read: Callable[[Path], tuple[ImageSet, ImageSet | None]]
    layout: str


READERS: dict[str, Reader] = {
    "idx": Reader(_load_idx, LAYOUT),
    **{name: Reader(partial(cifar.read_cifar, version=version), version.layout) for name, version in cifar.VERSIONS.items()},
    "eurosat": Reader(eurosat.read_eurosat, eurosat.LAYOUT),
    "imagenet": Reader(imagenet.read_imagenet, imagenet.LAYOUT),
}


def register_reader(prefix: str, reader: Reader) -> None:
    """Let `--data PREFIX:DIR` be read by `reader.read(DIR)`, which returns the training images and the test images or None.

    Call it before the recipe is run: `register_reader("mine", Reader(read_mine, "mine:DIR is a folder with ..."))`.
    `UserError` if the prefix is taken or is not lower-case letters, digits and hyphens.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]+", prefix):
        raise UserError(f"{brief(prefix)!r} cannot be a prefix. Give two or more lower-case letters, digits or hyphens.")
    if prefix in (taken := (*READERS, "hf")):
        raise UserError(f"there is a reader called {prefix} already. Give yours another name; taken are {', '.join(taken)}.")
    READERS[prefix] = reader


def _load_folder(root: Path, bad: BadImages) -> tuple[ImageSet, ImageSet | None]:
    train_folder, test_folder = _split_folders(root)
    train = read_folder_split(train_folder, "train", root, bad)
    test = read_folder_split(test_folder, "test", root, bad) if test_folder else None
    if test_folder and test and test.class_names != train.class_names:
        raise UserError(
            f"{printable(train_folder)} and {printable(test_folder)} must have the same class folders; "
            + _difference(train.class_names, test.class_names, test_folder.name)
        )
    return train, test


def _split_folders(root: Path) -> tuple[Path, Path | None]:
    """Return where the training and test classes are.

    `train` is a split if it has sub-folders or only splits beside it; else it is a class (of vehicles, for example).
    """
    names = {name.lower(): name for name in sub_folders(root)}
    only_splits = names.keys() <= {"train", *_TEST_FOLDERS}
    if names and only_splits and "train" not in names:
        raise UserError(
            f"{printable(root)} has {' and '.join(map(visible, names.values()))}, but no train folder. Add one, "
            "or give a folder of class folders."
        )
    if not names and any(root.glob("*-ubyte*")):
        raise UserError(f"{printable(root)} has no class folders, but files in MNIST's format: give idx:{printable(root)}.")
    if "train" not in names or not (only_splits or sub_folders(root / names["train"])):
        return root, None
    test = next((root / names[name] for name in _TEST_FOLDERS if name in names), None)
    return root / names["train"], test


def _difference(train: Sequence[str], test: Sequence[str], test_name: str) -> str:
    """Say which classes only one side has, at most five of each."""
    sides = [("missing from", set(train) - set(test)), ("only in", set(test) - set(train))]
    parts = [f"{where} {test_name}: {_listed(sorted(names))}" for where, names in sides if names]
    return "; ".join(parts) + "."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(visible, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_classes(spec: str, images: ImageSet) -> None:
    """Raise UserError unless there are two classes or more, with two training images or more in each."""
    names, labels = images.class_names, list(images.labels)
    if len(names) < 2:
        raise UserError(
            f"{printable(spec)} has only one class, {visible(names[0])}. A classifier needs two or more: "
            "add a folder for another class."
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{printable(spec)} has more than one class called {_listed(twice)}. Give each a name of its own.")
    counts = [0] * len(names)
    for label in labels:
        counts[label] += 1
    if few := [name for name, count in zip(names, counts, strict=True) if count < 2]:
        raise UserError(
            f"{printable(spec)} has fewer than 2 training images of: {_listed(few)}. "
            "Each class needs 2 or more (one is held out): add images or remove the class."
        )
