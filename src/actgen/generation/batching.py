"""THE DOOR "open": requests -> what the denoising loop needs: noise, text, and the guides bound to these images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ..classifiers.classifier import Classifier
from ..core.class_words import class_words
from ..core.types import Request
from ..data.datasets.imageset import fit_square, stack_pixels
from ..data.datasets.masks import Masks
from ..diffusion.attention import choose_resolution
from ..diffusion.denoising import Batch, Guide
from ..diffusion.guides.bank import MemoryBank
from ..diffusion.guides.entropy import BoundEntropy
from ..diffusion.guides.image import GIVEN, BoundImage
from ..diffusion.guides.text import BoundText
from ..diffusion.noise import Noises, open_noises
from ..diffusion.pipeline import PipelineAdapter
from ..diffusion.solver import Solver
from ..diffusion.solvers import make_solver, scheduler_name
from .given_masks import Held
from .presets import SamplingConfig

PIXELS_TOGETHER = 2**19  # through the VAE at once: two pictures of 512 pixels, 512 of 32

GuideImage = Callable[[Request], Image.Image]


@dataclass(frozen=True)
class Opened:
    """One batch, ready for `denoise`. `held`: what is to be the guide image's in each result, where masks are given."""

    solver: Solver
    batch: Batch
    guides: list[Guide]
    image: BoundImage | None
    attention_resolution: int | None
    held: Sequence[Held] = ()


class Kind(NamedTuple):
    """What the images of one batch share: the guides that act on them, and how much of the walk they take."""

    guides: tuple[str, ...]
    strength: float

    @property
    def pulls(self) -> bool:
        """Whether a real image guides the generated image."""
        return "image" in self.guides or "whole-image" in self.guides

    @property
    def sees_source(self) -> bool:
        """Whether the generated image starts from a real image or is guided by one."""
        return self.pulls or self.strength < 1.0


@dataclass
class Opener:
    """Opens batches of one generated image session: a backbone, its settings, what the guides look at.

    `guide_image` resolves a request's source, `masks` knows the object in it; `classifier` is the opponent of the adversarial
    guide and sees the features of the contrastive one. The bank is moved to the device once a label.
    """

    adapter: PipelineAdapter
    sampling: SamplingConfig
    bank: MemoryBank
    guide_image: GuideImage | None = None
    classifier: Classifier | None = None
    masks: Masks | None = None
    _points: dict[int, Tensor] = field(default_factory=dict)

    def guides(self, request: Request) -> tuple[str, ...]:
        """Return the guides of a request that can act: a loss needs gradient steps, repulsion something to repel from."""
        idle = set() if self.sampling.text.until > 0 else {"contrastive", "adversarial"}
        if not (self.sampling.entropy.scale and self.sampling.entropy.until):
            idle.add("entropy")
        if not self.bank.count(request.label):
            idle.add("contrastive")
        return tuple(guide for guide in request.guides if guide not in idle)

    @property
    def together(self) -> int:
        """How many pictures pass the VAE at once."""
        return max(1, PIXELS_TOGETHER // self.adapter.image_size**2)

    def kind(self, request: Request) -> Kind:
        """Return what requests must share to be generated in one batch."""
        return Kind(self.guides(request), request.strength)

    def open(self, requests: Sequence[Request], kind: Kind) -> Opened:
        """Open requests of one kind."""
        noises = open_noises([request.seed for request in requests], self.adapter.latent_shape)
        solver = make_own_solver(self.adapter, self.sampling)
        source = self._sources(requests, noises) if kind.sees_source else None
        first = solver.first(kind.strength)
        held = self._held(requests, kind)
        image = self._bind_image(requests, solver, noises, source, kind, held) if source is not None and kind.pulls else None
        guides = (self._bind_text(requests, kind.guides, len(solver)), self._bind_entropy(solver, kind), image)
        masked = image is not None and image.options.attends
        return Opened(
            solver,
            self._batch(requests, noises, solver, source if first else None, first),
            [guide for guide in guides if guide is not None],
            image,
            map_resolution(self.adapter, self.sampling) if masked else None,
            held,
        )

    def _batch(self, requests: Sequence[Request], noises: Noises, solver: Solver, source: Tensor | None, first: int) -> Batch:
        device = self.adapter.device
        noisy, nothing = solver.uses_noise(), torch.zeros((), device=device)
        return Batch(
            self.adapter.encode_text([request.prompt for request in requests]),
            noises.sample.to(device),
            lambda index: noises.at(index).to(device) if noisy else nothing,
            source,
            first,
        )

    def _sources(self, requests: Sequence[Request], noises: Noises) -> Tensor:
        """Return the clean latents of the requests' real images."""
        assert self.guide_image is not None, "a request that starts from a real image needs a resolver for its source"
        pictures = [fit_square(self.guide_image(request), self.adapter.image_size) for request in requests]
        pixels = stack_pixels(pictures).float() / 127.5 - 1.0
        pairs = zip(pixels.split(self.together), noises.vae.split(self.together), strict=True)
        return torch.cat([self.adapter.encode_image(some, noise) for some, noise in pairs])

    def _bind_image(
        self, requests: Sequence[Request], solver: Solver, noises: Noises, clean: Tensor, kind: Kind, held: Sequence[Held]
    ) -> BoundImage:
        options = self.sampling.image if "image" in kind.guides else replace(self.sampling.image, mask="none")
        given = torch.stack([one.on_latents(*clean.shape[-2:]) for one in held]).to(clean) if held else None
        tokens = (
            [[]] * len(requests)
            if held
            else [self.adapter.token_positions(request.prompt, class_words(request.class_name)) for request in requests]
        )
        noise = noises.sample if options.shares_noise(solver) else noises.guide
        return BoundImage(options, solver, clean, noise.to(clean), tokens, solver.first(kind.strength), given)

    def _held(self, requests: Sequence[Request], kind: Kind) -> list[Held]:
        """Return what is held of each request's real image; nothing unless the masks are given."""
        if "image" not in kind.guides or self.sampling.image.mask != GIVEN:
            return []
        assert self.masks is not None, "given masks must be opened before"
        assert self.guide_image is not None, "a given mask needs a resolver for its source"
        held = []
        for request in requests:
            assert request.source is not None
            image = self.guide_image(request)
            mask = self.masks.of(request.source.key, image)
            held.append(Held.of(image, mask, self.adapter.image_size, self.sampling.image.keep))
        return held

    def _bind_entropy(self, solver: Solver, kind: Kind) -> BoundEntropy | None:
        if "entropy" not in kind.guides:
            return None
        return BoundEntropy(self.sampling.entropy, solver, self._logits, self.together)

    def _bind_text(self, requests: Sequence[Request], guides: tuple[str, ...], steps: int) -> BoundText | None:
        if not {"contrastive", "adversarial"} & set(guides):
            return None
        labels = torch.tensor([request.label for request in requests], device=self.adapter.device)
        banks = {label: self._bank_points(label) for label in set(labels.tolist())} if "contrastive" in guides else {}
        point = self._features if self.sampling.text.contrast_in == "features" else None
        view = self._logits if "adversarial" in guides else None
        real = torch.stack([self.adapter.real_tokens(request.prompt) for request in requests]).to(self.adapter.device)
        return BoundText(self.sampling.text, steps, labels, banks, view, point, self.together, real)

    def _bank_points(self, label: int) -> Tensor:
        """Return the bank of a label on the device as points [M, D]."""
        if label not in self._points:
            latents = self.bank.latents_of(label).to(self.adapter.device)
            if self.sampling.text.contrast_in == "features":
                with torch.no_grad():
                    self._points[label] = torch.cat([self._features(some) for some in latents.split(self.together)])
            else:
                self._points[label] = latents.flatten(1)
        return self._points[label]

    def _logits(self, x0: Tensor) -> Tensor:
        classifier = self._opponent()
        text = self.sampling.text
        images = self.adapter.decode(x0 * self._view_units(), text.decoder)
        if text.double_mapped:
            images = 0.5 * F.interpolate(images, (classifier.image_size,) * 2, mode="bilinear") + 0.5
        out: Tensor = classifier(images)
        return out

    def _view_units(self) -> float:
        scale = self.sampling.text.view_scale
        return float(self.adapter.vae.config.scaling_factor) / scale if scale else 1.0

    def _features(self, x0: Tensor) -> Tensor:
        return F.normalize(self._opponent().features(self.adapter.decode(x0, self.sampling.text.decoder)))

    def _opponent(self) -> Classifier:
        assert self.classifier is not None, "the adversarial guide and contrast in features need a classifier"
        return self.classifier


def make_own_solver(adapter: PipelineAdapter, sampling: SamplingConfig) -> Solver:
    """Return the walk that the settings ask for on this generator; `UserError` if it cannot take it."""
    stock = adapter.pipeline.scheduler
    return make_solver(
        stock.config,
        sampling.num_inference_steps,
        scheduler=scheduler_name(sampling.scheduler, stock),
        eta=sampling.eta,
        previous=sampling.previous,
    )


def map_resolution(adapter: PipelineAdapter, sampling: SamplingConfig) -> int:
    """Return the size of the attention maps that the settings ask for on this generator."""
    return choose_resolution(adapter.unet, adapter.latent_shape[1], sampling.attention_resolution or None)
