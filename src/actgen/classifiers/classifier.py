"""One face over image classifiers: pictures in [0, 1] -> logits, whatever the model was made for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import UserError
from ..core.frozen import frozen
from ..core.options import Choices, Text, options
from ..data.datasets.imageset import WHOLE, View
from .from_transformers import HUB, input_of, is_transformers, open_transformers
from .small_cnn import SmallCNN
from .stem import STEMS, shrink_stem
from .timm_names import near, plain_name, published
from .weights import load_weights

SMALL_CNN, TINY_CNN = "actgen/small-cnn", "actgen/tiny-cnn"
OWN_MODELS = {SMALL_CNN: 32, TINY_CNN: 16}
"""Our own models and their width."""
FREEZES = ("none", "backbone")
INTERPOLATIONS = ("bilinear", "bicubic")


class Classifier(nn.Module):
    """A model with what it expects: [B, 3, S, S] in [0, 1] of any size -> logits [B, K].

    Images of another size are resized (bilinear, antialiased when shrinking), then normalised by `mean` and `std`. `view` is
    how images are cut and resized that it is tested on.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, image_size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model, self.image_size, self.view = model, image_size, WHOLE
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))
        self._head_only = False

    @property
    def head(self) -> nn.Module:
        """The last layer; `UserError` if the model does not show it."""
        model: Any = self.model
        head = model.head if isinstance(model, SmallCNN) else getattr(model, "get_classifier", lambda: None)()
        head = getattr(model, "classifier", None) if is_transformers(model) else head
        if not isinstance(head, nn.Module) or not any(True for _ in head.parameters()):
            raise UserError(
                f"a {type(model).__name__} does not show its last layer. Use a timm model or {SMALL_CNN}, without "
                'model.checkpoint and with model.freeze = "none".'
            )
        return head

    def freeze_backbone(self) -> None:
        """Let only the last layer learn; all else stays as it is, statistics of batch norms too."""
        head = self.head
        self.model.requires_grad_(False)
        head.requires_grad_(True)
        self._head_only = True

    def train(self, mode: bool = True) -> Self:
        """Set the training mode; a frozen backbone stays in eval mode."""
        super().train(mode)
        if self._head_only:
            self.model.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, K]."""
        out: Any = self.model(self._prepared(images))
        logits: Tensor = out if isinstance(out, Tensor) else out.logits  # transformers' models return several things
        return logits

    def features(self, images: Tensor) -> Tensor:
        """Return what the last layer sees, [B, D]; `UserError` if the model does not show it."""
        model: Any = self.model
        if isinstance(model, SmallCNN):
            return model.features(self._prepared(images))
        if is_transformers(model):
            return input_of(self.head, model, self._prepared(images))
        if not hasattr(model, "forward_features") or not hasattr(model, "forward_head"):
            raise UserError(
                f"a {type(model).__name__} does not show its features. Use a timm model or {SMALL_CNN}, or "
                'sampling.text.contrast_in = "latents".'
            )
        return model.forward_head(model.forward_features(self._prepared(images)), pre_logits=True)  # type: ignore[no-any-return]

    def _prepared(self, images: Tensor) -> Tensor:
        images = images.to(self.mean.dtype)  # that of the weights
        if images.shape[-1] != self.image_size:
            images = F.interpolate(images, (self.image_size, self.image_size), mode="bilinear", antialias=True)
        normal = (images - self.mean) / self.std
        return normal.contiguous(memory_format=torch.channels_last)


@options("model")
class Model:
    """The classifier, its weights at the start, and which of them learn."""

    name: Annotated[
        Text,
        Field(
            description="actgen/small-cnn, actgen/tiny-cnn, any timm model (also timm/NAME, hf-hub:ID, local-dir:DIR), or of "
            "transformers hf:NAME or hf:FOLDER."
        ),
    ] = SMALL_CNN
    image_size: Annotated[
        int,
        Field(
            ge=0,
            le=4096,
            description="In pixels; 0: the model's own, or for timm the data's (rounded up to 32) where that is smaller and "
            "the model allows it.",
        ),
    ] = 0
    pretrained: Annotated[bool, Field(description="The published weights, from the hub or its cache, or the folder's.")] = False
    checkpoint: Annotated[
        Text,
        Field(
            description="Weights from a .safetensors file of timm or of a run; the last layer is new where the classes differ "
            "in number."
        ),
    ] = ""
    freeze: Annotated[str, Choices(FREEZES), Field(description="backbone: only the last layer learns.")] = "none"
    stem: Annotated[str, Choices(STEMS), Field(description="cifar: a ResNet's first layers for 32-pixel images.")] = "published"
    test_crop: Annotated[
        float,
        Field(ge=0.1, le=1, description="Part of a test image's short side that is looked at: 0.875 is 224 of 256 pixels."),
    ] = 1.0
    interpolation: Annotated[str, Choices(INTERPOLATIONS), Field(description="How a test image is resized.")] = "bilinear"
    drop_path: Annotated[
        float, Field(ge=0, le=0.9, description="Stochastic depth (Huang et al. 2016), for timm models that have it.")
    ] = 0.0

    dropout: Annotated[float, Field(ge=0, le=0.9, description="Before the last layer, for timm models.")] = 0.0

    def __post_init__(self) -> None:
        if self.pretrained and self.checkpoint:
            raise UserError("model.pretrained and model.checkpoint both say where the weights come from. Give one of them.")
        if self.pretrained and (self.stem != "published" or self.name in OWN_MODELS):
            what = self.name if self.name in OWN_MODELS else f"model.stem = {self.stem!r}"
            raise UserError(f"model.pretrained: there are no published weights for {what}. Give model.checkpoint, or neither.")
        if self.name.startswith(HUB) and (self.stem != "published" or self.drop_path or self.dropout):
            raise UserError(
                f"{self.name} has no model.stem, model.drop_path and model.dropout to choose. Use a timm model for these."
            )
        if self.name in OWN_MODELS and (self.stem != "published" or self.drop_path or self.dropout):
            raise UserError(
                f"{self.name} has no model.stem, model.drop_path and model.dropout to choose. Use a timm model for these."
            )


def create_classifier(model: str | Model, classes: int, *, data_size: int, image_size: int = 0, seed: int = 0) -> Classifier:
    """Return a classifier for `classes` classes and images of about `data_size` pixels: any timm name, `hf:`
    and a folder or id of transformers, or one of `OWN_MODELS`.

    A `Model` says more than a name; `image_size` belongs to a name. The initial weights are a function of `seed`.
    """
    wanted = Model(name=model, image_size=image_size) if isinstance(model, str) else model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if wanted.name in OWN_MODELS:
            classifier = Classifier(SmallCNN(classes, OWN_MODELS[wanted.name]), wanted.image_size or 32, (0.5,) * 3, (0.5,) * 3)
        elif wanted.name.startswith(HUB):
            name = wanted.name.removeprefix(HUB)
            classifier = Classifier(*open_transformers(name, classes, wanted.image_size, wanted.pretrained))
        else:
            classifier = _from_timm(wanted, classes, data_size)
    classifier.view = View(wanted.test_crop, wanted.interpolation)
    if wanted.checkpoint:
        load_weights(classifier.model, classifier.head, Path(wanted.checkpoint))
    if wanted.freeze == "backbone":
        classifier.freeze_backbone()
    return classifier


def _from_timm(wanted: Model, classes: int, data_size: int) -> Classifier:

    name = plain_name(wanted.name)
    native = published(name)
    if native is None:
        raise UserError(
            f"--model {wanted.name!r} is unknown. Give {SMALL_CNN}, a timm name (like {near(name)}), or hf: and a "
            "folder or id of transformers."
        )
    own = int(native.input_size[-1])
    size = wanted.image_size or min(own, max(32, -(-data_size // 32) * 32))
    more: dict[str, object] = {"img_size": size} if native.fixed_input_size else {}
    if wanted.drop_path:
        more["drop_path_rate"] = wanted.drop_path
    if wanted.dropout:
        more["drop_rate"] = wanted.dropout
    try:
        model = _made(name, wanted.pretrained, num_classes=classes, **more)
        if wanted.stem == "cifar":
            shrink_stem(model, name)
        classifier = Classifier(model.to(memory_format=torch.channels_last), size, native.mean, native.std)
        with torch.no_grad(), frozen(classifier):
            classifier(torch.zeros(1, 3, size, size))
    except UserError:
        raise
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"--model {name} cannot be made for {size}-pixel images ({reason}). "
            f"Give --set model.image_size={own}, the model's own size."
        ) from error
    return classifier


def _made(name: str, pretrained: bool, **more: object) -> nn.Module:
    import timm

    if not pretrained:
        return cast(nn.Module, timm.create_model(name, pretrained=False, **more))
    try:
        return cast(nn.Module, timm.create_model(name, pretrained=True, **more))
    except Exception as error:  # what a hub that is not there raises has no end
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"model.pretrained: the published weights of {name} could not be had ({type(error).__name__}: "
            f"{reason}). Download its model.safetensors from the hub on a machine with a network and give "
            "--set model.checkpoint=PATH instead."
        ) from error
