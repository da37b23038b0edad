"""Requests -> samples: open each request (prompt, guide, noise), bind the guides that it names, denoise, decode.

An image's randomness is its own seed's, so it is the same picture in any batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .classify.classifier import Classifier
from .data.imageset import fit_square, stack_pixels
from .diffuse.attention import choose_resolution
from .diffuse.backbone import Backbone
from .diffuse.denoise import Batch, Guide, denoise
from .diffuse.walk import Walk, make_walk
from .errors import UserError
from .guides.bank import MemoryBank
from .guides.image import BoundImage, unit_range
from .guides.text import BoundText
from .presets import PRESETS, Drawing
from .prompts import class_prompt, class_words
from .records import Request, Sample
from .seeding import generator


@dataclass(frozen=True)
class Noises:
    """All the random draws of B images, each [B, C, h, w]; `steps` is a stream of them."""

    vae: Tensor
    sample: Tensor
    guide: Tensor
    streams: tuple[torch.Generator, ...]

    def at(self, index: int) -> Tensor:
        """Return the next step's noise; steps must be asked for in order."""
        shape = self.sample.shape[1:]
        return torch.stack([torch.randn(shape, generator=stream) for stream in self.streams])


def open_noises(seeds: Sequence[int], shape: tuple[int, int, int]) -> Noises:
    """Draw an image's noises from its seed, one image at a time, so that they do not depend on the batch."""
    streams = tuple(generator(seed, "image") for seed in seeds)
    drawn = [[torch.randn(shape, generator=stream) for _ in range(3)] for stream in streams]
    vae, sample, guide = (torch.stack(column) for column in zip(*drawn, strict=True))
    return Noises(vae, sample, guide, streams)


class Artist:
    """Draws requests with a backbone. Holds the memory bank; the caller adds to it (`synthesis.py`)."""

    def __init__(self, backbone: Backbone, drawing: Drawing | None = None, bank: MemoryBank | None = None) -> None:
        self.backbone = backbone
        self.drawing = PRESETS["default"] if drawing is None else drawing
        self.bank = MemoryBank() if bank is None else bank
        self._walk()  # a number of steps that this generator cannot take is found before anything is drawn

    @classmethod
    def from_pretrained(cls, path_or_id: str, *, preset: str = "default", device: str = "cpu") -> Artist:
        """Load a diffusers pipeline folder or hub id as a generator that draws by a named preset."""
        return cls(Backbone.from_pretrained(path_or_id, device=device), PRESETS[preset])

    def draw(
        self, requests: Sequence[Request], *, guide_image: Callable[[Request], Image.Image] | None = None,
        classifier: Classifier | None = None,
    ) -> Iterator[Sample]:  # fmt: skip
        """Yield a sample for every request, in order of batches; requests with the same guides share a batch.

        `guide_image` resolves a request's source; `classifier` is the opponent of the adversarial guide.
        """
        groups: dict[tuple[str, ...], list[Request]] = {}
        for request in requests:
            groups.setdefault(request.guides, []).append(request)
        size = self.drawing.batch_size
        for group in groups.values():
            for start in range(0, len(group), size):
                yield from self._draw_batch(group[start : start + size], guide_image, classifier)

    def check_guides(self, class_names: Sequence[str]) -> None:
        """Raise `UserError` before anything is drawn if this generator cannot be guided for one of the classes."""
        image, length = self.drawing.image, self.backbone.pipeline.tokenizer.model_max_length
        if image.mask != "none":
            if image.token >= length:
                raise UserError(f"drawing.image.token = {image.token}: this generator reads {length} tokens, so allowed is "
                                f"0 to {length - 1}, or -1 to find the class words.")  # fmt: skip
            self._resolution()
            for name in class_names:
                self.backbone.token_positions(class_prompt(name), class_words(name))

    def _walk(self) -> Walk:
        drawing = self.drawing
        return make_walk(self.backbone.pipeline.scheduler.config, drawing.num_inference_steps, eta=drawing.eta,
                         previous=drawing.previous)  # fmt: skip

    def _resolution(self) -> int:
        backbone = self.backbone
        return choose_resolution(backbone.unet, backbone.latent_shape[1], self.drawing.attention_resolution or None)

    def _draw_batch(
        self, requests: Sequence[Request], guide_image: Callable[[Request], Image.Image] | None,
        classifier: Classifier | None,
    ) -> list[Sample]:  # fmt: skip
        began = time.perf_counter()
        backbone, drawing = self.backbone, self.drawing
        noises = open_noises([request.seed for request in requests], backbone.latent_shape)
        walk = self._walk()
        image = self._bind_image(requests, guide_image, walk, noises)
        text = self._bind_text(requests, classifier, len(walk))
        guides: list[Guide] = [guide for guide in (image, text) if guide is not None]
        masked = image is not None and drawing.image.mask != "none"
        resolution = self._resolution() if masked else None
        latents = noises.sample
        for step in denoise(backbone, walk, self._open(requests, noises), guidance_scale=drawing.guidance_scale,
                            guides=guides, attention_resolution=resolution):  # fmt: skip
            latents = step.proposed
        pictures = self._decode(latents)
        seconds = (time.perf_counter() - began) / len(requests)
        masks = None if image is None or image.mask is None else unit_range(image.mask)[:, 0].float().cpu()
        return [
            Sample(request=request, image=pictures[k], latents=latents[k].float().cpu(),
                   mask=None if masks is None else masks[k], seconds=seconds)
            for k, request in enumerate(requests)
        ]  # fmt: skip

    def _open(self, requests: Sequence[Request], noises: Noises) -> Batch:
        backbone = self.backbone
        prompts = backbone.encode_text([request.prompt for request in requests])
        empty = backbone.encode_text([""]).expand_as(prompts)

        def noise_at(index: int) -> Tensor:
            return noises.at(index).to(backbone.device, backbone.dtype)

        return Batch(torch.stack([empty, prompts]), noises.sample.to(backbone.device, backbone.dtype), noise_at)

    def _bind_image(
        self, requests: Sequence[Request], guide_image: Callable[[Request], Image.Image] | None, walk: Walk, noises: Noises
    ) -> BoundImage | None:  # fmt: skip
        if "image" not in requests[0].guides:
            return None
        assert guide_image is not None, "a request with an image guide needs a resolver for its source"
        backbone = self.backbone
        pictures = [fit_square(guide_image(request), backbone.image_size) for request in requests]
        pixels = stack_pixels(pictures).float() / 127.5 - 1.0
        tokens = [backbone.token_positions(request.prompt, class_words(request.class_name)) for request in requests]
        start = noises.guide.to(backbone.device, backbone.dtype)
        return BoundImage(self.drawing.image, walk, backbone.encode_image(pixels, noises.vae), start, tokens)

    def _bind_text(self, requests: Sequence[Request], classifier: Classifier | None, steps: int) -> BoundText | None:
        guides = requests[0].guides
        labels = torch.tensor([request.label for request in requests], device=self.backbone.device)
        banks = [self.bank.draw(int(label)) for label in labels] if "contrastive" in guides else []
        view = None
        if "adversarial" in guides:
            assert classifier is not None, "the adversarial guide needs a classifier"
            view = self._adversarial_view(classifier)
        return BoundText(self.drawing.text, steps, labels, banks, view) if banks or view is not None else None

    def _adversarial_view(self, classifier: Classifier) -> Callable[[Tensor], Tensor]:
        double = self.drawing.text.double_mapped

        def view(x0: Tensor) -> Tensor:
            images = self.backbone.decode(x0).float()
            if double:
                images = 0.5 * F.interpolate(images, (classifier.image_size,) * 2, mode="bilinear") + 0.5
            out: Tensor = classifier(images)
            return out

        return view

    @torch.no_grad()
    def _decode(self, latents: Tensor) -> list[Image.Image]:
        images = (self.backbone.decode(latents).float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return [Image.fromarray(array) for array in images]
