"""One conformance suite over all strategies, and the curriculum of `actgen`."""

from __future__ import annotations

from collections import Counter

import pytest

from actgen.core.class_words import class_prompt
from actgen.core.errors import UserError
from actgen.core.types import HardExample, Progress, Request, Source
from actgen.diffusion.guides import GUIDES, needs_of
from actgen.diffusion.guides.guide import SOURCE
from actgen.generation.presets import SamplingConfig
from actgen.generation.strategies import STRATEGIES, create_strategy
from actgen.generation.strategies.base import TIMES
from actgen.training.schedule import generating_epochs

CLASSES = ("coat", "ankle_boot", "bag")
EPOCHS = 20
UNMINED = {"none", "text-only", "class-conditional"}
UNGUIDED = {
    "none",
    "text-only",
    "class-conditional",
    "deliberate-practice",
    "selective",
}  # need no hard example to generate from

MISTAKES = [
    HardExample(
        source=Source(split="holdout", index=number, key=f"train/coat/{number}.png"),
        label=number % 3,
        predicted=(number + 1) % 3,
        loss=1.0,
        probability=0.2,
    )
    for number in range(7)
]


def plan(name: str, budget: int, epoch: int = 0, seed: int = 0, hard_examples: list[HardExample] = MISTAKES) -> list[Request]:
    return create_strategy(name).plan(hard_examples, CLASSES, budget, Progress(epoch=epoch, epochs=EPOCHS), seed)


each_strategy = pytest.mark.parametrize("name", STRATEGIES)


@each_strategy
def test_the_name_finds_it(name: str) -> None:
    strategy = create_strategy(name)
    assert strategy.name == name
    assert (strategy.mining is None) == (name in UNMINED)
    assert strategy.when in TIMES
    assert (strategy.candidates > 1) == (name == "selective")


@each_strategy
@pytest.mark.parametrize("budget", [0, 1, 3, 8, 100])
def test_the_budget_is_kept(name: str, budget: int) -> None:
    assert len(plan(name, budget)) == (0 if name == "none" else budget)


@each_strategy
def test_a_plan_is_a_function_of_its_arguments(name: str) -> None:
    assert plan(name, 30, epoch=3, seed=5) == plan(name, 30, epoch=3, seed=5)
    if name != "none":
        assert plan(name, 30, epoch=3, seed=5) != plan(name, 30, epoch=3, seed=6)
        assert plan(name, 30, epoch=3, seed=5) != plan(name, 30, epoch=4, seed=5)


@each_strategy
def test_keys_and_seeds_are_unique_over_the_rounds(name: str) -> None:
    requests = [request for epoch in range(EPOCHS // 2) for request in plan(name, 40, epoch)]
    assert len({request.key for request in requests}) == len(requests)
    assert len({request.seed for request in requests}) == len(requests)


@each_strategy
def test_every_request_is_whole(name: str) -> None:
    sources = {hard_example.source: hard_example for hard_example in MISTAKES}
    for request in plan(name, 50, epoch=4):
        assert (request.strategy, request.round) == (name, 4)
        assert request.class_name == CLASSES[request.label]
        assert request.prompt == class_prompt(request.class_name)
        assert set(request.guides) <= set(GUIDES)
        assert 0 <= request.seed < 2**63
        assert 0 <= request.strength <= 1
        if SOURCE in needs_of(request, SamplingConfig()):
            assert request.source is not None
        if request.source is not None:
            assert request.label == sources[request.source].label


def test_text_only_balances_the_classes() -> None:
    counts = Counter(request.label for request in plan("text-only", 50))
    assert set(counts) == {0, 1, 2}
    assert max(counts.values()) - min(counts.values()) <= 1
    assert all(request.guides == () and request.source is None for request in plan("text-only", 50))


def test_selective_draws_the_classes_of_the_mistakes() -> None:
    hard = [hard_example for hard_example in MISTAKES if hard_example.label == 1]
    assert {request.label for request in plan("selective", 20, hard_examples=hard)} == {1}
    assert {request.label for request in plan("selective", 20, hard_examples=[])} == {0, 1, 2}


@each_strategy
def test_without_a_mistake_there_is_nothing_to_vary(name: str) -> None:
    assert len(plan(name, 10, hard_examples=[])) == (10 if name in UNGUIDED - {"none"} else 0)


@each_strategy
def test_all_mistakes_are_used_before_one_is_repeated(name: str) -> None:
    keys = [request.source.key for request in plan(name, 20) if request.source is not None]
    assert len(set(keys[:7])) == len(keys[:7])
    assert keys[7:14] == keys[:7]


def test_the_ladder_differs_in_its_forces_only() -> None:
    rungs = [plan(name, 200, epoch=8) for name in ("image-guided", "attentive", "attentive+contrastive", "actgen")]
    for rung in rungs[1:]:
        assert [(one.key, one.seed, one.source) for one in rung] == [(one.key, one.seed, one.source) for one in rungs[0]]
    for name, requests in zip(("image-guided", "attentive", "attentive+contrastive", "actgen"), rungs, strict=True):
        guides = set().union(*(request.guides for request in requests))
        assert (
            guides
            == {
                "image-guided": {"whole-image"},
                "attentive": {"image"},
                "attentive+contrastive": {"image", "contrastive"},
                "actgen": {"image", "contrastive", "adversarial"},
            }[name]
        )


def test_the_curriculum_of_strengths_rises_from_near_real_to_free() -> None:
    strengths = [plan("curriculum", 1, epoch)[0].strength for epoch in range(EPOCHS // 2)]
    assert strengths == sorted(strengths)
    assert strengths[0] == pytest.approx(0.3)
    assert strengths[-1] == pytest.approx(1.0)


def test_a_round_before_the_training_has_keys_of_its_own() -> None:
    assert not {r.key for r in plan("class-conditional", 9, epoch=-1)} & {r.key for r in plan("class-conditional", 9, epoch=0)}


@pytest.mark.parametrize("epoch", range(EPOCHS // 2))
def test_the_curriculum_is_that_of_the_method(epoch: int) -> None:
    """METHOD 2.2: r = 0.5 max(1 - e/(0.5 E - 1), 0) unguided; of the rest max(0, 0.5 - r) adversarial."""
    requests = plan("actgen", 4000, epoch)
    guided = [request for request in requests if request.guides]
    unguided = 0.5 * max(1 - epoch / (0.5 * EPOCHS - 1), 0)
    assert 1 - len(guided) / len(requests) == pytest.approx(unguided, abs=0.03)
    adversarial = sum("adversarial" in request.guides for request in guided) / len(guided)
    assert adversarial == pytest.approx(0.5 - unguided, abs=0.03)
    assert all({"image", "contrastive"} <= set(request.guides) for request in guided)


def test_the_ends_of_the_curriculum_are_exact() -> None:
    last = generating_epochs(EPOCHS, 0.5) - 1
    assert not any("adversarial" in request.guides for request in plan("actgen", 4000, 0))
    assert all(request.guides for request in plan("actgen", 4000, last))


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match="'random' is unknown; allowed: none, oversample, text-only, "):
        create_strategy("random")


def test_without_a_curriculum_every_image_has_every_guide() -> None:
    strategy = create_strategy("actgen", curriculum=False)
    for epoch in (0, 3):
        requests = strategy.plan(MISTAKES, CLASSES, 20, Progress(epoch=epoch, epochs=EPOCHS), 0)
        assert {request.guides for request in requests} == {("image", "contrastive", "adversarial")}
