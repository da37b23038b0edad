"""Prompts -> what the UNet reads of them while it, and perhaps the text encoders, are trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..diffusion.pipeline import Conditions, PipelineAdapter


def encode_texts(adapter: PipelineAdapter, prompts: Sequence[str], dropped_B: Tensor, size: int, *, graph: bool) -> Conditions:
    """Return the conditions of B prompts, of the unconditional text where `dropped_B` is true.

    With `graph` they carry gradients to the text encoders. `size` (pixels) is what SDXL is told of the images.
    """
    both = _encode_with_graph(adapter, prompts) if graph else adapter.encode_text(prompts)
    dropped = dropped_B.to(both.text_2BLD.device)

    def chosen(tensor_2B: Tensor) -> Tensor:
        mask = dropped.view(-1, *(1,) * (tensor_2B.dim() - 2))
        return torch.where(mask, tensor_2B[0], tensor_2B[1]).expand_as(tensor_2B)

    added = {name: chosen(tensor_2B) for name, tensor_2B in both.added.items() if name != "time_ids"}
    if added:
        sizes = torch.tensor([size, size, 0.0, 0.0, size, size], device=dropped.device)
        added["time_ids"] = sizes.expand(2, len(prompts), 6)
    return Conditions(chosen(both.text_2BLD), added)


def _encode_with_graph(adapter: PipelineAdapter, prompts: Sequence[str]) -> Conditions:
    distinct = sorted(set(prompts))
    out = adapter.pipeline.encode_prompt(
        prompt=distinct, device=adapter.device, num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    where = torch.tensor([distinct.index(prompt) for prompt in prompts], device=adapter.device)

    def spread(tensor: Tensor) -> Tensor:
        # a product, not an index: the backward of indexing adds in an order that changes from run to run
        return torch.einsum("bu,u...->b...", F.one_hot(where, len(distinct)).to(tensor), tensor)

    pairs = [torch.stack([spread(out[k + 1]), spread(out[k])]).float() for k in range(0, len(out), 2)]
    return Conditions(pairs[0], {"text_embeds": pairs[1]} if len(pairs) > 1 else {})
