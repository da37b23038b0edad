"""Gradient guidance: a normalised gradient step on the text embedding (ActGen, c_{t-1} = c_t - nu grad / ||grad||).

L = L_contra + lambda * L_adv on the predicted clean latent; see `losses.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..diffuse.denoise import Step
from ..errors import UserError
from . import losses

NORMS = ("image", "token-columns")
SPACES = ("latents", "features")


@dataclass(frozen=True, kw_only=True)
class TextGuidance:
    """Hyper-parameters of the text gradient.

    `until`: the gradient is taken in steps below this fraction of the schedule; 0 switches both losses off. `norm`: "image" is
    the L2 norm over an image's whole embedding; "token-columns" that of each (half, channel) over the tokens, as in the
    released code. `margin` is given for 4x64x64 latents and follows the latent size unless `margin_scaled` is off.
    `contrast_in`: distances between latents (the paper) or between the classifier's pooled features, scaled to unit length,
    with `feature_margin` (0 to 2): what looks alike to the classifier, which the paper names as missing. `decoder` draws what
    the classifier sees: "full", "half" (half the size) or an AutoencoderTiny. `double_mapped` feeds the classifier images
    mapped twice and shrunk without antialiasing, as the released code does and its preset `code` repeats.
    """

    step_size: float = 0.05
    until: float = 0.25
    norm: str = "image"
    both_halves: bool = False
    margin: float = 200.0
    margin_scaled: bool = True
    contrast_in: str = "latents"
    feature_margin: float = 1.0
    adversarial_weight: float = 0.1
    decoder: str = "full"
    double_mapped: bool = False

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UserError(f"drawing.text.norm = {self.norm!r} is unknown; allowed: {', '.join(NORMS)}.")
        if self.contrast_in not in SPACES:
            raise UserError(f"drawing.text.contrast_in = {self.contrast_in!r} is unknown; allowed: {', '.join(SPACES)}.")


class BoundText:
    """`TextGuidance` for the images of one batch.

    `banks`: earlier points by label, [M, D] on the device (no entry: nothing to repel from). `point` turns clean latents
    [B, C, h, w] into points [B, D] of the same space (None: the latents themselves). `view`: clean latents -> logits [B, K] of
    the classifier (None: adversarial loss off). `together`: how many images are decoded in one graph.
    """

    def __init__(
        self, options: TextGuidance, steps: int, labels: Tensor, banks: Mapping[int, Tensor],
        view: Callable[[Tensor], Tensor] | None, point: Callable[[Tensor], Tensor] | None = None, together: int = 64,
    ) -> None:  # fmt: skip
        self.options, self.labels, self.view = options, labels, view
        self.banks = {label: bank for label, bank in banks.items() if len(bank) and label in labels.tolist()}
        self.point, self.together = point, together
        self.last = round(options.until * steps)
        self.loss: Tensor | None = None

    def reads_attention(self, index: int) -> bool:
        """Never."""
        return False

    def gradient_halves(self, index: int) -> int:
        """The halves that move, in the first part of the schedule, when there is a loss to differentiate."""
        if index >= self.last or (self.view is None and not self.banks):
            return 0
        return 2 if self.options.both_halves else 1

    def bend(self, step: Step) -> Step:
        """Take the gradient step on the text; images without an active loss keep theirs."""
        if not self.gradient_halves(step.index):
            return step
        pull = self._pull(step.x0.detach())
        if not bool(pull.any()):
            return step  # every distance exceeds the margin
        (gradient,) = torch.autograd.grad(step.x0, step.text, pull)
        direction = normalise(gradient, self.options.norm, self.options.both_halves)
        return step.with_next_text(step.next_text - self.options.step_size * direction)

    def _pull(self, x0: Tensor) -> Tensor:
        """Return dL/dx0 [B, C, h, w], a few images at a time: their decoders' graphs are the largest of all."""
        pulls, found = [], []
        for some, labels in zip(x0.split(self.together), self.labels.split(self.together), strict=True):
            leaf = some.clone().requires_grad_()
            with torch.enable_grad():
                loss = self._loss(leaf, labels)
            found.append(loss.detach())
            pulls.append(torch.autograd.grad(loss.sum(), leaf)[0] if loss.requires_grad else torch.zeros_like(leaf))
        self.loss = torch.cat(found)
        return torch.cat(pulls)

    def _loss(self, x0: Tensor, labels: Tensor) -> Tensor:
        loss = x0.new_zeros(len(x0))
        if self.banks:
            points = x0.flatten(1) if self.point is None else self.point(x0)
            loss = loss + losses.contrastive(points, labels, self.banks, self._margin(x0))
        if self.view is not None:
            loss = loss + self.options.adversarial_weight * losses.adversarial(self.view(x0), labels)
        return loss

    def _margin(self, x0: Tensor) -> float:
        options = self.options
        if self.point is not None:
            return options.feature_margin
        return losses.scaled_margin(options.margin, x0[0].numel()) if options.margin_scaled else options.margin


def normalise(gradient_2BLD: Tensor, norm: str, both_halves: bool) -> Tensor:
    """Return the gradient with unit norm (see `TextGuidance.norm`); zeros and non-finite entries become 0."""
    gradient = gradient_2BLD.float()
    if not both_halves:
        gradient = torch.cat([torch.zeros_like(gradient[:-1]), gradient[-1:]])
    gradient = torch.nan_to_num(gradient, posinf=0.0, neginf=0.0)
    if norm == "token-columns":
        return F.normalize(gradient, dim=2, eps=1e-12)
    length = gradient.square().sum(dim=(0, 2, 3), keepdim=True).sqrt()
    return gradient / length.clamp(min=1e-12)
