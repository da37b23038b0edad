"""The growing dataset: what each epoch holds, and that data-loading processes that stay see it grow."""

from __future__ import annotations

import copy
import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from actgen.core.errors import UserError
from actgen.data.datasets.sources import load_data
from actgen.data.datasets.splits import hold_out
from actgen.data.mixture import Mixture
from actgen.data.store.store import Store
from actgen.training.growing import Growing
from actgen.training.options import TrainingOptions
from actgen.training.sampling import passes
from tests.conftest import make_sample

REAL, AWAY, BATCH = 120, 12, 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def generate(store: Store, count: int) -> None:
    for number in range(len(store), len(store) + count):
        store.add(make_sample(f"k{number:03d}", shade=number, label=number % 4), {})


def growing(digits: Path, store: Store, epoch_length: str = "real") -> Growing:
    real = load_data(str(digits)).train
    held_out_keys = frozenset(hold_out(real, 0.1, 0)[1].keys)
    options = TrainingOptions(batch_size=BATCH, epoch_length=epoch_length)
    return Growing(real, store.folder, size=8, options=options, seed=3, held_out_keys=held_out_keys, until=2)


def items(batches: Iterator[tuple[Tensor, Tensor]] | DataLoader[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
    pixels, labels = zip(*batches, strict=True)
    return torch.cat(pixels), torch.cat(labels)


def test_an_epoch_is_that_of_actgen_train(digits: Path, store: Store) -> None:
    dataset, real = growing(digits, store), load_data(str(digits)).train
    train, _ = hold_out(real, 0.1, 0)
    generate(store, 20)
    dataset.at(1, 6)
    mixture = Mixture(train, store.snapshot(6), size=8)
    order = passes(range(len(mixture)), len(dataset), 3, 1)
    assert len(order) == len(dataset) == 4 * BATCH
    for place in range(0, len(dataset), 5):
        (pixels, label), (wanted, known) = dataset[place], mixture[order[place]]
        assert torch.equal(pixels, wanted)
        assert label == known


@pytest.mark.parametrize(("epoch_length", "lengths"), [("real", [128, 128, 128]), ("grow", [128, 160, 160])])
def test_the_held_out_images_return_and_the_length_is_as_chosen(
    digits: Path, store: Store, epoch_length: str, lengths: list[int]
) -> None:
    dataset = growing(digits, store, epoch_length=epoch_length)
    generate(store, 40)
    predictions, images = [], []
    for epoch, generated in ((0, 0), (1, 30), (2, 40)):
        dataset.at(epoch, generated)
        predictions.append(len(dataset))
        images.append(len(dataset.open().mixture))
    assert images == [REAL - AWAY, REAL - AWAY + 30, REAL + 40]
    assert predictions == lengths


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # on a machine of one core
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_processes_that_stay_see_it_grow(digits: Path, store: Store, start: str) -> None:
    dataset = growing(digits, store)
    alone = copy.copy(dataset)
    loader = DataLoader(dataset, BATCH, num_workers=2, persistent_workers=True, multiprocessing_context=start)
    processes = set()
    for epoch, generated in enumerate((0, 17, 40)):
        generate(store, generated - len(store))
        dataset.at(epoch, generated)
        there, here = items(loader), items(DataLoader(alone, BATCH))
        assert torch.equal(there[0], here[0])
        assert torch.equal(there[1], here[1])
        assert bool((there[0] == 16).flatten(1).all(dim=1).any()) == (generated > 16)  # the one-coloured generating number 16
        processes.add(tuple(child.pid for child in multiprocessing.active_children()))
    assert len(processes) == 1
    assert os.getpid() not in next(iter(processes))


def test_lines_written_after_the_round_do_not_show(digits: Path, store: Store) -> None:
    dataset = growing(digits, store)
    generate(store, 10)
    dataset.at(2, 10)
    before = items(DataLoader(dataset, BATCH))
    generate(store, 10)
    fresh = growing(digits, store)  # which reads the longer manifest
    fresh.at(2, 10)
    for one in (dataset, fresh):
        assert torch.equal(before[0], items(DataLoader(one, BATCH))[0])


def test_a_transform_makes_the_items(digits: Path, store: Store) -> None:
    dataset = growing(digits, store)
    plain = dataset[3]
    dataset.transform = lambda pixels: pixels.float() / 255
    assert torch.equal(dataset[3][0], plain[0] / 255)
    assert dataset[3][1] == plain[1]


def test_a_manifest_that_lost_lines_is_refused(digits: Path, store: Store) -> None:
    dataset = growing(digits, store)
    generate(store, 3)
    dataset.at(1, 5)
    with pytest.raises(UserError, match="has 3 lines, but 5 images were generated"):
        _ = dataset[0]
