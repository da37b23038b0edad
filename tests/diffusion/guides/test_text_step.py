"""What the losses do to pictures with the settings that are used when nobody asks for others (bundled generator)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from benchmarks.text_step import ADVERSARIAL, ARMS, IMAGE, Bench, open_bench

from actgen.core.assets import bundled_generator
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.presets import PRESETS

IMAGES = 24


@pytest.fixture(scope="module")
def bench() -> Bench:
    return open_bench(IMAGES)


def test_the_losses_move_an_image_by_more_than_a_grey_level(bench: Bench) -> None:
    sampling = PRESETS["tiny"]
    attentive, bank = bench.generate(sampling, [IMAGE]), bench.bank(sampling)
    actgen = bench.measure(bench.generate(sampling, ARMS["actgen (both)"], bank), attentive)
    assert 1.0 <= actgen.grey_levels < 5.0
    inert = replace(sampling, text=replace(sampling.text, norm="image", step_size=0.05))
    assert bench.measure(bench.generate(inert, ARMS["actgen (both)"], bank), attentive).grey_levels < 0.5


def test_the_adversarial_loss_raises_that_of_the_classifier_at_the_same_agreement(bench: Bench) -> None:
    sampling = PRESETS["tiny"]
    attentive = bench.generate(sampling, [IMAGE])
    plain = bench.measure(attentive, attentive)
    harder = bench.measure(bench.generate(sampling, [IMAGE, ADVERSARIAL]), attentive)
    assert harder.loss > plain.loss + 0.02
    assert harder.judged_right >= plain.judged_right - 1.5 / IMAGES  # one image


def test_which_tokens_are_real_comes_from_the_tokenizer() -> None:
    adapter = PipelineAdapter.from_pretrained(str(bundled_generator()))
    words = "a photo of ankle boot"
    ids, real = adapter.pipeline.tokenizer(words, padding="max_length").input_ids, adapter.real_tokens(words)
    assert real.tolist() == [True] * 7 + [False] * (len(ids) - 7)  # a mark at each end of five words; padding repeats the last
    assert int(ids[6]) == int(ids[7])
