"""Laws of the optimisers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from actgen.classifiers.small_cnn import SmallCNN
from actgen.core.errors import UserError
from actgen.training.optim.optimisers import NAMES, OptimizerOptions


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("decay_all", [True, False])
def test_every_parameter_that_learns_is_there_once(name: str, decay_all: bool) -> None:
    model = SmallCNN(3)
    model.stem.requires_grad_(False)
    optimizer = OptimizerOptions(name=name, decay_all=decay_all).create(model, 0.1, 0.05)
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(map(id, held)) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    without = {id(p) for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]}
    assert without == (set() if decay_all else {id(p) for p in held if p.ndim <= 1})


def test_unless_changed_it_is_sgd_with_nesterov_momentum() -> None:
    ours, plain = nn.Linear(3, 2), nn.Linear(3, 2)
    plain.load_state_dict(ours.state_dict())
    optimizers = [
        OptimizerOptions().create(ours, 0.1, 5e-4),
        torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    ]
    for _ in range(3):
        for model, optimizer in zip((ours, plain), optimizers, strict=True):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
    assert torch.equal(ours.weight, plain.weight)


def test_numbers_reach_adamw() -> None:
    optimizer = OptimizerOptions(name="adamw", beta1=0.8, beta2=0.9, eps=1e-3).create(nn.Linear(2, 2), 1e-3, 0.05)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {key: optimizer.param_groups[0][key] for key in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 1e-3,
        "betas": (0.8, 0.9),
        "eps": 1e-3,
        "weight_decay": 0.05,
    }


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="allowed: sgd, adamw, lamb"):
        OptimizerOptions(name="lion")
    with pytest.raises(UserError, match="nesterov needs momentum"):
        OptimizerOptions(momentum=0.0)
