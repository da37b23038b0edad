"""The loss against diffusers' own noise, targets and prompts; weights; what LoRA matrices and texts must satisfy."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, UNet2DConditionModel
from peft import LoraConfig
from torch import Tensor

from actgen.core.errors import UserError
from actgen.core.rng import generator
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.finetune.examples import Examples
from actgen.finetune.lora import FILE, TARGETS, attach, save_lora
from actgen.finetune.objective import Objective, min_snr_weight, refuse_untrainable
from actgen.finetune.options import AdaptOptions, LoraOptions
from actgen.finetune.texts import encode_texts
from tests.support.coloured import PROMPTS, coloured
from tests.support.families import EULER_WARNING, FAMILIES

pytestmark = pytest.mark.filterwarnings(EULER_WARNING)

TRAINED = ("sd1", "sd2-v", "sdxl")


def objective(family: str, options: AdaptOptions) -> Objective:
    examples = Examples(coloured(2), list(PROMPTS.values()), 32)
    return Objective(PipelineAdapter(FAMILIES[family](), family), examples, options, nullcontext)


def by_diffusers(made: Objective, pixels: Tensor, prompts: list[str], rng: torch.Generator) -> Tensor:
    """Return the errors [B] as a training with diffusers' own parts has them, in the same order of generates."""
    pipeline = made.adapter.pipeline
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    shape = (len(pixels), 4, 16, 16)
    posterior, noise = (torch.randn(shape, generator=rng) for _ in range(2))
    t = torch.randint(1000, (len(pixels),), generator=rng)
    distribution = pipeline.vae.encode(pixels).latent_dist
    x0 = (distribution.mean + distribution.std * posterior) * pipeline.vae.config.scaling_factor
    text, _, *pooled = pipeline.encode_prompt(
        prompt=prompts, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    added = {"text_embeds": pooled[0], "time_ids": torch.tensor([[32.0, 32, 0, 0, 32, 32]] * len(pixels))} if pooled else None
    output = pipeline.unet(scheduler.add_noise(x0, noise, t), t, text, added_cond_kwargs=added).sample
    is_v = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(x0, noise, t) if is_v else noise
    errors: Tensor = (output - target).square().mean(dim=(1, 2, 3))
    return errors


@pytest.mark.parametrize("family", TRAINED)
@torch.no_grad()
def test_the_loss_is_that_of_diffusers(family: str) -> None:
    made = objective(family, AdaptOptions(caption_dropout=0.0))
    pixels, prompts = made.examples.draw(3, generator(0, "pictures"))
    ours = made.errors(pixels, prompts, generator(0, "step"))
    torch.testing.assert_close(ours, by_diffusers(made, pixels, prompts, generator(0, "step")), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_prior_is_weighed() -> None:
    examples = Examples(coloured(2), list(PROMPTS.values()), 32)
    made = replace(objective("sd1", AdaptOptions(batch_size=2)), prior=examples)
    losses = [float(replace(made, options=replace(made.options, prior_preservation=weight))(0)) for weight in (0.5, 1.0, 2.0)]
    assert losses[2] - losses[1] == pytest.approx(2 * (losses[1] - losses[0]), rel=1e-4)
    assert losses[1] > losses[0] > 0


def test_min_snr_weights() -> None:
    alpha = torch.tensor([0.0, 0.1, 0.5, 0.99])  # SNR 0, 1/9, 1, 99
    snr = alpha / (1 - alpha)
    torch.testing.assert_close(min_snr_weight(alpha, "epsilon", 5.0), torch.tensor([1.0, 1.0, 1.0, 5 / 99]))
    torch.testing.assert_close(min_snr_weight(alpha, "sample", 5.0), torch.tensor([0.0, 1 / 9, 1.0, 5.0]))
    in_x0 = torch.minimum(snr, torch.tensor(5.0))
    torch.testing.assert_close(min_snr_weight(alpha, "v_prediction", 5.0) * (snr + 1), in_x0)
    assert bool((min_snr_weight(alpha, "epsilon", 0.0) == 1).all())


@pytest.mark.parametrize("family", TRAINED)
def test_texts_with_a_graph_are_the_same_texts(family: str) -> None:
    adapter = PipelineAdapter(FAMILIES[family](), family)
    prompts, dropped = ["a photo of coat", "a photo of bag", "a photo of coat"], torch.tensor([False, False, True])
    plain, graph = (encode_texts(adapter, prompts, dropped, 48, graph=graph) for graph in (False, True))
    torch.testing.assert_close(graph.text_2BLD, plain.text_2BLD)
    assert graph.added.keys() == plain.added.keys()
    for name, tensor in plain.added.items():
        torch.testing.assert_close(graph.added[name], tensor)
    usual = adapter.encode_text(prompts)
    assert torch.equal(plain.text_2BLD[1, :2], usual.text_2BLD[1, :2])
    assert torch.equal(plain.text_2BLD[1, 2], usual.text_2BLD[0, 2])
    assert graph.text_2BLD.requires_grad


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@torch.no_grad()
def test_the_file_is_the_trained_network(family: str, tmp_path: Path) -> None:
    options = LoraOptions(rank=2, alpha=6, text_encoder=True)
    adapter = PipelineAdapter(FAMILIES[family](), family)
    x, text = torch.randn((1, 4, 16, 16), generator=generator(0, "x")), ["a photo of coat"]

    def output(any_backbone: Any) -> Tensor:
        made: Tensor = any_backbone.predict(x, torch.tensor(500), any_backbone.encode_text(text), 1.0)
        return made

    plain = output(adapter)
    trained = attach(adapter, options, 0, torch.float32)
    adapter.forget_texts()
    assert torch.equal(output(adapter), plain)  # the product of the matrices starts at zero
    for name, parameter in trained.named_parameters():
        if ".lora_B." in name:
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator(0, name)))
    assert {name for name, p in trained.named_parameters() if p.requires_grad} == {
        name for name, _ in trained.named_parameters() if "lora_" in name
    }
    adapter.forget_texts()
    save_lora(adapter, options, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    fresh = FAMILIES[family]()
    fresh.load_lora_weights(str(tmp_path))
    torch.testing.assert_close(output(PipelineAdapter(fresh, family)), output(adapter), rtol=1e-4, atol=1e-5)
    assert float((output(adapter) - plain).abs().max()) > 0.01


def test_matrices_stay_float32_beside_weights_of_another_type() -> None:
    made = objective("sd1", AdaptOptions(batch_size=2, lora=LoraOptions(rank=2, text_encoder=True)))
    trained = attach(made.adapter, LoraOptions(rank=2, text_encoder=True), 0, torch.float64)  # half types are slow on a CPU
    made(0).backward()
    for name, parameter in trained.named_parameters():
        assert parameter.dtype == (torch.float32 if "lora_" in name else torch.float64), name
        assert (parameter.grad is not None) == ("lora_" in name), name
    assert made.adapter.vae.dtype == torch.float32
    assert made.adapter.dtype == torch.float64


def test_a_generator_of_another_loss_is_refused() -> None:
    adapter = PipelineAdapter(FAMILIES["sdxl"](), "edm")
    refuse_untrainable(adapter)
    adapter.pipeline.scheduler = EDMEulerScheduler()
    with pytest.raises(UserError, match="edm has a EDMEulerScheduler with prediction_type 'epsilon'; allowed are schedulers"):
        refuse_untrainable(adapter)


def test_at_the_size_of_stable_diffusion_it_has_the_weights_of_published_files() -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS))
    assert sum(p.numel() for name, p in unet.named_parameters() if "lora_" in name) == 797_184
    assert sum(p.numel() for name, p in unet.named_parameters() if "lora_" not in name) == 859_520_964
