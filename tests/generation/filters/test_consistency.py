"""The averaged classifier, and how lenient its judgement is."""

from __future__ import annotations

import pytest
import torch

from actgen.classifiers.classifier import Classifier
from actgen.classifiers.predictions import predict_pixels
from actgen.core.errors import UserError
from actgen.data.datasets.imageset import stack_pixels
from actgen.data.store.store import Store
from actgen.generation.filters.base import FilterView
from actgen.generation.filters.chain import Chain
from actgen.generation.filters.consistency import Consistency, loaded, moved
from actgen.generation.filters.options import Filters
from tests.support.classifiers import classifier
from tests.support.pictures import picture, sample_of

EMPTY = Store("nowhere").snapshot()


def ranks(judge: Classifier, index: int) -> list[int]:
    """Return the classes for a picture, the most probable first."""
    order: list[int] = predict_pixels(judge, stack_pixels([picture("train", index)]))[0].argsort(descending=True).tolist()
    return order


@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_a_class_among_the_first_is_kept(top_k: int) -> None:
    judge, rule = classifier(1), Consistency("top-k", top_k, 0.5)
    for place, label in enumerate(ranks(judge, 0)):
        verdict = rule.judge(sample_of(picture("train", 0), "k", label), FilterView(judge, {}))
        assert verdict.kept == (place < top_k)
        assert verdict.kept or f"choice {place + 1} " in verdict.reason


def test_a_class_with_enough_probability_is_kept() -> None:
    judge = classifier(1)
    probabilities = predict_pixels(judge, stack_pixels([picture("train", 0)])).softmax(dim=1)[0].tolist()
    least = sorted(probabilities)[5]
    for label, own in enumerate(probabilities):
        verdict = Consistency("probability", 1, least).judge(sample_of(picture("train", 0), "k", label), FilterView(judge, {}))
        assert verdict.kept == (own >= least)
        assert verdict.kept or verdict.score == pytest.approx(own, abs=1e-6)


def test_an_average_moves_by_its_share() -> None:
    old, new = classifier(1).state_dict(), classifier(2).state_dict()
    assert all(torch.equal(value, old[name]) for name, value in moved({}, old, 0.5).items())
    assert all(torch.equal(value, new[name]) for name, value in moved(old, new, 0.0).items())
    middle = moved(old, new, 0.75)
    name = "model.stem.0.weight"
    torch.testing.assert_close(middle[name], 0.75 * old[name] + 0.25 * new[name])
    assert middle["model.stem.1.num_batches_tracked"].dtype == torch.int64
    assert all(torch.equal(value, classifier(1).state_dict()[name]) for name, value in old.items())  # not in place


def test_a_loaded_copy_leaves_the_classifier_alone() -> None:
    one, other = classifier(1).train(), classifier(2)
    copy = loaded(one, other.state_dict())
    assert ranks(copy, 3) == ranks(other, 3)
    assert one.training
    assert all(parameter.requires_grad for parameter in one.parameters())
    assert torch.equal(one.model.stem[0].weight, classifier(1).model.stem[0].weight)  # type: ignore[union-attr, index]


def chain(average: float = 0.5) -> Chain:
    return Chain(Filters(consistency="top-k", average=average), [Consistency("top-k", 1, 0.5)])


def test_the_average_of_the_rounds_continues_after_a_stop() -> None:
    through, stopped = chain(), chain()
    for seed in (1, 2, 3):
        through.begin(classifier(seed), EMPTY)
    for seed in (1, 2):
        stopped.begin(classifier(seed), EMPTY)
    again = chain()
    again.load_state_dict(stopped.state_dict())
    again.begin(classifier(3), EMPTY)
    assert through.state_dict().keys() == again.state_dict().keys() != set()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in through.state_dict().items())


def test_without_an_average_the_last_classifier_judges() -> None:
    judge = chain(average=0.0)
    judge.begin(classifier(1), EMPTY)
    judge.begin(classifier(2), EMPTY)
    first, second = ranks(classifier(2), 0)[:2]
    assert judge.judge(sample_of(picture("train", 0), "k", first)).kept
    assert judge.judge(sample_of(picture("train", 0), "k", second)).filter == "consistency"


def test_a_chain_that_does_not_ask_the_classifier_keeps_no_average() -> None:
    idle = Chain(Filters(), [])
    idle.begin(classifier(1), EMPTY)
    assert idle.state_dict() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consistency", "perhaps"),
        ("top_k", 0),
        ("probability", 1.5),
        ("average", 1.0),
        ("retries", -1),
        ("leakage_distance", 3.0),
    ],
)
def test_what_cannot_be_is_refused(name: str, value: object) -> None:
    with pytest.raises(UserError, match=f"filters.{name} = .*allowed"):
        Filters(**{name: value})  # type: ignore[arg-type]
