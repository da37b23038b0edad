"""Schedules that cannot be are refused before anything is generated; those that can are diffusers' own."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, UniPCMultistepScheduler

from actgen.core.errors import UserError
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.diffusion.solvers import NAMES, alphas_cumprod, make_solver, scheduler_name
from actgen.generation.presets import SamplingConfig
from actgen.generation.sampler import ImageSampler
from tests.support.families import FAMILIES

LEADING = {"num_train_timesteps": 1000, "timestep_spacing": "leading", "steps_offset": 1}


@pytest.mark.parametrize(("steps", "words"), [(0, "1 to 1000"), (1001, "1 to 1000"), (1000, "starts at timestep 1000")])
def test_more_steps_than_the_schedule_has_are_refused(steps: int, words: str) -> None:
    with pytest.raises(UserError, match=rf"num_inference_steps = {steps}: .*{words}"):
        make_solver(LEADING, steps)


@pytest.mark.parametrize("scheduler", NAMES)
@pytest.mark.parametrize("steps", [0, 1001])
def test_every_scheduler_refuses_what_it_cannot_take(scheduler: str, steps: int) -> None:
    with pytest.raises(UserError, match=rf"num_inference_steps = {steps}: allowed is 1 to"):
        make_solver({}, steps, scheduler=scheduler)


def test_dynamic_thresholding_is_refused() -> None:
    with pytest.raises(UserError, match="thresholding"):
        make_solver({"thresholding": True}, 10)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_as_many_steps_as_timesteps_use_each_once(spacing: str) -> None:
    solver = make_solver({"num_train_timesteps": 1000, "timestep_spacing": spacing}, 1000)
    assert solver.timesteps.tolist() == list(range(999, -1, -1))


def test_the_offset_counts_in_leading_spacing_only() -> None:
    assert int(make_solver(LEADING, 999).timesteps.max()) == 999
    assert int(make_solver({**LEADING, "timestep_spacing": "trailing"}, 1000).timesteps.max()) == 999


def test_too_many_steps_are_found_before_a_drawing_is_asked_for() -> None:
    with pytest.raises(UserError, match="num_inference_steps = 1001"):
        ImageSampler(PipelineAdapter(FAMILIES["sd1"](), "sd1"), SamplingConfig(num_inference_steps=1001))


@pytest.mark.parametrize("rescale", [False, True])
def test_the_schedule_is_that_of_diffusers(rescale: bool) -> None:
    stock = DDIMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=rescale)
    ours = alphas_cumprod(stock.config)
    torch.testing.assert_close(ours, stock.alphas_cumprod.double())
    assert (float(ours[-1]) < 1e-9) == rescale


def test_auto_is_the_pipelines_own_scheduler() -> None:
    found = {name: scheduler_name("auto", build().scheduler) for name, build in FAMILIES.items()}
    assert found == {"sd1": "ddim", "sd2-v": "ddim", "sdxl": "euler", "lora": "ddim", "turbo": "euler", "lcm": "lcm"}
    with pytest.raises(UserError, match="UniPCMultistepScheduler is not one of ours"):
        scheduler_name("auto", UniPCMultistepScheduler())


@pytest.mark.parametrize(("key", "value"), [("scheduler", "heun"), ("previous", "next")])
def test_unknown_names_are_refused(key: str, value: str) -> None:
    wrong: dict[str, object] = {key: value}
    with pytest.raises(UserError, match=rf"sampling\.{key} = '{value}' is unknown"):
        SamplingConfig(**wrong)  # type: ignore[arg-type]
