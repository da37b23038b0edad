"""Gradient guidance: a normalised gradient step on the text embedding (ActGen, c_{t-1} = c_t - nu grad / ||grad||).

L = L_contra + lambda * L_adv on the predicted clean latent; see `losses.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..diffuse.denoise import Step
from ..errors import UserError
from . import losses

NORMS = ("image", "token-columns")


@dataclass(frozen=True, kw_only=True)
class TextGuidance:
    """Hyper-parameters of the text gradient.

    `until`: the gradient is taken in steps below this fraction of the schedule. `norm`: "image" is the L2 norm over an image's
    whole embedding; "token-columns" that of each (half, channel) over the tokens, as in the released code. `margin` is given
    for 4x64x64 latents and follows the latent size unless `margin_scaled` is off. `double_mapped` feeds the classifier images
    mapped twice and shrunk without antialiasing, as the released code does and its preset `code` repeats.
    """

    step_size: float = 0.05
    until: float = 0.25
    norm: str = "image"
    both_halves: bool = False
    margin: float = 200.0
    margin_scaled: bool = True
    adversarial_weight: float = 0.1
    double_mapped: bool = False

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UserError(f"text.norm = {self.norm!r} is unknown; allowed: {', '.join(NORMS)}.")


class BoundText:
    """`TextGuidance` for the images of one batch.

    `banks`: earlier latents for each image ([M, C, H, W], M may be 0; empty tuple: contrastive loss off). `view`: clean latents
    -> logits [B, K] of the classifier (None: adversarial loss off).
    """

    def __init__(
        self, options: TextGuidance, steps: int, labels: Tensor, banks: Sequence[Tensor],
        view: Callable[[Tensor], Tensor] | None,
    ) -> None:  # fmt: skip
        self.options, self.labels, self.banks, self.view = options, labels, banks, view
        self.last = round(options.until * steps)
        self.loss: Tensor | None = None

    def reads_attention(self, index: int) -> bool:
        """Never."""
        return False

    def reads_gradient(self, index: int) -> bool:
        """In the first part of the schedule, when there is a loss to differentiate."""
        return index < self.last and (self.view is not None or any(len(bank) for bank in self.banks))

    def bend(self, step: Step) -> Step:
        """Take the gradient step on the text; images without an active loss keep theirs."""
        if not self.reads_gradient(step.index):
            return step
        with torch.enable_grad():
            loss = self._loss(step.x0)
        self.loss = loss.detach()
        if self.view is None and not bool((self.loss > 0).any()):
            return step  # every distance exceeds the margin: the gradient is zero
        (gradient,) = torch.autograd.grad(loss.sum(), step.text)
        direction = normalise(gradient, self.options.norm, self.options.both_halves)
        return step.with_next_text(step.next_text - self.options.step_size * direction)

    def _loss(self, x0: Tensor) -> Tensor:
        x0 = x0.float()
        loss = x0.new_zeros(len(x0)) + 0.0 * x0.flatten(1).sum(dim=1)
        if self.banks:
            entries = x0[0].numel()
            margin = self.options.margin
            margin = losses.scaled_margin(margin, entries) if self.options.margin_scaled else margin
            loss = loss + losses.contrastive(x0, self.banks, margin)
        if self.view is not None:
            loss = loss + self.options.adversarial_weight * losses.adversarial(self.view(x0), self.labels)
        return loss


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
