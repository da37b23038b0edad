"""Label consistency by CLIP (Radford et al. 2021), for those who have such a model: zero-shot over the class prompts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError
from ..prompts import class_prompt
from ..records import Sample
from .base import KEPT, Verdict, View


class ClipConsistency:
    """Refuses a picture whose class is not among the first `top_k` of CLIP's; `model` is a folder or a hub id."""

    name = "clip"

    def __init__(
        self, model: str, top_k: int, class_names: Sequence[str], device: str = "cpu", *, given: str = "filters.clip ="
    ) -> None:  # fmt: skip
        from transformers import CLIPModel, CLIPProcessor

        self.top_k, self.class_names, self.device = top_k, class_names, device
        try:
            self._clip: Any = CLIPModel.from_pretrained(model, use_safetensors=True).eval().to(device)
            self._processor: Any = CLIPProcessor.from_pretrained(model)
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{given} {model!r} cannot be loaded ({reason}). Give the folder or hub id of a CLIP model "
                            "with its tokenizer and image processor, or leave it empty.") from error  # fmt: skip

    def judge(self, sample: Sample, view: View) -> Verdict:
        """Ask CLIP which prompt fits."""
        probabilities = self.probabilities(sample.image)
        own = float(probabilities[sample.request.label])
        rank = 1 + int((probabilities > own).sum())
        if rank <= self.top_k:
            return KEPT
        return Verdict(filter=self.name, reason=f"{sample.request.class_name} is CLIP's choice {rank} ({own:.3f})",
                       score=round(own, 6))  # fmt: skip

    @torch.no_grad()
    def probabilities(self, image: Image.Image) -> Tensor:
        """Return what CLIP gives to the prompts of the K classes, [K]."""
        seen = self._processor(images=[image], return_tensors="pt").to(self.device)
        features = _pooled(self._clip.get_image_features(**seen))
        alike = torch.nn.functional.normalize(features) @ self._features_KD.T
        found: Tensor = (self._clip.logit_scale.exp() * alike)[0].softmax(dim=0).cpu()
        return found

    @property
    def prompts(self) -> list[str]:
        """The prompts of the K classes."""
        return [class_prompt(name) for name in self.class_names]

    @cached_property
    def _features_KD(self) -> Tensor:
        """Unit text features of the class prompts, [K, D]."""
        told = self._processor(text=self.prompts, return_tensors="pt", padding=True, truncation=True).to(self.device)
        with torch.no_grad():
            return torch.nn.functional.normalize(_pooled(self._clip.get_text_features(**told)))


def _pooled(features: Any) -> Tensor:
    """Return the projected features: older versions of transformers return them alone, newer ones in an object."""
    found: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return found
