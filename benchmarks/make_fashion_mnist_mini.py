"""Generate the bundled `fashion-mnist-mini` from the full Fashion-MNIST: 200 training images a class, all test images.

    python benchmarks/make_fashion_mnist_mini.py IDX_DIR

IDX_DIR holds the four IDX files, for example of Debian's package dataset-fashion-mnist. The same bytes every time.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from actgen.core import rng
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES, encode_idx, read_idx_split
from actgen.data.datasets.imageset import ArrayImages

TARGET = Path(__file__).parents[1] / "src" / "actgen" / "core" / "assets" / "fashion-mnist-mini"
PER_CLASS = 200
SEED = 0


def generate(labels: npt.NDArray[np.int64]) -> list[int]:
    """Return PER_CLASS indices of every class, in rising order."""
    chosen: list[int] = []
    for label, name in enumerate(FASHION_MNIST_CLASSES):
        members = np.flatnonzero(labels == label)
        order = rng.permutation(len(members), SEED, "fashion-mnist-mini", name)
        chosen.extend(members[order[:PER_CLASS]].tolist())
    return sorted(chosen)


def write_idx(name: str, array: npt.NDArray[np.uint8]) -> None:
    """Write `array` as a gzipped IDX file whose bytes do not depend on the time."""
    path = TARGET / f"{name}.gz"
    path.write_bytes(gzip.compress(encode_idx(array), compresslevel=9, mtime=0))
    print(f"{path.stat().st_size:9,d} bytes  {path.name}")


def write_split(stem: str, images: ArrayImages, indices: list[int]) -> None:
    """Write the chosen images without the border that reading adds (28 x 28 pixels), and their labels."""
    write_idx(f"{stem}-images-idx3-ubyte", np.ascontiguousarray(images.pixels[indices, 2:-2, 2:-2]))
    write_idx(f"{stem}-labels-idx1-ubyte", np.array(images.labels, dtype=np.uint8)[indices])


def main(source: Path) -> None:
    """Write the four IDX files, `class_names.txt` and `train_indices.txt` to TARGET."""
    train, test = read_idx_split(source, "train"), read_idx_split(source, "test")
    if train.class_names != FASHION_MNIST_CLASSES:
        raise SystemExit(f"{source} is not Fashion-MNIST: its training labels are others.")
    TARGET.mkdir(parents=True, exist_ok=True)
    indices = generate(np.array(train.labels, dtype=np.int64))
    write_split("train", train, indices)
    write_split("t10k", test, list(range(len(test.labels))))
    (TARGET / "train_indices.txt").write_text("".join(f"{i}\n" for i in indices), encoding="utf-8")
    (TARGET / "class_names.txt").write_text("".join(f"{name}\n" for name in FASHION_MNIST_CLASSES), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: python {sys.argv[0]} IDX_DIR")
    main(Path(sys.argv[1]))
