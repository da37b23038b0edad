"""Laws of finding what the classifier gets wrong."""

from __future__ import annotations

import math

import pytest
import torch

from actgen.classify.evaluate import Predictions
from actgen.classify.mining import misclassified
from actgen.seeding import generator


def predictions(count: int = 60, classes: int = 4) -> tuple[Predictions, list[str]]:
    rng = generator(0, "mining")
    logits = torch.randn((count, classes), generator=rng)
    return Predictions(logits, torch.randint(classes, (count,), generator=rng)), [f"train/{i}.png" for i in range(count)]


def test_exactly_the_wrong_ones_in_order() -> None:
    seen, keys = predictions()
    wrong = [i for i in range(60) if int(seen.logits_NK[i].argmax()) != int(seen.labels_N[i])]
    mistakes = misclassified(seen, keys)
    assert [mistake.source.index for mistake in mistakes] == wrong
    assert [mistake.source.key for mistake in mistakes] == [keys[i] for i in wrong]
    assert len(mistakes) == round((1 - seen.accuracy) * 60)


def test_facts_of_a_mistake_agree_with_each_other() -> None:
    seen, keys = predictions()
    for mistake in misclassified(seen, keys, split="val"):
        assert mistake.source.split == "val"
        assert mistake.label == int(seen.labels_N[mistake.source.index])
        assert mistake.predicted != mistake.label
        assert math.exp(-mistake.loss) == pytest.approx(mistake.probability, rel=1e-4)
        assert mistake.probability <= 0.5


def test_no_mistake_when_all_is_right() -> None:
    labels = torch.tensor([0, 1, 2])
    seen = Predictions(torch.eye(3), labels)
    assert misclassified(seen, ["a", "b", "c"]) == []
    assert seen.accuracy == 1.0


def test_all_are_mistakes_when_nothing_is_right() -> None:
    seen = Predictions(torch.eye(3).roll(1, dims=1), torch.tensor([0, 1, 2]))
    assert len(misclassified(seen, ["a", "b", "c"])) == 3


def test_class_accuracies_average_to_the_accuracy_and_an_absent_class_has_none() -> None:
    seen, _ = predictions(classes=5)
    weights = torch.bincount(seen.labels_N, minlength=5).double() / 60
    assert float((torch.tensor(seen.class_accuracy()).double() * weights).sum()) == pytest.approx(seen.accuracy)
    absent = Predictions(torch.eye(3)[:2], torch.tensor([0, 1])).class_accuracy()
    assert absent[:2] == [1.0, 1.0]
    assert math.isnan(absent[2])
