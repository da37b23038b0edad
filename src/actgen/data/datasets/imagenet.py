"""ImageNet (ILSVRC 2012): `train/` in folders named by WordNet ids, `val/` in such folders or flat with its labels in a file.

Class names are words: torchvision's, which are all different ("crane bird" and "crane", "missile" and "projectile").
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from .decoding import suffixes
from .folder import FolderImages, read_folder_split, sub_folders
from .names import printable

LAYOUT = (
    "Get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from https://image-net.org and unpack them to "
    "DIR/train/n01440764/ and so on (the inner archives too) and DIR/val/, in such folders too or flat with "
    "LOC_val_solution.csv, or the devkit's ILSVRC2012_validation_ground_truth.txt and meta.mat, in DIR."
)
KAGGLE, DEVKIT = "LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt"
_DEVKIT_FOLDERS = ("", "val", "ILSVRC2012_devkit_t12/data", "data")


def class_names_by_id() -> dict[str, str]:
    """Return the 1,000 WordNet ids in their order, each with the words of its class."""
    from timm.data import ImageNetInfo
    from torchvision.models import ResNet50_Weights

    ids, words = ImageNetInfo("imagenet-1k").label_names(), ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
    return dict(zip(ids, words, strict=True))


def read_imagenet(folder: Path) -> tuple[FolderImages, FolderImages | None]:
    """Return the training images and those of `val/`, which is what ImageNet is tested on; None if there is no `val/`.

    A part of the classes will do. Keys are `train/ID/file` and `test/ID/file`, or `test/file` of a flat folder. Raises
    UserError for another layout and for folders that are no WordNet ids of ImageNet's.
    """
    train = folder / "train"
    if not train.is_dir() or not sub_folders(train):
        raise UserError(f"{printable(folder)} has no train/ with class folders.\n{LAYOUT}")
    images = read_folder_split(train, "train", folder)
    ids, words = images.class_names, class_names_by_id()
    if other := [name for name in ids if name not in words]:
        raise UserError(
            f"{printable(train / other[0])} is no class of ImageNet: class folders are called n01440764 and so on. "
            "Remove it, or give the folder without imagenet: to read it as a folder of class folders."
        )
    test = _val(folder, ids) if (folder / "val").is_dir() else None
    names = tuple(words[name] for name in ids)
    return replace(images, class_names=names), None if test is None else replace(test, class_names=names)


def _val(folder: Path, ids: Sequence[str]) -> FolderImages:
    val = folder / "val"
    if not sub_folders(val):
        return _flat(folder, ids)
    images = read_folder_split(val, "test", folder)
    if images.class_names != tuple(ids):
        odd = sorted(set(images.class_names) ^ set(ids))
        raise UserError(f"{printable(val)} and train/ must have the same class folders; {odd[0]} is in one of them only.")
    return images


def _flat(folder: Path, ids: Sequence[str]) -> FolderImages:
    """Return the images of a flat `val/` that are of the classes `ids`."""
    paths = sorted(
        path for path in (folder / "val").iterdir() if path.suffix.lower() in suffixes() and not path.name.startswith(".")
    )
    if not paths:
        raise UserError(f"{printable(folder / 'val')} is empty. Remove it, or fill it.\n{LAYOUT}")
    number = {name: label for label, name in enumerate(ids)}
    labels = _labels_of(folder, [path.stem for path in paths])
    kept = [(path, number[name]) for path, name in zip(paths, labels, strict=True) if name in number]
    if empty := set(ids) - set(labels):
        raise UserError(f"{printable(folder / 'val')} has no image of {min(empty)}, which train/ has.\n{LAYOUT}")
    return FolderImages(
        paths=tuple(path for path, _ in kept),
        labels=tuple(label for _, label in kept),
        class_names=tuple(ids),
        keys=tuple(f"test/{printable(path.name)}" for path, _ in kept),
    )


def _labels_of(folder: Path, stems: Sequence[str]) -> list[str]:
    """Return the WordNet id of each image of a flat `val/`."""
    if (table := _find(folder, KAGGLE)) is not None:
        found = dict(_kaggle_rows(table))
        if missing := [stem for stem in stems if stem not in found]:
            raise UserError(f"{table} has no line for {printable(missing[0])}. Give the file that belongs to these images.")
        return [found[stem] for stem in stems]
    if (truth := _find(folder, DEVKIT)) is None:
        raise UserError(f"{printable(folder / 'val')} has no class folders, and there is no file with its labels.\n{LAYOUT}")
    lines = truth.read_text(encoding="utf-8", errors="replace").split()
    if len(lines) != len(stems):
        raise UserError(f"{truth} has {len(lines)} labels, but val/ has {len(stems)} images. Unpack both again.")
    return lines if lines[0].startswith("n") else _by_number(truth, lines)


def _find(folder: Path, name: str) -> Path | None:
    return next((path for part in _DEVKIT_FOLDERS if (path := folder / part / name).is_file()), None)


def _kaggle_rows(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (image, WordNet id) of lines like `ILSVRC2012_val_00000001,n01751748 111 108 230 366`."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(line.replace("\0", "") for line in file):
            boxes = (row.get("PredictionString") or "").split()
            if not row.get("ImageId") or not boxes:
                raise UserError(
                    f"{path} does not have the columns ImageId and PredictionString in every line. Download it again."
                )
            yield row["ImageId"], boxes[0]


def _by_number(truth: Path, lines: Sequence[str]) -> list[str]:
    """Return the WordNet ids of ILSVRC2012_IDs, which have an order of their own: the devkit's meta.mat has it."""
    meta = truth.with_name("meta.mat")
    if not meta.is_file():
        raise UserError(f"{truth} holds numbers, whose meaning is in the devkit's meta.mat: put it beside that file.")
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise UserError(f"reading {meta} needs scipy: pip install scipy.") from error
    try:
        synsets: Any = loadmat(meta, squeeze_me=True)["synsets"]
        ids = {int(number): str(name) for number, name in zip(synsets["ILSVRC2012_ID"], synsets["WNID"], strict=True)}
        return [ids[int(line)] for line in lines]
    except Exception as error:  # what scipy raises on files that are no matrices has no end
        raise UserError(f"{truth} and {meta} do not fit together ({error}). Unpack the devkit again.") from error
