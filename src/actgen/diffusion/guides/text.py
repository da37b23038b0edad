"""Gradient guidance: a normalised gradient step on the text embedding (ActGen, c_{t-1} = c_t - nu grad / ||grad||).

L = L_contra + lambda * L_adv on the predicted clean latent; see `losses.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...core.errors import refuse_unknown
from ..denoising import Step
from . import losses

NORMS = ("image", "token-columns")
SPACES = ("latents", "features")
LOSS_SCALE = 2.0**12


@dataclass(frozen=True, kw_only=True)
class TextGuidance:
    """Hyper-parameters of the text gradient.

    `until`: the gradient is taken in steps below this fraction of the schedule; 0 switches both losses off. `norm`: "image" is
    the L2 norm over an image's whole embedding; "token-columns" that of each (half, channel) over the tokens, as in the
    released code. `margin` is given for 4x64x64 latents and follows the latent size unless `margin_scaled` is off.
    `contrast_in`: distances between latents (the paper) or between the classifier's pooled features, scaled to unit length,
    with `feature_margin` (0 to 2): what looks alike to the classifier, which the paper names as missing. `decoder` generates
    what the classifier sees: "full", "half" (half the size) or an AutoencoderTiny; `view_scale`: with this latent
    scale (0: the VAE's own; the released code has 0.18215 written out). `double_mapped` feeds the classifier images
    mapped twice and shrunk without antialiasing, as the released code does and its preset `code` repeats.
    """

    step_size: float = 0.05
    until: float = 0.25
    norm: str = "image"
    both_branches: bool = False
    margin: float = 200.0
    margin_scaled: bool = True
    contrast_in: str = "latents"
    feature_margin: float = 1.0
    adversarial_weight: float = 0.1
    decoder: str = "full"
    view_scale: float = 0.0
    double_mapped: bool = False

    def __post_init__(self) -> None:
        refuse_unknown("sampling.text.norm =", self.norm, NORMS)
        refuse_unknown("sampling.text.contrast_in =", self.contrast_in, SPACES)


class BoundText:
    """`TextGuidance` for the images of one batch.

    `banks`: earlier points by label, [M, D] on the device (no entry: nothing to repel from). `point` turns clean latents
    [B, C, h, w] into points [B, D] of the same space (None: the latents themselves). `view`: clean latents -> logits [B, K] of
    the classifier (None: adversarial loss off). `together`: how many images are decoded in one graph.
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
    ) -> None:
        self.options, self.labels, self.view = options, labels, view
        self.named: list[int] = labels.tolist()
        self.banks = {label: bank for label, bank in banks.items() if len(bank) and label in self.named}
        self.point, self.together = point, together
        self.last = max(1, round(options.until * steps)) if options.until > 0 else 0
        self.loss: Tensor | None = None

    def reads_attention(self, index: int) -> bool:
        """Never."""
        return False

    def gradient_branches(self, index: int) -> int:
        """The halves that move, in the first part of the schedule, when there is a loss to differentiate."""
        if index >= self.last or (self.view is None and not self.banks):
            return 0
        return 2 if self.options.both_branches else 1

    def apply(self, step: Step) -> Step:
        """Take the gradient step on the text; images without an active loss keep theirs."""
        if not self.gradient_branches(step.index):
            return step
        pull, size = self._pull(step.x0.detach())
        if not bool(size.any()):
            return step  # every distance exceeds the margin
        (gradient,) = torch.autograd.grad(step.x0, step.text, pull)
        direction = normalise(gradient.float() * size.view(1, -1, 1, 1), self.options.norm, self.options.both_branches)
        return step.with_next_text(step.next_text - self.options.step_size * direction)

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


def normalise(gradient_2BLD: Tensor, norm: str, both_branches: bool) -> Tensor:
    """Return the gradient with unit norm (see `TextGuidance.norm`); zeros and non-finite entries become 0."""
    gradient = gradient_2BLD.float()
    if not both_branches:
        gradient = torch.cat([torch.zeros_like(gradient[:-1]), gradient[-1:]])
    gradient = torch.nan_to_num(gradient, posinf=0.0, neginf=0.0)
    if norm == "token-columns":
        return F.normalize(gradient, dim=2, eps=1e-12)
    length = gradient.square().sum(dim=(0, 2, 3), keepdim=True).sqrt()
    return gradient / length.clamp(min=1e-12)
