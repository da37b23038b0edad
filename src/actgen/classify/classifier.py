"""One face over image classifiers: pictures in [0, 1] -> logits, whatever the model was made for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..borrowing import frozen
from ..errors import UserError
from .small_cnn import SmallCNN

SMALL_CNN = "actgen/small-cnn"


class Classifier(nn.Module):
    """A model with what it expects: [B, 3, S, S] in [0, 1] of any size -> logits [B, K].

    Images of another size are resized (bilinear, antialiased when shrinking), then normalised by `mean` and `std`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model, self.image_size = model, image_size
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, K]."""
        out: Tensor = self.model(self._prepared(images))
        return out

    def features(self, images: Tensor) -> Tensor:
        """Return what the last layer sees, [B, D]; `UserError` if the model does not show it."""
        model: Any = self.model
        if isinstance(model, SmallCNN):
            return model.features(self._prepared(images))
        if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
            raise UserError(f"a {type(model).__name__} does not show its features. Use a timm model or {SMALL_CNN}, or "
                            'drawing.text.contrast_in = "latents".')  # fmt: skip
        return model.forward_head(model.forward_features(self._prepared(images)), pre_logits=True)  # type: ignore[no-any-return]

    def _prepared(self, images: Tensor) -> Tensor:
        if images.shape[-1] != self.image_size:
            images = F.interpolate(images, (self.image_size, self.image_size), mode="bilinear", antialias=True)
        normal = (images - self.mean) / self.std
        return normal.contiguous(memory_format=torch.channels_last)


def create_classifier(name: str, classes: int, *, data_size: int, image_size: int = 0, seed: int = 0) -> Classifier:
    """Return an untrained classifier: any timm name, or `actgen/small-cnn`.

    `image_size` 0 chooses the model's own size, or the data's (rounded up to 32) where that is smaller and the model allows it.
    The initial weights are a function of `seed`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == SMALL_CNN:
            return Classifier(SmallCNN(classes), image_size or 32, (0.5,) * 3, (0.5,) * 3)
        return _from_timm(name, classes, data_size, image_size)


def _from_timm(name: str, classes: int, data_size: int, image_size: int) -> Classifier:
    import timm

    native = _published(name)
    if native is None:
        near = ", ".join(timm.list_models(f"*{name[:6]}*")[:3]) or "resnet18, vit_small_patch16_224"
        raise UserError(f"--model {name!r} is unknown. Give {SMALL_CNN} or a timm name (like {near}).")
    own = int(native.input_size[-1])
    size = image_size or min(own, max(32, -(-data_size // 32) * 32))
    sized = {"img_size": size} if native.fixed_input_size else {}
    try:
        model = timm.create_model(name, pretrained=False, num_classes=classes, **sized)
        classifier = Classifier(model.to(memory_format=torch.channels_last), size, native.mean, native.std)
        with torch.no_grad(), frozen(classifier):
            classifier(torch.zeros(1, 3, size, size))
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"--model {name} cannot be made for {size}-pixel images ({reason}). "
                        f"Give --set model.image_size={own}, the model's own size.") from error  # fmt: skip
    return classifier


def _published(name: str) -> Any:
    """Return what timm knows of the weights `name`: input size, mean, std; None if there is no such model or tag."""
    import timm

    try:
        return timm.get_pretrained_cfg(name) if timm.is_model(name.split(".")[0]) else None
    except RuntimeError:
        return None
