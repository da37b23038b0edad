"""Small data in the published formats, written as their publishers lay them out: what the readers are tested on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from actgen.data.datasets.eurosat import CLASSES as EUROSAT
from actgen.data.datasets.idx import encode_idx

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100 = tuple(sorted(("apple", "aquarium_fish", "baby", *(f"thing_{number}" for number in range(97)))))
IMAGENET = {
    "n01440764": "tench",
    "n02012849": "crane bird",
    "n03126707": "crane",
    "n04355933": "sunglass",
    "n04356056": "sunglasses",
}
_DEVKIT_IDS = {"n03126707": 1, "n01440764": 2, "n04356056": 3, "n02012849": 4, "n04355933": 5}  # an order of its own


def pixels(label: int, number: int, size: int = 32) -> npt.NDArray[np.uint8]:
    """Return a picture [size, size, 3] of noise around a colour that belongs to the class."""
    noise = np.random.default_rng([label, number]).integers(-40, 40, (size, size, 3))
    colour = np.random.default_rng(label).integers(40, 215, 3)
    return (colour + noise).astype(np.uint8)


def shuffled(classes: int, each: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (label, number) of `each` pictures of every class, the classes by turns."""
    return ((label, number) for number in range(start, start + each) for label in range(classes))


def write_cifar(folder: Path, version: str = "cifar10", train: int = 4, test: int = 2) -> str:
    """Write `train` and `test` images of every class in CIFAR's binary format."""
    inside = folder / ("cifar-10-batches-bin" if version == "cifar10" else "cifar-100-binary")
    inside.mkdir(parents=True)
    names = CIFAR10 if version == "cifar10" else CIFAR100
    title = "batches.meta.txt" if version == "cifar10" else "fine_label_names.txt"
    (inside / title).write_text("".join(f"{name}\n" for name in names) + "\n", encoding="utf-8")
    coarse = b"" if version == "cifar10" else b"\x07"

    def record(label: int, number: int) -> bytes:
        return coarse + bytes([label]) + pixels(label, number).transpose(2, 0, 1).tobytes()

    records = [record(label, number) for label, number in shuffled(len(names), train)]
    parts = 5 if version == "cifar10" else 1
    for part in range(parts):
        name = f"data_batch_{part + 1}.bin" if version == "cifar10" else "train.bin"
        (inside / name).write_bytes(b"".join(records[part * len(records) // parts : (part + 1) * len(records) // parts]))
    tests = [record(label, number) for label, number in shuffled(len(names), test, start=train)]
    (inside / ("test_batch.bin" if version == "cifar10" else "test.bin")).write_bytes(b"".join(tests))
    return f"{version}:{inside}"


def write_eurosat(folder: Path, each: int = 5, classes: Sequence[str] = EUROSAT) -> str:
    """Write class folders of JPEGs as EuroSAT_RGB.zip unpacks."""
    for label, name in enumerate(classes):
        (folder / "EuroSAT_RGB" / name).mkdir(parents=True)
        for number in range(each):
            Image.fromarray(pixels(label, number, 64)).save(folder / "EuroSAT_RGB" / name / f"{name}_{number + 1}.jpg")
    return f"eurosat:{folder}"


def write_imagenet(folder: Path, val: str = "folders", train: int = 3, test: int = 2, side: int = 40) -> str:
    """Write ImageNet's layout; `val`: "folders", or flat with labels as "kaggle", "ids" or "devkit" gives them."""
    for label, name in enumerate(IMAGENET):
        (folder / "train" / name).mkdir(parents=True)
        for number in range(train):
            Image.fromarray(pixels(label, number, side)).resize((side + 8, side)).save(
                folder / "train" / name / f"{name}_{number}.JPEG", "JPEG"
            )
    (folder / "val").mkdir()
    labels = []
    for place, (label, number) in enumerate(shuffled(len(IMAGENET), test, start=train), start=1):
        name = list(IMAGENET)[label]
        inside = folder / "val" / (name if val == "folders" else "")
        inside.mkdir(exist_ok=True)
        Image.fromarray(pixels(label, number, side)).save(inside / f"ILSVRC2012_val_{place:08}.JPEG", "JPEG")
        labels.append(name)
    if val == "kaggle":
        rows = [f"ILSVRC2012_val_{place:08},{name} 1 2 30 40\n" for place, name in enumerate(labels, start=1)]
        (folder / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(reversed(rows)), encoding="utf-8")
    elif val != "folders":
        devkit = folder / "ILSVRC2012_devkit_t12" / "data"
        devkit.mkdir(parents=True)
        lines = [name if val == "ids" else str(_DEVKIT_IDS[name]) for name in labels]
        (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if val == "devkit":
            write_meta(devkit / "meta.mat")
    return f"imagenet:{folder}"


def write_meta(path: Path) -> None:
    """Write the devkit's table of synsets, with one inner node as it has many."""
    from scipy.io import savemat

    rows = [(number, name) for name, number in _DEVKIT_IDS.items()] + [(1001, "n00001740")]
    table = np.array([(number, name) for number, name in rows], dtype=[("ILSVRC2012_ID", object), ("WNID", object)])
    savemat(path, {"synsets": table.reshape(-1, 1)})


def write_idx(folder: Path, names: Sequence[str] = ("0", "1", "2")) -> str:
    """Write 28-pixel images as MNIST's files."""
    folder.mkdir(parents=True)
    (folder / "class_names.txt").write_text("\n".join(names), encoding="utf-8")
    for stem, each, start in (("train", 4, 0), ("t10k", 2, 4)):
        places = list(shuffled(len(names), each, start))
        images = np.stack([pixels(label, number, 28)[..., 0] for label, number in places])
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(encode_idx(images))
        labels = np.array([label for label, _ in places], dtype=np.uint8)
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(encode_idx(labels))
    return f"idx:{folder}"


def write_folders(folder: Path) -> str:
    """Write train/ and test/ of class folders."""
    for split, each, start in (("train", 4, 0), ("test", 2, 4)):
        for label, number in shuffled(3, each, start):
            inside = folder / split / f"kind {label}"
            inside.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(label, number)).save(inside / f"{number}.png")
    return str(folder)


def hub_columns(each: int, start: int = 0, names: Sequence[str] | None = ("annual crop", "sea_lake", "river")) -> Any:
    """Return a `datasets.Dataset` with a picture and a label column; without names the label is a text."""
    import datasets

    places = list(shuffled(3, each, start))
    kind = datasets.ClassLabel(names=list(names)) if names else datasets.Value("string")
    columns = {
        "picture": [Image.fromarray(pixels(label, number)) for label, number in places],
        "number": [number for _, number in places],
        "label": [label if names else f"kind {label}" for label, _ in places],
    }
    features = datasets.Features({"picture": datasets.Image(), "number": datasets.Value("int64"), "label": kind})
    return datasets.Dataset.from_dict(columns, features=features)


def write_hub(folder: Path) -> str:
    """Write what `DatasetDict.save_to_disk` writes."""
    import datasets

    datasets.DatasetDict({"train": hub_columns(4), "validation": hub_columns(2, 4)}).save_to_disk(str(folder))
    return f"hf:{folder}"


def write_hub_texts(folder: Path) -> str:
    """Write one split, whose labels are texts."""
    hub_columns(4, names=None).save_to_disk(str(folder))
    return f"hf:{folder}?image=picture&label=label"


def write_imagefolder(folder: Path) -> str:
    """Write what Hugging Face's imagefolder reads."""
    return f"hf:{write_folders(folder)}"


SOURCES: dict[str, Callable[[Path], str]] = {
    "bundled": lambda folder: "fashion-mnist-mini",
    "folders": write_folders,
    "idx": write_idx,
    "cifar10": write_cifar,
    "cifar100": lambda folder: write_cifar(folder, "cifar100", train=2, test=1),
    "eurosat": write_eurosat,
    "imagenet": write_imagenet,
    "imagenet, flat": lambda folder: write_imagenet(folder, "kaggle"),
    "imagenet, flat, ids": lambda folder: write_imagenet(folder, "ids"),
    "imagenet, flat, devkit": lambda folder: write_imagenet(folder, "devkit"),
    "hf": write_hub,
    "hf, texts": write_hub_texts,
    "hf, imagefolder": write_imagefolder,
}
