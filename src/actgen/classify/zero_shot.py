"""Zero-shot classification by a CLIP-type model (Radford et al. 2021): images and class prompts -> probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..data.idx import FASHION_MNIST_CLASSES
from ..errors import UserError
from ..plain import brief
from ..prompts import class_prompt
from ..shipped import BUNDLED, bundled_clip


class ZeroShot:
    """Gives an image's likeness to K classes; `model` is a folder, a hub id or "bundled", which knows Fashion-MNIST only.

    `CLIPModel` of transformers and what has its faces (`VisionTextDualEncoderModel`), with tokenizer and image processor.
    """

    def __init__(
        self, model: str, class_names: Sequence[str], device: str = "cpu", *, prompts: Mapping[str, str] | None = None,
        given: str,
    ) -> None:  # fmt: skip
        """`prompts`: of classes that have one of their own. `given` says in errors where `model` was asked for.

        `UserError` if it cannot be loaded, compares no images with texts, or does not know the classes.
        """
        from transformers import AutoModel, AutoProcessor

        if model == BUNDLED and (unknown := [name for name in class_names if name not in FASHION_MNIST_CLASSES]):
            raise UserError(f"{given} {model!r} knows Fashion-MNIST only, not {brief(unknown[0])}. Give the folder or hub "
                            "id of a CLIP model, or leave it empty.")  # fmt: skip
        own = prompts or {}
        self.prompts, self.device = [own.get(name, class_prompt(name)) for name in class_names], device
        name = str(bundled_clip()) if model == BUNDLED else model
        try:
            self._model: Any = AutoModel.from_pretrained(name, dtype=torch.float32, use_safetensors=True).eval().to(device)
            self._processor: Any = AutoProcessor.from_pretrained(name)
        except (OSError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise UserError(f"{given} {model!r} cannot be loaded ({reason}). Give the folder or hub id of a CLIP model "
                            "with its tokenizer and image processor, or leave it empty.") from error  # fmt: skip
        if not all(hasattr(self._model, part) for part in ("get_image_features", "get_text_features", "logit_scale")):
            raise UserError(f"{given} {model!r} is a {type(self._model).__name__}, which does not compare images with texts. "
                            "Give the folder or hub id of a CLIP model.")  # fmt: skip

    @torch.no_grad()
    def probabilities(self, images: Sequence[Image.Image]) -> Tensor:
        """Return what B images have in common with the prompts, as probabilities [B, K]."""
        seen = self._processor(images=list(images), return_tensors="pt").to(self.device)
        features = _pooled(self._model.get_image_features(**seen))
        alike = torch.nn.functional.normalize(features) @ self._features_KD.T
        found: Tensor = (self._model.logit_scale.exp() * alike).softmax(dim=1).cpu()
        return found

    @cached_property
    def _features_KD(self) -> Tensor:
        """Unit text features of the class prompts, [K, D]."""
        told = self._processor(text=self.prompts, return_tensors="pt", padding=True, truncation=True).to(self.device)
        with torch.no_grad():
            return torch.nn.functional.normalize(_pooled(self._model.get_text_features(**told)))


def _pooled(features: Any) -> Tensor:
    """Return the projected features: older versions of transformers return them alone, newer ones in an object."""
    found: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return found
