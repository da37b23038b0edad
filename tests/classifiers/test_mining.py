"""Laws of finding what the classifier gets wrong."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from actgen.classifiers.mining import (
    CRITERIA,
    ENOUGH_HELD_OUT,
    MISCLASSIFIED,
    ON_HOLDOUT,
    OWN,
    POOLS,
    Mining,
    mine,
    misclassified,
)
from actgen.classifiers.predictions import Predictions
from actgen.core.errors import UserError
from actgen.core.rng import generator


def predictions(count: int = 60, classes: int = 4) -> tuple[Predictions, list[str]]:
    rng = generator(0, "mining")
    logits = torch.randn((count, classes), generator=rng)
    return Predictions(logits, torch.randint(classes, (count,), generator=rng)), [f"train/{i}.png" for i in range(count)]


def test_exactly_the_wrong_ones_in_order() -> None:
    seen, keys = predictions()
    wrong = [i for i in range(60) if int(seen.logits_NK[i].argmax()) != int(seen.labels_N[i])]
    hard_examples = misclassified(seen, keys)
    assert [hard_example.source.index for hard_example in hard_examples] == wrong
    assert [hard_example.source.key for hard_example in hard_examples] == [keys[i] for i in wrong]
    assert len(hard_examples) == round((1 - seen.accuracy) * 60)


def test_facts_of_a_mistake_agree_with_each_other() -> None:
    seen, keys = predictions()
    for hard_example in misclassified(seen, keys):
        assert hard_example.source.split == "holdout"
        assert hard_example.label == int(seen.labels_N[hard_example.source.index])
        assert hard_example.predicted != hard_example.label
        assert math.exp(-hard_example.loss) == pytest.approx(hard_example.probability, rel=1e-4)
        assert hard_example.probability <= 0.5


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


def mined(seen: Predictions, keys: list[str], **settings: Any) -> list[int]:
    mining = Mining(**settings).over(Mining(pool="training", by="misclassified", share=0.25))
    return [hard_example.source.index for hard_example in mine(seen, keys, mining)]


@pytest.mark.parametrize("by", sorted(set(CRITERIA) - {OWN}))
def test_every_criterion_gives_distinct_images_in_the_order_of_the_set(by: str) -> None:
    seen, keys = predictions()
    rows = mined(seen, keys, by=by)
    assert rows == sorted(set(rows))
    assert rows


@pytest.mark.parametrize(("by", "low"), [("loss", False), ("margin", True), ("entropy", False)])
def test_a_share_is_the_hardest_part(by: str, low: bool) -> None:
    seen, keys = predictions()
    probabilities = seen.logits_NK.double().softmax(dim=1)
    own = probabilities.gather(1, seen.labels_N[:, None])[:, 0]
    others = probabilities.scatter(1, seen.labels_N[:, None], 0).amax(dim=1)
    measure = {
        "loss": -own.log(),
        "margin": (own / others).log(),
        "entropy": -(probabilities * probabilities.log()).sum(dim=1),
    }[by]
    rows = mined(seen, keys, by=by, share=0.3)
    assert len(rows) == 18
    inside, outside = measure[rows], measure[[i for i in range(60) if i not in rows]]
    assert float(inside.max()) <= float(outside.min()) if low else float(inside.min()) >= float(outside.max())


def test_running_losses_rank_where_there_are_any() -> None:
    seen, keys = predictions()
    running = torch.arange(60.0)
    running[:6] = torch.nan  # not seen yet: these have the loss of the prediction, a few nats
    assert mined(replace(seen, running_N=running), keys, by="loss", share=0.5) == list(range(30, 60))


def test_a_confused_pair_is_the_commonest_error_of_each_class() -> None:
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    guesses = torch.tensor([1, 1, 2, 0, 0, 2, 2])
    seen = Predictions(torch.eye(3)[guesses], labels)
    assert mined(seen, [str(i) for i in range(7)], by="confused-pair") == [0, 1, 4]


def test_no_class_gets_more_than_its_share_and_keeps_its_hardest() -> None:
    seen, keys = predictions()
    rows = mined(seen, keys, by="random", per_class=3)
    for label in range(4):
        members = [i for i in range(60) if int(seen.labels_N[i]) == label]
        hardest = sorted(members, key=lambda i: -float(seen.losses_N[i]))[:3]
        assert sorted(hardest) == [i for i in rows if i in members]


def test_balanced_is_as_many_of_every_class_as_of_the_rarest() -> None:
    seen, keys = predictions()
    counts = torch.bincount(seen.labels_N[mined(seen, keys, by="misclassified", balanced=True)], minlength=4).tolist()
    assert len(set(counts)) == 1
    assert counts[0] == min(torch.bincount(seen.labels_N[mined(seen, keys)], minlength=4).tolist())


@pytest.mark.parametrize(
    "wrong", [{"pool": "test"}, {"by": "hope"}, {"share": -0.1}, {"share": 2.0}, {"per_class": -1}, {"folds": 1}]
)
def test_what_cannot_be_mined_by_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="allowed"):
        Mining(**wrong)


def test_the_strategy_says_what_is_left_open() -> None:
    assert Mining().over(ON_HOLDOUT) == ON_HOLDOUT
    assert Mining(pool="training", share=0.5).over(MISCLASSIFIED) == Mining(pool="training", by="misclassified", share=0.5)


def test_auto_is_the_hold_out_where_it_is_large_enough_else_running_losses() -> None:
    assert Mining().over(MISCLASSIFIED, ENOUGH_HELD_OUT) == ON_HOLDOUT
    small = Mining().over(MISCLASSIFIED, ENOUGH_HELD_OUT - 1)
    assert (small.pool, small.by, small.share) == ("training", "loss", 0.25)


@pytest.mark.parametrize("pool", sorted({*POOLS} - {OWN}))
@pytest.mark.parametrize("held_out", [10, 5000])
def test_a_settled_mining_stays_as_it_is_and_what_was_asked_for_stays(pool: str, held_out: int) -> None:
    for by in sorted({*CRITERIA} - {OWN}):
        settled = Mining(pool=pool, by=by).over(MISCLASSIFIED, held_out)
        assert settled.by == by
        assert settled.pool not in (OWN, "auto")
        assert pool in (settled.pool, "auto")
        assert settled.over(MISCLASSIFIED, 5010 - held_out) == settled


@pytest.mark.parametrize(("start", "stop"), [(0.0, 1.0), (0.5, 0.8), (0.9, 1.0), (0.25, 0.26)])
def test_medium_is_a_band_of_the_loss(start: float, stop: float) -> None:
    seen, keys = predictions()
    hard_examples = mine(seen, keys, Mining(pool="training", by="medium", share=0.25, band_start=start, band_stop=stop))
    inside = sorted(hard_example.loss for hard_example in hard_examples)
    losses = sorted(seen.losses_N.tolist())
    assert inside == pytest.approx(losses[round(start * 60) : math.ceil(stop * 60)])
    assert inside


@pytest.mark.parametrize(("start", "stop"), [(0.8, 0.5), (0.5, 0.5), (-0.1, 0.5), (0.5, 1.1), (math.nan, 1.0)])
def test_a_band_that_is_none_is_refused(start: float, stop: float) -> None:
    with pytest.raises(UserError, match=r"mining\.band_st"):
        Mining(band_start=start, band_stop=stop)
