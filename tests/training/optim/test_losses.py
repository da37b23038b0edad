"""Laws of the losses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from actgen.core.errors import UserError
from actgen.core.rng import generator
from actgen.training.optim.losses import Loss, class_weights, focal

LOGITS = 3 * torch.randn((32, 5), generator=generator(0, "logits"))
LABELS = torch.randint(5, (32,), generator=generator(0, "labels"))
COUNTS = torch.tensor([500, 100, 20, 4, 1])
PROBABILITIES = torch.rand((32, 5), generator=generator(0, "mixed")).softmax(dim=1)


@pytest.mark.parametrize("targets", [LABELS, PROBABILITIES])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_without_focus_is_cross_entropy(targets: Tensor, smoothing: float) -> None:
    expected = F.cross_entropy(LOGITS, targets, label_smoothing=smoothing)
    torch.testing.assert_close(focal(LOGITS, targets, 0.0, smoothing), expected)
    assert torch.equal(Loss()(LOGITS, targets, smoothing, COUNTS), expected)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0, 5.0])
def test_focal_is_the_formula_of_its_paper(gamma: float) -> None:
    true = LOGITS.softmax(dim=1)[torch.arange(32), LABELS]
    torch.testing.assert_close(
        Loss(name="focal", gamma=gamma)(LOGITS, LABELS, 0.0, COUNTS), (-((1 - true) ** gamma) * true.log()).mean()
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
    with pytest.raises(UserError, match="allowed: cross-entropy, focal, logit-adjustment"):
        Loss(name="hinge")


@pytest.mark.parametrize("targets", [LABELS, PROBABILITIES])
@pytest.mark.parametrize("off", [Loss(name="logit-adjustment", tau=0.0), Loss(name="class-balanced", beta=0.0)])
def test_switched_off_losses_of_unequal_classes_are_cross_entropy(targets: Tensor, off: Loss) -> None:
    torch.testing.assert_close(off(LOGITS, targets, 0.1, COUNTS), F.cross_entropy(LOGITS, targets, label_smoothing=0.1))


@pytest.mark.parametrize("loss", [Loss(name="logit-adjustment"), Loss(name="class-balanced")])
def test_equal_classes_leave_cross_entropy(loss: Loss) -> None:
    equal = torch.full((5,), 40)
    torch.testing.assert_close(loss(LOGITS, LABELS, 0.1, equal), F.cross_entropy(LOGITS, LABELS, label_smoothing=0.1))


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_logit_adjustment_is_the_pairwise_formula_of_its_paper(tau: float) -> None:
    own = LOGITS.gather(1, LABELS[:, None])
    ratios = (COUNTS[None] / COUNTS[LABELS][:, None]) ** tau  # (pi_k / pi_y)^tau, Menon et al. 2021, eq. 11
    expected = (ratios * (LOGITS - own).exp()).sum(dim=1).log().mean()
    torch.testing.assert_close(Loss(name="logit-adjustment", tau=tau)(LOGITS, LABELS, 0.0, COUNTS), expected)


def test_class_balanced_weights_are_the_effective_numbers_and_add_up_to_the_classes() -> None:
    weights = class_weights(COUNTS, 0.99)
    effective = torch.tensor([sum(0.99**i for i in range(count)) for count in COUNTS.tolist()], dtype=torch.float64)
    torch.testing.assert_close(weights * effective, torch.full_like(weights, float((weights * effective)[0])))
    assert float(weights.sum()) == pytest.approx(5)
    assert bool((class_weights(torch.tensor([3, 0]), 0.9999) > 0).all())


def test_class_balanced_takes_labels_and_their_one_hot_rows_alike() -> None:
    loss = Loss(name="class-balanced")
    rows = F.one_hot(LABELS, 5).float()
    torch.testing.assert_close(loss(LOGITS, LABELS, 0.1, COUNTS), loss(LOGITS, rows, 0.1, COUNTS))


@pytest.mark.parametrize(("settings", "words"), [({"tau": -1.0}, "loss.tau"), ({"beta": 1.0}, "loss.beta")])
def test_strengths_that_cannot_be(settings: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Loss(**settings)  # type: ignore[arg-type]
