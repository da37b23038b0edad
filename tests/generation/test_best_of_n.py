"""Choosing among generated images: what is taken, that the choice is a function of the request, and that it generates again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from actgen.classifiers.classifier import Classifier, create_classifier
from actgen.classifiers.zero_shot import ZeroShot
from actgen.core.class_words import class_prompt
from actgen.core.errors import UserError
from actgen.core.frozen import frozen
from actgen.core.types import Progress, Request, Sample
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES
from actgen.diffusion.class_margin import measure_class_margin
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.experiment.build import open_generator, open_run
from actgen.experiment.config import build_recipe
from actgen.generation.best_of_n import BestOfN, Candidate, Selection, candidate, choose
from actgen.generation.presets import PRESETS, SamplingConfig
from actgen.generation.sampler import ImageSampler
from actgen.generation.sampling_context import SamplingContext
from actgen.generation.strategies.text_only import TextOnly

PROMPTS = [class_prompt(name) for name in FASHION_MNIST_CLASSES]
DRAWING = replace(PRESETS["tiny"], num_inference_steps=3, scheduler="dpm++", batch_size=5)
# An untrained classifier gives every class about a tenth: in doubt, and plausible.
OPTIONS = Selection(samples_per_request=3, max_confidence=0.6, min_confidence=0.05, class_margin=0.2, levels=2)
REQUESTS = TextOnly().plan([], FASHION_MNIST_CLASSES, 12, Progress(epoch=2, epochs=9), 4)


@pytest.fixture(scope="module")
def adapter() -> PipelineAdapter:
    return open_generator("bundled", FASHION_MNIST_CLASSES)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return create_classifier("actgen/tiny-cnn", 10, data_size=28, seed=1)


def chosen(
    adapter: PipelineAdapter,
    classifier: Classifier,
    requests: list[Request],
    sampling: SamplingConfig = DRAWING,
    *,
    options: Selection = OPTIONS,
    done: frozenset[str] = frozenset(),
) -> list[list[Sample]]:
    with frozen(classifier):
        return list(
            BestOfN(ImageSampler(adapter, sampling), options, PROMPTS).sample_batches(
                requests, SamplingContext(classifier=classifier, done=done)
            )
        )


@pytest.fixture(scope="module")
def generated(adapter: PipelineAdapter, classifier: Classifier) -> list[list[Sample]]:
    return chosen(adapter, classifier, REQUESTS)


def flat(batches: list[list[Sample]]) -> list[Sample]:
    return [sample for batch in batches for sample in batch]


def test_every_request_gets_one_picture(generated: list[list[Sample]]) -> None:
    assert [replace(one.request, seed=0) for one in flat(generated)] == [replace(one, seed=0) for one in REQUESTS]
    counts = {one.candidates for one in flat(generated)}
    assert counts <= {1, 2, 3}
    assert len(counts) > 1  # some were taken at once, others not


def test_what_is_taken_is_believed_in(generated: list[list[Sample]]) -> None:
    for one in flat(generated):
        if one.candidates < OPTIONS.samples_per_request:
            assert one.class_margin is not None
            assert one.class_margin >= OPTIONS.class_margin


def test_its_line_draws_it_again(adapter: PipelineAdapter, generated: list[list[Sample]]) -> None:
    again = ImageSampler(adapter, DRAWING).generate([one.request for one in flat(generated)])
    for one, other in zip(flat(generated), again, strict=True):
        assert one.image.tobytes() == other.image.tobytes()


@pytest.mark.parametrize("batch_size", [1, 12])
def test_the_choice_does_not_depend_on_the_batch(
    adapter: PipelineAdapter, classifier: Classifier, generated: list[list[Sample]], batch_size: int
) -> None:
    others = flat(chosen(adapter, classifier, REQUESTS, replace(DRAWING, batch_size=batch_size)))
    assert [one.request for one in others] == [one.request for one in flat(generated)]


def test_what_is_done_is_left_out(adapter: PipelineAdapter, classifier: Classifier, generated: list[list[Sample]]) -> None:
    done = frozenset(one.request.key for one in generated[0])
    rest = chosen(adapter, classifier, REQUESTS, done=done)
    assert [[one.request for one in batch] for batch in rest] == [[one.request for one in batch] for batch in generated[1:]]
    for one, other in zip(flat(rest), flat(generated[1:]), strict=True):
        assert one.image.tobytes() == other.image.tobytes()


def test_one_candidate_is_no_choice(adapter: PipelineAdapter, classifier: Classifier) -> None:
    only = flat(chosen(adapter, classifier, REQUESTS[:3], options=replace(OPTIONS, samples_per_request=1)))
    assert [one.request for one in only] == REQUESTS[:3]


def test_a_request_without_a_whole_picture_is_refused(classifier: Classifier) -> None:
    broken = open_generator("bundled", FASHION_MNIST_CLASSES)
    with torch.no_grad():
        broken.unet.conv_out.weight.fill_(torch.nan)
    best_of_n = BestOfN(ImageSampler(broken, DRAWING), replace(OPTIONS, samples_per_request=2), PROMPTS)
    with frozen(classifier):
        assert list(best_of_n.generate(REQUESTS[:2], SamplingContext(classifier=classifier))) == []
    assert [(one.key, one.reason.split(";")[0]) for one in best_of_n.failed] == [
        (one.key, "not finite") for one in REQUESTS[:2]
    ]


# the rule


def made(probability: float, class_margin: float | None) -> Candidate:
    sample = Sample(request=REQUESTS[0], image=Image.new("RGB", (8, 8)), latents=torch.zeros(1), mask=None, seconds=0.0)
    return Candidate(sample, probability, class_margin)


candidates = st.lists(st.builds(made, st.floats(0, 1), st.none() | st.floats(-1, 1)), min_size=1, max_size=6)


@given(candidates)
def test_the_first_that_can_be_taken_is(generated: list[Candidate]) -> None:
    best = choose(generated, OPTIONS)
    taken = [one for one in generated if OPTIONS.takes(one)]
    if taken:
        assert best is taken[0]
    elif any(one.probability >= OPTIONS.max_confidence for one in generated):
        assert best.probability == min(one.probability for one in generated if one.probability >= OPTIONS.max_confidence)
    else:
        assert best.probability == max(one.probability for one in generated)


def test_candidates_differ_in_their_seeds_alone() -> None:
    seeds = {candidate(REQUESTS[0], number).seed for number in range(5)}
    assert len(seeds) == 5
    assert candidate(REQUESTS[0], 0).seed == REQUESTS[0].seed


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples_per_request": -1},
        {"max_confidence": 1.5},
        {"min_confidence": -0.1},
        {"class_margin": 2.0},
        {"levels": 0},
        {"clip_probability": 1.5},
    ],
)
def test_odd_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match=f"selection.{next(iter(wrong))} = .*allowed is"):
        Selection(**wrong)  # type: ignore[arg-type]


def test_a_doubt_that_is_never_plausible_is_refused() -> None:
    with pytest.raises(UserError, match="nothing would ever be in doubt"):
        Selection(max_confidence=0.3, min_confidence=0.3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("strategy=class-conditional", "generates before the training, when no classifier can be asked"),
        ("strategy=oversample", "generates nothing to choose from"),
    ],
)
def test_a_choice_without_anybody_to_ask_is_refused(settings: str, words: str, tmp_path: Path) -> None:
    recipe = build_recipe(None, [settings, "selection.samples_per_request=2"])
    with pytest.raises(UserError, match=words):
        open_run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_selective_needs_its_scout(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"with mining.pool = holdout, generates before"):
        open_run(build_recipe(None, ["strategy=selective", "mining.pool=holdout"]), tmp_path / "run")


def test_a_belief_that_is_no_number_is_none(
    adapter: PipelineAdapter, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "actgen.generation.best_of_n.measure_class_margin", lambda *given: torch.full((len(given[2]),), torch.nan)
    )
    samples = flat(chosen(adapter, classifier, REQUESTS[:3]))
    assert [(one.class_margin, one.candidates) for one in samples] == 3 * [(None, OPTIONS.samples_per_request)]


def test_what_does_not_fit_is_asked_in_halves(
    adapter: PipelineAdapter, classifier: Classifier, generated: list[list[Sample]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def small(*given: Any) -> Tensor:
        if len(given[2]) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return measure_class_margin(*given)

    monkeypatch.setattr("actgen.generation.best_of_n.measure_class_margin", small)
    assert [one.request for one in flat(chosen(adapter, classifier, REQUESTS))] == [one.request for one in flat(generated)]


def test_a_strategy_says_how_many_unless_the_recipe_does() -> None:
    assert Selection().over(8).samples_per_request == 8
    assert Selection(samples_per_request=2).over(8).samples_per_request == 2


# with a CLIP model


@pytest.fixture(scope="module")
def clip() -> ZeroShot:
    return ZeroShot("bundled", FASHION_MNIST_CLASSES, given="selection.clip =")


def test_with_clip_what_is_taken_clip_confirms(adapter: PipelineAdapter, classifier: Classifier, clip: ZeroShot) -> None:
    options = replace(OPTIONS, clip="bundled", clip_probability=0.7)
    with frozen(classifier):
        samples = list(
            BestOfN(ImageSampler(adapter, DRAWING), options, PROMPTS, clip).generate(
                REQUESTS, SamplingContext(classifier=classifier)
            )
        )
    assert len({one.candidates for one in samples}) > 1
    for one in samples:
        given = float(clip.probabilities([one.image])[0, one.request.label])
        assert one.class_margin is None or one.class_margin == pytest.approx(given, abs=1e-5)
        assert one.candidates == options.samples_per_request or given >= options.clip_probability


def test_clip_is_opened_where_a_recipe_names_it(tmp_path: Path) -> None:
    recipe = build_recipe(None, ["strategy=selective", "images=100", "selection.clip=bundled"])
    round_ = open_run(recipe, tmp_path / "run").round
    assert round_ is not None
    assert isinstance(round_.sampler, BestOfN)
    assert round_.sampler.clip is not None
    assert round_.sampler.clip.prompts == PROMPTS


def test_a_clip_that_nobody_would_ask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"selection\.clip: actgen takes the first generated image"):
        open_run(build_recipe(None, ["strategy=actgen", "selection.clip=bundled"]), tmp_path / "run")


def test_a_clip_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    recipe = build_recipe(None, ["strategy=selective", f"selection.clip={tmp_path / 'empty'}"])
    with pytest.raises(UserError, match=r"selection\.clip = .*cannot be loaded"):
        open_run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
