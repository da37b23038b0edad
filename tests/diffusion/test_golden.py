"""The `code` preset against recorded runs of the released code (tests/data/golden/A/README.md).

Another set of the same format: ACTGEN_GOLDEN=DIR pytest tests/diffusion/test_golden.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from actgen.classifiers.classifier import Classifier
from actgen.diffusion.denoising import Batch, ClassifierFreeGuidance, Step, denoise
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.guides.image import BoundImage
from actgen.diffusion.guides.text import BoundText
from actgen.diffusion.pipeline import Conditions, PipelineAdapter
from actgen.diffusion.solver import Solver
from actgen.diffusion.solvers import make_solver
from actgen.generation.batching import Opener
from actgen.generation.presets import PRESETS
from actgen.generation.sampling_context import SamplingContext

SET = Path(os.environ.get("ACTGEN_GOLDEN", Path(__file__).parents[1] / "data" / "golden" / "A"))
META: dict[str, Any] = json.loads((SET / "meta.json").read_text())
CASES = sorted(META["cases"])
WHOLE, ONE_STEP = 1e-3, 1e-4
Arrays = dict[str, npt.NDArray[Any]]


class GoldenClassifier(nn.Module):
    """The set's classifier: two strided convolutions and a linear layer, normalised CIFAR pixels -> logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, 2, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.fc = nn.Linear(16 * (META["model_input_size"] // 4) ** 2, len(META["categories"]))

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.bn2(self.conv2(F.silu(self.bn1(self.conv1(x))))))
        return self.fc(x.flatten(1))  # type: ignore[no-any-return]


def close(ours: Tensor, name: str, golden: npt.NDArray[Any], tolerance: float = WHOLE) -> None:
    error = float(np.abs(ours.numpy().astype(np.float64) - golden).max())
    assert error <= tolerance * max(1.0, float(np.abs(golden).max())), f"{name}: largest error {error}"


@pytest.fixture(scope="module")
def adapter() -> PipelineAdapter:
    return PipelineAdapter.from_pretrained(str(SET / "pipeline"))


@pytest.fixture(scope="module")
def view(adapter: PipelineAdapter) -> Callable[[Tensor], Tensor]:
    model = GoldenClassifier().eval().requires_grad_(False)
    model.load_state_dict(load_file(SET / "classifier" / "model.safetensors"))
    mean = torch.tensor([0.49139968, 0.48215827, 0.44653124]).view(1, 3, 1, 1)
    std = torch.tensor([0.24703233, 0.24348505, 0.26158768]).view(1, 3, 1, 1)

    def logits(x0: Tensor) -> Tensor:
        size = (META["model_input_size"],) * 2
        written_out = META.get("vae_scale", 0.18215)
        raw = x0 * float(adapter.vae.config.scaling_factor) / written_out
        images = F.interpolate(adapter.decode(raw), size, mode="bilinear")
        return model((0.5 * images + 0.5 - mean) / std)  # type: ignore[no-any-return]

    return logits


def load(case: str) -> Arrays:
    with np.load(SET / f"case_{case}.npz") as arrays:
        return dict(arrays)


def tensor(array: npt.NDArray[Any]) -> Tensor:
    return torch.from_numpy(array)


def walk_of(adapter: PipelineAdapter, steps: int) -> Solver:
    return make_solver(
        adapter.pipeline.scheduler.config, steps, scheduler=PRESETS["code"].scheduler, previous=PRESETS["code"].previous
    )


def run_image(
    adapter: PipelineAdapter, view: Callable[[Tensor], Tensor], case: str, arrays: Arrays, k: int, bank: MemoryBank
) -> list[tuple[Step, BoundImage, BoundText]]:
    steps = len(arrays["timesteps"])
    solver = walk_of(adapter, steps)
    label = int(arrays["labels"][k])
    code = PRESETS["code"]
    image_options = replace(
        code.image,
        offset=META["guidance_str"],
        token=META["token_index"],
        mask="none" if case == "image_only" else code.image.mask,
    )
    text_options = replace(
        code.text,
        step_size=META["nu"],
        until=META["n_grad_steps"] / steps,
        margin=META["margin"],
        adversarial_weight=META["lam"],
    )
    guide = tensor(arrays["guide_latents"][k : k + 1])
    image = BoundImage(image_options, solver, guide, tensor(arrays["init_latents_guide"][k : k + 1]), [[]])
    text = BoundText(
        text_options,
        steps,
        torch.tensor([label]),
        {label: bank.latents_of(label).flatten(1)},
        view if bool(arrays["use_adv"][k]) else None,
    )
    embeddings = tensor(arrays["prompt_embeds"][k : k + 1, 0]).transpose(0, 1)
    noise = tensor(arrays["variance_noise"][k])
    batch = Batch(Conditions(embeddings), tensor(arrays["init_latents"][k : k + 1]), lambda i: noise[i : i + 1])
    resolution = None if case == "image_only" else META["attn_res"]
    trace = []
    for step in denoise(
        adapter,
        solver,
        batch,
        classifier_free_guidance=ClassifierFreeGuidance(scale=META["cfg_scale"]),
        guides=[image, text],
        attention_resolution=resolution,
    ):
        trace.append(
            (
                step,
                image.trajectory.clone(),
                None if image.mask is None else image.mask.clone(),
                None if text.loss is None else text.loss.clone(),
            )
        )
    return trace  # type: ignore[return-value]


@pytest.mark.parametrize("case", CASES)
def test_whole_trajectory(case: str, adapter: PipelineAdapter, view: Callable[[Tensor], Tensor]) -> None:
    arrays = load(case)
    bank = MemoryBank(capacity=1024)
    for name, latents in arrays.items():
        if name.startswith("bank_") and name != "bank_sizes_used":
            for entry in latents:
                bank.add(int(name.removeprefix("bank_")), tensor(entry))
    for k in range(len(arrays["labels"])):
        trace: Any = run_image(adapter, view, case, arrays, k, bank)
        for i, (step, trajectory, mask, loss) in enumerate(trace):
            close(step.latents[0], f"latents {i}", arrays["latents"][k, i])
            close(step.next_latents[0], f"next latents {i}", arrays["latents"][k, i + 1])
            close(step.output[0], f"noise_pred {i}", arrays["noise_pred"][k, i])
            close(step.x0[0].detach(), f"pred_x0 {i}", arrays["pred_x0"][k, i])
            close(trajectory[0], f"latents_guide {i}", arrays["latents_guide"][k, i + 1])
            close(step.next_text[:, 0], f"prompt_embeds {i}", arrays["prompt_embeds"][k, i + 1])
            if mask is not None:
                close(mask[0, 0], f"latents_attn_mask {i}", arrays["latents_attn_mask"][k, i])
            if i < META["n_grad_steps"] and bool(arrays["has_grad"][k, i]):
                close(loss[0], f"loss {i}", arrays["loss"][k, i])
        final = trace[-1][0].next_latents
        close(final[0], "final_latents", arrays["final_latents"][k])
        with torch.no_grad():
            pixels = (adapter.decode(final)[0] * 255).round().permute(1, 2, 0)
        assert np.abs(pixels.numpy() - arrays["final_images"][k].astype(np.float64)).max() <= 1
        bank.add(int(arrays["labels"][k]), final[0])


def test_guide_encoding(adapter: PipelineAdapter) -> None:
    with np.load(SET / "vae_encode.npz") as arrays:
        latents = adapter.encode_image(tensor(arrays["images_resized"]), tensor(arrays["noise"]))
        close(latents, "guide_latents", arrays["guide_latents"], ONE_STEP)


def test_prompts(adapter: PipelineAdapter) -> None:
    with np.load(SET / "prompts.npz") as arrays:
        prompts = [META["prompt"].format(category=name) for name in META["categories"]]
        close(adapter.encode_text(prompts).text_2BLD[1], "text_embeds", arrays["text_embeds"], ONE_STEP)
        close(adapter.encode_text([""]).text_2BLD[0, 0], "uncond_embeds", arrays["uncond_embeds"], ONE_STEP)


with np.load(SET / "scheduler.npz") as _file:
    SCHEDULER: Arrays = dict(_file)


@pytest.mark.parametrize("case", json.loads((SET / "scheduler_cases.json").read_text()), ids=lambda case: case["name"])
def test_one_guided_step(case: dict[str, Any]) -> None:
    of = {key.split("/", 1)[1]: value for key, value in SCHEDULER.items() if key.startswith(case["name"] + "/")}
    defaults = {
        "num_train_timesteps": 1000,
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "clip_sample": True,
    }
    config = {**defaults, **case["kwargs"]}
    if "trained_betas" in config:  # the description only counts them; the table itself was recorded
        abar = of["alphas_cumprod"].astype(np.float64)
        config["trained_betas"] = (1 - abar / np.concatenate([[1.0], abar[:-1]])).tolist()
    solver = make_solver(config, case["num_inference_steps"], previous="stride")
    assert solver.timesteps.tolist() == of["timesteps"].tolist()
    for row, index in enumerate(of["step_index"].tolist()):
        x0 = solver.x0(tensor(of["sample"][row]), tensor(of["model_output"][row]), index)
        noise = tensor(of["noise"][row])
        close(x0, "pred_x0", of["pred_x0"][row], ONE_STEP)
        close(solver.advance(tensor(of["sample"][row]), x0, noise, index), "prev_sample", of["prev_sample"][row], ONE_STEP)
        guided = solver.advance(tensor(of["sample_guide"][row]), tensor(of["guide"][row]), noise, index)
        close(guided, "prev_sample_guide", of["prev_sample_guide"][row], ONE_STEP)


@pytest.mark.skipif("ACTGEN_GOLDEN" in os.environ, reason="another set may have other numbers")
def test_the_preset_has_the_recorded_numbers() -> None:
    code, steps = PRESETS["code"], len(load(CASES[0])["timesteps"])
    found = {
        "guidance_str": code.image.offset,
        "token_index": code.image.token,
        "nu": code.text.step_size,
        "n_grad_steps": round(code.text.until * steps),
        "margin": code.text.margin,
        "lam": code.text.adversarial_weight,
        "cfg_scale": code.guidance_scale,
    }
    assert found == {name: META[name] for name in found}
    assert steps == code.num_inference_steps


def test_the_engine_shows_the_classifier_what_the_released_code_shows(
    adapter: PipelineAdapter, view: Callable[[Tensor], Tensor]
) -> None:
    model = GoldenClassifier().eval().requires_grad_(False)
    model.load_state_dict(load_file(SET / "classifier" / "model.safetensors"))
    mean, std = (0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)
    code = PRESETS["code"]
    sampling = replace(code, text=replace(code.text, view_scale=META.get("vae_scale", code.text.view_scale)))
    opener = Opener(
        adapter, sampling, MemoryBank(), SamplingContext(classifier=Classifier(model, META["model_input_size"], mean, std))
    )
    x0 = torch.randn((2, *adapter.latent_shape), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(opener._logits(x0), view(x0), atol=1e-5, rtol=1e-5)
