"""Laws of the losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from actgen.core.errors import UserError
from actgen.core.rng import generator
from actgen.training.optim.losses import Loss, focal

LOGITS = 3 * torch.randn((32, 5), generator=generator(0, "logits"))
LABELS = torch.randint(5, (32,), generator=generator(0, "labels"))
PROBABILITIES = torch.rand((32, 5), generator=generator(0, "mixed")).softmax(dim=1)


@pytest.mark.parametrize("targets", [LABELS, PROBABILITIES])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_without_focus_is_cross_entropy(targets: Tensor, smoothing: float) -> None:
    expected = F.cross_entropy(LOGITS, targets, label_smoothing=smoothing)
    torch.testing.assert_close(focal(LOGITS, targets, 0.0, smoothing), expected)
    assert torch.equal(Loss()(LOGITS, targets, smoothing), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_is_the_formula_of_its_paper(gamma: float) -> None:
    true = LOGITS.softmax(dim=1)[torch.arange(32), LABELS]
    torch.testing.assert_close(
        Loss(name="focal", gamma=gamma)(LOGITS, LABELS, 0.0), (-((1 - true) ** gamma) * true.log()).mean()
    )


def test_labels_and_their_one_hot_rows_are_the_same_targets() -> None:
    torch.testing.assert_close(focal(LOGITS, LABELS, 2.0, 0.1), focal(LOGITS, F.one_hot(LABELS, 5).float(), 2.0, 0.1))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_sure_answers_give_finite_gradients(gamma: float) -> None:
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    focal(logits, torch.tensor([0, 0]), gamma).backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(UserError, match="allowed: cross-entropy, focal"):
        Loss(name="hinge")
