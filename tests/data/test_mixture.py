"""Laws of the mixture: real images first, then those of one snapshot, the same from any process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from actgen.core.types import Snapshot
from actgen.data.datasets.folder import FolderImages
from actgen.data.datasets.imageset import to_pixels
from actgen.data.datasets.sources import load_data
from actgen.data.mixture import Mixture
from actgen.data.store.store import Store
from tests.conftest import CLASSES, TRAIN_IMAGES, make_sample

REAL = len(CLASSES) * TRAIN_IMAGES


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    store = Store(tmp_path / "store")
    for number in range(5):
        store.add(make_sample(f"k{number}", shade=50 * number, label=number % 4), {})
    return store.snapshot()


def test_real_images_come_first_and_keep_their_order(digits: Path, snapshot: Snapshot) -> None:
    real = load_data(str(digits)).train
    mixture = Mixture(real, snapshot, size=16)
    assert len(mixture) == len(mixture.labels) == REAL + 5
    assert [mixture[i][1] for i in range(len(mixture))] == [*real.labels, 0, 1, 2, 3, 0]
    pixels = torch.stack([mixture[i][0] for i in range(len(mixture))])
    assert torch.equal(pixels[:REAL], to_pixels(real, 16))
    assert pixels[REAL:, 0, 0, 0].tolist() == [0, 50, 100, 150, 200]


@pytest.mark.parametrize("size", [8, 16, 32, 33])
def test_every_item_is_rgb_bytes_of_the_size(digits: Path, snapshot: Snapshot, size: int) -> None:
    mixture = Mixture(load_data(str(digits)).train, snapshot, size=size)
    for index in (0, REAL - 1, REAL, REAL + 4):
        image, label = mixture[index]
        assert (image.shape, image.dtype) == ((3, size, size), torch.uint8)
        assert isinstance(label, int)


def test_without_a_snapshot_it_is_the_real_images(digits: Path) -> None:
    real = load_data(str(digits)).train
    assert len(Mixture(real, size=8)) == REAL
    assert Mixture(real, size=8).rows == ()


def test_decoding_on_access_gives_the_same_as_the_cache(digits: Path, snapshot: Snapshot) -> None:
    real = load_data(str(digits)).train
    cached = Mixture(real, snapshot, size=16, cache=to_pixels(real, 16))
    decoded = Mixture(real, snapshot, size=16)
    for index in range(len(cached)):
        assert torch.equal(cached[index][0], decoded[index][0])
        assert cached[index][1] == decoded[index][1]


def test_the_labels_are_asked_for_once_not_for_every_item(digits: Path) -> None:
    class Asked(FolderImages):
        times = 0

        def __getattribute__(self, name: str) -> Any:
            Asked.times += name == "labels"
            return super().__getattribute__(name)

    real = load_data(str(digits)).train
    assert isinstance(real, FolderImages)
    mixture = Mixture(Asked(**vars(real)), size=8)
    before = Asked.times
    for index in range(5):
        mixture[index]
    assert Asked.times == before


def test_worker_processes_give_the_same_batches(digits: Path, snapshot: Snapshot) -> None:
    mixture = Mixture(load_data(str(digits)).train, snapshot, size=16)
    plain = list(DataLoader(mixture, batch_size=20))
    loader = DataLoader(mixture, batch_size=20, num_workers=2, persistent_workers=True)
    for _ in range(2):
        for (one, one_labels), (other, other_labels) in zip(plain, loader, strict=True):
            assert torch.equal(one, other)
            assert torch.equal(one_labels, other_labels)
