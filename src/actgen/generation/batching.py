"""Requests -> what the denoising loop needs: noise, text, and the guides bound to these images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..classifiers.classifier import Classifier
from ..core.types import Request
from ..data.datasets.imageset import fit_square, stack_pixels
from ..data.datasets.masks import Masks
from ..diffusion.denoising import Batch, BoundGuide
from ..diffusion.guides import find_guides
from ..diffusion.guides.bank import MemoryBank
from ..diffusion.guides.guide import ATTENTION, BANK, MASKS, SOURCE, GuideContext
from ..diffusion.noise import Noises, open_noises
from ..diffusion.pipeline import PipelineAdapter
from ..diffusion.solver import Solver
from .given_masks import Held
from .presets import SamplingConfig
from .sampling_context import SamplingContext

PIXELS_TOGETHER = 2**19  # through the VAE at once: two pictures of 512 pixels, 512 of 32


@dataclass(frozen=True)
class Opened:
    """One batch, ready for `denoise`. `held`: what is to be the guide image's in each result, where masks are given."""

    solver: Solver
    batch: Batch
    guides: list[BoundGuide]
    attention_resolution: int | None
    held: Sequence[Held] = ()


class Kind(NamedTuple):
    """What the images of one batch share: the guides that act on them, and how much of the schedule they take."""

    guides: tuple[str, ...]
    strength: float


@dataclass
class Opener:
    """Opens batches of one call of a sampler: a generator, its settings, and what the guides look at.

    `context` finds the real image of a request and has the classifier; `masks` knows the object in the image. The bank is moved
    to the device once a label.
    """

    adapter: PipelineAdapter
    sampling: SamplingConfig
    bank: MemoryBank
    context: SamplingContext = field(default_factory=SamplingContext)
    masks: Masks | None = None
    _earlier: dict[int, Tensor] = field(default_factory=dict)
    _earlier_features: dict[int, Tensor] = field(default_factory=dict)

    def guides(self, request: Request) -> tuple[str, ...]:
        """Return the guides of a request that act; those that need the bank do not while it is empty for the class."""
        remembers = self.bank.count(request.label) > 0
        acting = {
            guide.name
            for guide in find_guides(request.guides)
            if guide.acts(self.sampling) and (remembers or BANK not in guide.needed(self.sampling))
        }
        return tuple(name for name in request.guides if name in acting)

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
        guides = find_guides(kind.guides)
        needs = frozenset[str]().union(*(guide.needed(self.sampling) for guide in guides))
        source = self._sources(requests, noises) if SOURCE in needs or kind.strength < 1.0 else None
        first = solver.first(kind.strength)
        held = self._held(requests) if MASKS in needs else []
        context = GuideContext(
            settings=self.sampling,
            requests=requests,
            guides=kind.guides,
            adapter=self.adapter,
            solver=solver,
            noises=noises,
            first=first,
            together=self.together,
            source=source,
            held=self._held_on_latents(held),
            logits=self._logits,
            features=self._features,
            earlier=self._latents_of,
            earlier_features=self._features_of,
        )
        bound = [guide.bind(context) for guide in guides]
        return Opened(
            solver,
            self._batch(requests, noises, solver, source if first else None, first),
            [guide for guide in bound if guide is not None],
            map_resolution(self.adapter, self.sampling) if ATTENTION in needs else None,
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
        assert self.context.guide_image is not None, "a request that starts from a real image needs a resolver for its source"
        pictures = [fit_square(self.context.guide_image(request), self.adapter.image_size) for request in requests]
        pixels = stack_pixels(pictures).float() / 127.5 - 1.0
        pairs = zip(pixels.split(self.together), noises.vae.split(self.together), strict=True)
        return torch.cat([self.adapter.encode_image(some, noise) for some, noise in pairs])

    def _held(self, requests: Sequence[Request]) -> list[Held]:
        """Return what is held of each request's real image."""
        assert self.masks is not None, "given masks must be opened before"
        assert self.context.guide_image is not None, "a given mask needs a resolver for its source"
        held = []
        for request in requests:
            assert request.source is not None
            image = self.context.guide_image(request)
            mask = self.masks.of(request.source.key, image)
            held.append(Held.of(image, mask, self.adapter.image_size, self.sampling.image.keep))
        return held

    def _held_on_latents(self, held: Sequence[Held]) -> Tensor | None:
        """Return [B, 1, h, w] on the device; None where nothing is held."""
        if not held:
            return None
        return torch.stack([one.on_latents(*self.adapter.latent_shape[1:]) for one in held]).to(self.adapter.device)

    def _latents_of(self, label: int) -> Tensor:
        """Return the bank of a label on the device, [M, C, h, w]."""
        if label not in self._earlier:
            self._earlier[label] = self.bank.latents_of(label).to(self.adapter.device)
        return self._earlier[label]

    def _features_of(self, label: int) -> Tensor:
        """Return the features of the bank of a label, [M, D]."""
        if label not in self._earlier_features:
            latents = self.bank.latents_of(label).to(self.adapter.device)
            with torch.no_grad():
                self._earlier_features[label] = torch.cat([self._features(some) for some in latents.split(self.together)])
        return self._earlier_features[label]

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
        assert self.context.classifier is not None, "a guide that needs the classifier is given one"
        return self.context.classifier


def make_own_solver(adapter: PipelineAdapter, sampling: SamplingConfig) -> Solver:
    """Return the solver that the settings ask for on this generator; `UserError` if it cannot take it."""
    return adapter.solver(
        sampling.num_inference_steps, scheduler=sampling.scheduler, eta=sampling.eta, previous=sampling.previous
    )


def map_resolution(adapter: PipelineAdapter, sampling: SamplingConfig) -> int:
    """Return the size of the attention maps that the settings ask for on this generator."""
    return adapter.map_resolution(sampling.attention_resolution)
