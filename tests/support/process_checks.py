"""What several processes check among themselves; every function runs in each of them, and raises if something is wrong."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from actgen.classifiers.small_cnn import SmallCNN
from actgen.core import signals
from actgen.core.errors import UserError
from actgen.core.parallel import agreeing, ranks
from actgen.core.rng import generator
from actgen.training.augment.batch import Augmentation
from actgen.training.augment.mixing import Mixing
from actgen.training.parallel.batchnorm import shared_statistics
from actgen.training.parallel.part import own_part


def messages() -> None:
    """Every way of telling each other."""
    ranks.begin()
    own, many = ranks.rank(), ranks.size()
    assert many == 2
    assert [list(ranks.share(5)), ranks.is_first()] == [[[0, 1], True], [[2, 3, 4], False]][own]
    assert ranks.broadcast({"from": own, "pixels": torch.full((2,), own)})["from"] == 0
    assert ranks.exchange(["a" * (own + 1)]) == [["a"], ["aa"]]
    assert ranks.spread(range(5), lambda number: number**2) == [0, 1, 4, 9, 16]
    assert ranks.collect({"own": own}) == ([{"own": 0}, {"own": 1}] if own == 0 else [])
    assert ranks.joined(torch.full((own + 1, 1), own)).tolist() == [[0], [1], [1]]
    assert ranks.total(own + 0.5) == 2.0
    sums = [torch.full((2, 3), float(own + 1)), torch.ones(1)]
    ranks.add_up(sums)
    assert [one.unique().tolist() for one in sums] == [[3.0], [2.0]]
    _refusals(own)
    _signals(own)
    ranks.end()


def _refusals(own: int) -> None:
    with pytest.raises(ranks.Shared, match="process 1: no such data"):
        _refuse_in_agreement(own == 1)
    with pytest.raises(ranks.Shared, match="/nowhere: No such file or directory"):
        agreeing.of_first(lambda: Path("/nowhere").read_text(encoding="utf-8"))
    with pytest.raises(ranks.Shared, match="process 1 has another generator than process 0"):
        agreeing.refuse_different({"data": "a", "generator": str(own)})
    assert agreeing.of_first(lambda: f"by {own}") == "by 0"


def _refuse_in_agreement(refuse: bool) -> None:
    with agreeing.agreed():
        if refuse:
            raise UserError("no such data")


def _signals(own: int) -> None:
    """What a signal asks of one, it asks of all."""
    with signals.deferred():
        signals.ask(15 if own == 1 else 0)
        assert not ranks.heard()
        ranks.total(0.0)
        assert ranks.heard()
        with pytest.raises(signals.Stopped) as stop:
            signals.check()
        assert stop.value.code == 143
        signals._State.asked = 0


def one_step_equals_that_of_one_process() -> None:
    """Augmented pictures bit for bit; loss, gradients and statistics of BatchNorm to the rounding of float64."""
    ranks.begin()
    torch.manual_seed(0)
    images, labels = torch.rand(9, 3, 32, 32, dtype=torch.float64), torch.randint(4, (9,))
    model = SmallCNN(4, 8).double()
    for mixing in (Mixing(), Mixing(mixup=0.4, cutmix=1.0)):
        _one_step(model, images, labels, mixing)
    ranks.end()


def _one_step(model: nn.Module, images: Tensor, labels: Tensor, mixing: Mixing) -> None:
    augment = Augmentation(erase=0.5, randaugment=2)
    alone, shared = copy.deepcopy(model), copy.deepcopy(model)
    pictures, targets = mixing(augment(images, generator(1, "augment")), labels, 4, 5)
    loss = F.cross_entropy(alone(pictures), targets)
    loss.backward()

    part = own_part(len(images), mixed=mixing.acts)
    rows = part.of(range(len(images)))
    own, own_targets = mixing(augment(images[rows], generator(1, "augment"), part), labels[rows], 4, 5)
    own, own_targets = own[part.guests :], own_targets[part.guests :]
    assert own.equal(pictures[rows[part.guests :]])
    with shared_statistics():
        own_loss = F.cross_entropy(shared(own), own_targets) * part.share
    own_loss.backward()
    assert ranks.total(float(own_loss.detach())) == pytest.approx(float(loss.detach()), abs=1e-14)
    ranks.add_up([p.grad for p in shared.parameters() if p.grad is not None])
    for one, other in zip(alone.parameters(), shared.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-13)
    for held, other_held in zip(alone.buffers(), shared.buffers(), strict=True):
        torch.testing.assert_close(held, other_held, rtol=0, atol=1e-13)
