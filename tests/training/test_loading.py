"""Loaders: processes that stay from epoch to epoch, and what they load."""

from __future__ import annotations

import multiprocessing

import torch

from actgen.data.mixture import Mixture
from actgen.training.augment.augmentation import Augmentation
from actgen.training.epoch_images import EpochImages
from actgen.training.loading import Loader
from tests.support.one_layer import pictures

ORDERS = [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4]]
PLACES = [range(0, 3), range(3, 6)]


def opened(workers: int) -> Loader:
    transform = Augmentation(crop=0.3).per_image(8, (0.5,) * 3, (0.5,) * 3)
    images = EpochImages(Mixture(pictures(6), size=8), ORDERS[0], transform, seed=0, epoch=0, from_originals=True)
    return Loader(images, workers)


def test_processes_stay_and_load_each_epoch_as_this_one_does() -> None:
    state = torch.get_rng_state()
    here, beside = opened(0), opened(1)
    alive = []
    for epoch, order in enumerate(ORDERS):
        for one, other in zip(here.epoch(epoch, order, PLACES), beside.epoch(epoch, order, PLACES), strict=True):
            assert torch.equal(one[0], other[0])
            assert one[1].equal(other[1])
        alive.append({process.pid for process in multiprocessing.active_children()})
    assert alive[0] == alive[1] != set()
    beside.close()
    assert not alive[0] & {process.pid for process in multiprocessing.active_children()}
    assert torch.equal(torch.get_rng_state(), state)


def test_an_epoch_that_is_left_early_lets_its_processes_go_and_the_next_is_whole() -> None:
    here, beside = opened(0), opened(1)
    left = beside.epoch(0, ORDERS[0], PLACES)
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()
    whole = list(beside.epoch(1, ORDERS[1], PLACES))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(whole, here.epoch(1, ORDERS[1], PLACES), strict=True))
    beside.close()
