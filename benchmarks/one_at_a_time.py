"""The plain loop that `generation.py` compares with: the same mathematics, one image after the other.

Its structure is that of ActGen's released code: attention materialised in all layers and all steps, both halves of
classifier-free guidance in one call with a graph in every gradient step whether or not there is a loss, the bank brought
anew in every step, a decoding an image. The guides' formulas are the package's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import torch
from benchmarks.materialised_attention import AttentionRecorder, RecordingProcessor
from diffusers.models.attention_processor import AttnProcessor
from PIL import Image
from torch import Tensor

from actgen.classifiers.classifier import Classifier
from actgen.core.class_words import class_words
from actgen.core.types import Request
from actgen.data.datasets.imageset import fit_square, stack_pixels
from actgen.diffusion.attention import cross_attention_sizes
from actgen.diffusion.denoising import Step
from actgen.diffusion.guides.bank import MemoryBank
from actgen.diffusion.guides.image import BoundImage
from actgen.diffusion.guides.text import BoundText
from actgen.diffusion.noise import open_noises
from actgen.diffusion.pipeline import PipelineAdapter
from actgen.generation.batching import make_own_solver, map_resolution
from actgen.generation.presets import SamplingConfig
from actgen.generation.sampling_context import GuideImage


class OneAtATime:
    """Generates requests one by one with the settings of a `SamplingConfig` whose scheduler has no memory."""

    def __init__(
        self,
        adapter: PipelineAdapter,
        sampling: SamplingConfig,
        bank: MemoryBank,
        guide_image: GuideImage,
        classifier: Classifier,
    ) -> None:
        self.adapter, self.sampling, self.bank = adapter, sampling, bank
        self.guide_image, self.classifier = guide_image, classifier
        self.solver = make_own_solver(adapter, sampling)
        self.gradient_steps = round(sampling.text.until * len(self.solver))

    def generate(self, requests: Sequence[Request]) -> list[Image.Image]:
        """Return the pictures."""
        with self.adapter.borrowed(), self._materialised() as recorder:
            return [self._generate(request, recorder) for request in requests]

    def _generate(self, request: Request, recorder: AttentionRecorder) -> Image.Image:
        adapter, solver, device = self.adapter, self.solver, self.adapter.device
        conditions = adapter.encode_text([request.prompt])
        noises = open_noises([request.seed], adapter.latent_shape)
        x, text, last = solver.start * noises.sample.to(device), conditions.text_2BLD, None
        pixels = stack_pixels([fit_square(self.guide_image(request), adapter.image_size)]).float() / 127.5 - 1.0
        guide = adapter.encode_image(pixels, noises.vae)
        tokens = [adapter.token_positions(request.prompt, class_words(request.class_name))]
        image = BoundImage(self.sampling.image, solver, guide, noises.guide.to(guide), tokens)
        label = torch.tensor([request.label], device=device)
        for index, timestep in enumerate(solver.timesteps):
            text = text.detach().requires_grad_(index < self.gradient_steps)
            with torch.set_grad_enabled(index < self.gradient_steps):
                output = self._predict(x, timestep.to(device), text, index)
                x0 = solver.x0(x, output, index)
            maps = recorder.take(1)[..., tokens[0]].sum(dim=-1)
            recorder.listening = True
            noise = noises.at(index).to(device)
            next_latents = solver.advance(x, x0.detach(), noise, index, last)
            last = x0.detach()
            step = Step(index, len(solver), x, text, output.detach(), x0, noise, maps, next_latents, text.detach())
            if losses := {"contrastive", "adversarial"} & set(request.guides):
                banks = (
                    {request.label: self.bank.latents_of(request.label).to(device).flatten(1)}
                    if "contrastive" in losses
                    else {}
                )
                view = self._logits if "adversarial" in losses else None
                recorder.listening = False
                step = BoundText(self.sampling.text, len(solver), label, banks, view).apply(step)
                recorder.listening = True
            step = image.apply(step)
            x, text = step.next_latents.detach(), step.next_text.detach()
        with torch.no_grad():
            picture = (adapter.decode(x)[0] * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        return Image.fromarray(picture)

    def _predict(self, x: Tensor, timestep: Tensor, text_2BLD: Tensor, index: int) -> Tensor:
        """Return the UNet's output, the halves of classifier-free guidance in one call."""
        scale, dtype = self.sampling.classifier_free_guidance.at(index, len(self.solver)), self.adapter.dtype
        branches = 2 if scale > 1.0 else 1
        told, many = text_2BLD[-branches:].flatten(0, 1).to(dtype), torch.cat([x] * branches).to(dtype)
        output = self.adapter.unet(many, timestep, told, return_dict=False)[0].float()
        if branches == 1:
            return output  # type: ignore[no-any-return]
        unconditional, conditional = output.chunk(2)
        return unconditional + scale * (conditional - unconditional)  # type: ignore[no-any-return]

    def _logits(self, x0: Tensor) -> Tensor:
        out: Tensor = self.classifier(self.adapter.decode(x0))
        return out

    @contextmanager
    def _materialised(self) -> Any:
        """Let every attention layer form its matrix, and those of the mask's size hand it over."""
        unet = self.adapter.unet
        size = self.adapter.latent_shape[1]
        sizes = cross_attention_sizes(unet, size)
        resolution = map_resolution(self.adapter, self.sampling)
        chosen = {name for name, there in sizes.items() if there == resolution}
        recorder = AttentionRecorder(resolution, len(chosen))
        before = dict(unet.attn_processors)
        try:
            unet.set_attn_processor(
                {name: RecordingProcessor(recorder, AttnProcessor()) if name in chosen else AttnProcessor() for name in before}
            )
            yield recorder
        finally:
            unet.set_attn_processor(dict(before))
