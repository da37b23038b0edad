"""Gradient guidance: a normalised gradient step on the text embedding (ActGen).

    c_{t-1} = c_t - nu grad / ||grad||                                       as printed                       (1)
    c_{t-1} = c_t - nu ||c_S|| grad_S / ||grad_S||                           relative, ours                   (2)
    x0'     = x0 - w level d,    d = dL/dx0 of root mean square 1            through the latent               (3)

(3) needs no backward pass through the network, whose graph does not fit beside a large one; what enters the next step
follows from x0' by the solver, which is linear in x0. S are the tokens of the prompt that are no padding,
L = L_contra + lambda * L_adv on the predicted clean latent (`losses.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from ...core.errors import UserError
from ...core.options import Choices, Text, options
from ..denoising import BoundGuide, Step
from ..solver import Solver
from . import losses
from .guide import BANK, CLASSIFIER, Guide, GuideContext, GuideSettings

IMAGE, COLUMNS, RELATIVE = "image", "token-columns", "relative"
NORMS = (IMAGE, COLUMNS, RELATIVE)
FEATURES = "features"
SPACES = ("latents", FEATURES)
CONTRASTIVE, ADVERSARIAL = "contrastive", "adversarial"
AUTO, NETWORK, LATENT = "auto", "network", "latent"
THROUGH = (AUTO, NETWORK, LATENT)
LARGEST = 4_500_000_000  # parameters of a network that a gradient passes on a card of 24 GiB (docs: which generator)
LOSS_SCALE = 2.0**12


@options("sampling.text")
class TextGuidance:
    """Hyper-parameters of the text gradient.

    `norm`: "relative" is (2), where `step_size` is a share of the embedding, so that it means the same for every length of
    prompt and embedding; it moves the conditional branch alone. "image" is (1) with the L2 norm over an image's whole
    embedding; "token-columns" with that of each (branch, channel) over the tokens, as in the released code, whose step of 0.05
    so has the length 0.05 sqrt(2 D): 2.26 at Stable Diffusion 2.1's width D = 1024, about 0.01 of its embedding. For a step as
    long, preset `paper` takes 2.26. The bundled generator's share was chosen on validation images (`benchmarks/text_step.py`).
    """

    step_size: Annotated[float, Field(ge=0, le=100, description="Length of a gradient step, by `norm`.")] = 0.01
    until: Annotated[
        float, Field(ge=0, le=1, description="Take the gradient in this first fraction of the schedule; 0: both losses off.")
    ] = 0.25
    norm: Annotated[str, Choices(NORMS), Field(description="What a gradient is divided by.")] = RELATIVE
    both_branches: Annotated[bool, Field(description="Move the empty prompt's embedding, too.")] = False
    through: Annotated[
        str,
        Choices(THROUGH),
        Field(description="The gradient moves the text, through the network, or the predicted latent; auto: by its size."),
    ] = AUTO
    latent_step: Annotated[
        float, Field(ge=0, le=100, description="w of a step through the latent, in units of the noise that is left.")
    ] = 0.1
    margin: Annotated[
        float, Field(ge=0, le=1e9, description="Distance beyond which earlier images repel no more, for 4x64x64 latents.")
    ] = 200.0
    margin_scaled: Annotated[bool, Field(description="The margin follows the latent size.")] = True
    contrast_in: Annotated[
        str,
        Choices(SPACES),
        Field(description="Distances between latents (the paper), or between the classifier's features of unit length."),
    ] = "latents"
    feature_margin: Annotated[float, Field(ge=0, le=2, description="The margin between features.")] = 1.0
    adversarial_weight: Annotated[float, Field(ge=0, le=1e6, description="Lambda, the weight of the classifier's loss.")] = 0.1
    decoder: Annotated[
        Text, Field(description="Makes what the classifier sees: full, half (half the size), or an AutoencoderTiny.")
    ] = "full"
    view_scale: Annotated[
        float, Field(ge=0, le=1e3, description="Latent scale for that; 0: the VAE's own; the released code has 0.18215.")
    ] = 0.0
    double_mapped: Annotated[
        bool,
        Field(description="Show the classifier images mapped twice and shrunk without antialiasing (the released code)."),
    ] = False

    def __post_init__(self) -> None:
        if self.norm == RELATIVE and self.both_branches:
            raise UserError(
                "sampling.text.both_branches = true with sampling.text.norm = relative: a relative step moves the "
                "conditional branch alone. Leave out both_branches, or give norm = image or token-columns."
            )


class BoundText(BoundGuide):
    """`TextGuidance` for the images of one batch.

    `banks`: earlier points by label, [M, D] on the device (no entry: nothing to repel from). `point` turns clean latents
    [B, C, h, w] into points [B, D] of the same space (None: the latents themselves). `view`: clean latents -> logits [B, K] of
    the classifier (None: adversarial loss off). `together`: how many images are decoded in one graph.
    `real_BL`: which tokens are no padding (None: all), for a relative step. `solver`: moves the latents by (3), not the text.
    """

    def __init__(
        self,
        options: TextGuidance,
        steps: int,
        labels: Tensor,
        banks: Mapping[int, Tensor],
        view: Callable[[Tensor], Tensor] | None,
        point: Callable[[Tensor], Tensor] | None = None,
        together: int = 64,
        real_BL: Tensor | None = None,
        solver: Solver | None = None,
    ) -> None:
        self.options, self.labels, self.view = options, labels, view
        self.named: list[int] = labels.tolist()
        self.banks = {label: bank for label, bank in banks.items() if len(bank) and label in self.named}
        self.point, self.together, self.real, self.solver = point, together, real_BL, solver
        self.last = max(1, round(options.until * steps)) if options.until > 0 else 0
        self.loss: Tensor | None = None

    def gradient_branches(self, index: int) -> int:
        """The branches that move, in the first part of the schedule, when there is a loss to differentiate."""
        if self.solver is not None or not self._acts(index):
            return 0
        return 2 if self.options.both_branches else 1

    def _acts(self, index: int) -> bool:
        return index < self.last and (self.view is not None or bool(self.banks))

    def apply(self, step: Step) -> Step:
        """Take the gradient step on the text, or on the latents; images without an active loss keep theirs."""
        if not self._acts(step.index):
            return step
        pull, size = self._pull(step.x0.detach())
        if not bool(size.any()):
            return step  # every distance exceeds the margin
        if self.solver is not None:
            weight = float(self.solver.x0_weight[step.index] * self.solver.level[step.index]) * self.options.latent_step
            return step.with_next_latents(step.next_latents - weight * pull)
        (gradient,) = torch.autograd.grad(step.x0, step.text, pull)
        direction = self._direction(gradient.float() * size.view(1, -1, 1, 1), step.text.detach())
        return step.with_next_text(step.next_text - self.options.step_size * direction)

    def _direction(self, gradient_2BLD: Tensor, text_2BLD: Tensor) -> Tensor:
        if self.options.norm == RELATIVE:
            return relative(gradient_2BLD, text_2BLD, self.real)
        return normalise(gradient_2BLD, self.options.norm, self.options.both_branches)

    def _pull(self, x0: Tensor) -> tuple[Tensor, Tensor]:
        """Return dL/dx0 as direction [B, C, h, w] of unit size and size [B], 0 without an active loss.

        A few images at a time, since their decoders' graphs are the largest of all; the loss scaled up and the direction of
        unit size, so that nothing vanishes in float16.
        """
        pulls, found = [], []
        for start in range(0, len(x0), self.together):
            rows = slice(start, start + self.together)
            leaf = x0[rows].clone().requires_grad_()
            with torch.enable_grad():
                loss = self._loss(leaf, rows)
            found.append(loss.detach())
            scaled = (loss * LOSS_SCALE).sum()
            pulls.append(torch.autograd.grad(scaled, leaf)[0] if loss.requires_grad else torch.zeros_like(leaf))
        self.loss, pull = torch.cat(found), torch.nan_to_num(torch.cat(pulls), posinf=0.0, neginf=0.0)
        size = pull.square().mean(dim=(1, 2, 3)).sqrt()
        return pull / torch.where(size > 0, size, torch.ones_like(size)).view(-1, 1, 1, 1), size / LOSS_SCALE

    def _loss(self, x0: Tensor, rows: slice) -> Tensor:
        loss = x0.new_zeros(len(x0))
        if self.banks:
            points = x0.flatten(1) if self.point is None else self.point(x0)
            loss = loss + losses.contrastive(points, self.named[rows], self.banks, self._margin(x0))
        if self.view is not None:
            loss = loss + self.options.adversarial_weight * losses.adversarial(self.view(x0), self.labels[rows])
        return loss

    def _margin(self, x0: Tensor) -> float:
        options = self.options
        if self.point is not None:
            return options.feature_margin
        return losses.scaled_margin(options.margin, x0[0].numel()) if options.margin_scaled else options.margin


def relative(gradient_2BLD: Tensor, text_2BLD: Tensor, real_BL: Tensor | None = None) -> Tensor:
    """Return the gradient by the prompts' real tokens, as long as their embedding (2); 0 for padding and the other branch.

    Entries that are not finite become 0, and so does an image without a gradient.
    """
    real = torch.ones_like(text_2BLD[-1, ..., :1]) if real_BL is None else real_BL.to(text_2BLD).unsqueeze(-1)
    gradient = torch.nan_to_num(gradient_2BLD[-1].float(), posinf=0.0, neginf=0.0) * real
    length, size = (tensor.square().sum(dim=(1, 2), keepdim=True).sqrt() for tensor in (gradient, text_2BLD[-1] * real))
    return torch.stack([torch.zeros_like(gradient)] * (len(gradient_2BLD) - 1) + [gradient * size / length.clamp(min=1e-12)])


def normalise(gradient_2BLD: Tensor, norm: str, both_branches: bool) -> Tensor:
    """Return the gradient with unit norm (see `TextGuidance.norm`); zeros and non-finite entries become 0."""
    gradient = gradient_2BLD.float()
    if not both_branches:
        gradient = torch.cat([torch.zeros_like(gradient[:-1]), gradient[-1:]])
    gradient = torch.nan_to_num(gradient, posinf=0.0, neginf=0.0)
    if norm == COLUMNS:
        return F.normalize(gradient, dim=2, eps=1e-12)
    length = gradient.square().sum(dim=(0, 2, 3), keepdim=True).sqrt()
    return gradient / length.clamp(min=1e-12)


class TextGuide(Guide):
    """A loss of `TextGuidance` as a guide. Both losses of a batch share one gradient step, which the first of them binds."""

    def acts(self, settings: GuideSettings) -> bool:
        """If there are gradient steps."""
        return settings.of(TextGuidance).until > 0

    def bind(self, context: GuideContext) -> BoundText | None:
        """Return the gradient step for all losses that act on the batch; None if it is bound for `contrastive` already."""
        if self.name == ADVERSARIAL and CONTRASTIVE in context.guides:
            return None
        options, device = context.settings.of(TextGuidance), context.adapter.device
        labels = torch.tensor([request.label for request in context.requests], device=device)
        earlier, point = _points(context, options)
        banks = {label: earlier(label) for label in set(labels.tolist())} if CONTRASTIVE in context.guides else {}
        view = context.logits if ADVERSARIAL in context.guides else None
        real = pad_sequence([context.adapter.real_tokens(request.prompt) for request in context.requests], batch_first=True)
        through = options.through if options.through != AUTO else LATENT if context.adapter.parameters > LARGEST else NETWORK
        solver = context.solver if through == LATENT else None
        return BoundText(options, len(context.solver), labels, banks, view, point, context.together, real.to(device), solver)


class ContrastiveGuide(TextGuide):
    """Away from what was generated before."""

    name = CONTRASTIVE
    needs = frozenset({BANK, CLASSIFIER})

    def needed(self, settings: GuideSettings) -> frozenset[str]:
        """The bank, and the classifier for distances between its features."""
        return self.needs if settings.of(TextGuidance).contrast_in == FEATURES else frozenset({BANK})


class AdversarialGuide(TextGuide):
    """Towards what the classifier gets wrong."""

    name = ADVERSARIAL
    needs = frozenset({CLASSIFIER})


def _points(context: GuideContext, options: TextGuidance) -> tuple[Callable[[int], Tensor], Callable[[Tensor], Tensor] | None]:
    """Return the bank of a label as points [M, D], and what turns clean latents into such points (None: flattening)."""
    if options.contrast_in == FEATURES:
        return context.earlier_features, context.features
    return lambda label: context.earlier(label).flatten(1), None
