"""Zero-shot classification by a CLIP-type model (Radford et al. 2021): images and class prompts -> probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from ..core.assets import BUNDLED, bundled_clip
from ..core.class_words import class_prompt
from ..core.errors import UserError
from ..core.text import brief, first_line
from ..data.datasets.idx import FASHION_MNIST_CLASSES

if TYPE_CHECKING:
    from transformers import CLIPModel, CLIPProcessor

KINDS = ("clip", "vision-text-dual-encoder")
"""Configurations of transformers whose models have CLIP's features, padding and scale."""


class ZeroShot:
    """Gives an image's likeness to K classes; `model` is a folder, a hub id or "bundled", which knows Fashion-MNIST only.

    `CLIPModel` of transformers and what has its faces (`VisionTextDualEncoderModel`), with tokenizer and image processor.
    """

    def __init__(
        self,
        model: str,
        class_names: Sequence[str],
        device: str = "cpu",
        *,
        prompts: Mapping[str, str] | None = None,
        given: str,
    ) -> None:
        """`prompts`: of classes that have one of their own. `given` says in errors where `model` was asked for.

        `UserError` if it cannot be loaded, compares no images with texts, or does not know the classes.
        """
        if model == BUNDLED and (unknown := [name for name in class_names if name not in FASHION_MNIST_CLASSES]):
            raise UserError(
                f"{given} {model!r} knows Fashion-MNIST only, not {brief(unknown[0])}. Give the folder or hub "
                "id of a CLIP model, or leave it empty."
            )
        own = prompts or {}
        self.prompts, self.device = [own.get(name, class_prompt(name)) for name in class_names], device
        try:
            self._model, self._processor = _opened(str(bundled_clip()) if model == BUNDLED else model, given)
            self._model.to(device)
            self.probabilities([Image.new("RGB", (32, 32))])  # a fault is found now, not after hours
        except UserError:
            raise
        except Exception as error:  # what a hub that is not there and damaged files raise has no end
            raise UserError(
                f"{given} {brief(model)} cannot be loaded ({type(error).__name__}: {first_line(error)}). Give the "
                "folder or hub id of a CLIP model with its tokenizer and image processor, or leave it "
                "empty."
            ) from error

    @property
    def network(self) -> torch.nn.Module:
        """The model itself."""
        network: torch.nn.Module = self._model
        return network

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
        conditioning = self._processor(text=self.prompts, return_tensors="pt", padding=True, truncation=True).to(self.device)
        with torch.no_grad():
            return torch.nn.functional.normalize(_pooled(self._model.get_text_features(**conditioning)))


def _opened(name: str, given: str) -> tuple[CLIPModel, CLIPProcessor]:
    """Return a model and its processor; no code of a model's repository is run, nor kernels that its configuration names."""
    from transformers import AutoConfig, AutoModel, AutoProcessor

    config = AutoConfig.from_pretrained(name, trust_remote_code=False)
    if config.model_type not in KINDS:
        raise UserError(
            f"{given} {brief(name)} is a {brief(config.model_type)}, which does not compare images with texts as "
            f"CLIP does. Give the folder or hub id of one of {', '.join(KINDS)}."
        )
    model = AutoModel.from_pretrained(
        name, config=config, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, attn_implementation="eager"
    )
    return model.eval(), AutoProcessor.from_pretrained(name, trust_remote_code=False)


def _pooled(features: Any) -> Tensor:
    """Return the projected features: older versions of transformers return them alone, newer ones in an object."""
    found: Tensor = features if isinstance(features, Tensor) else features.pooler_output
    return found
