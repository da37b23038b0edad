"""Image classifiers of transformers, by folder or hub id: `--model hf:NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..core.text import brief, first_line

if TYPE_CHECKING:
    from transformers import PretrainedConfig

HUB = "hf:"
_MIDDLE = (0.5, 0.5, 0.5)


def is_transformers(model: nn.Module) -> bool:
    """Whether a model is one of transformers'."""
    return any(kind.__module__.startswith("transformers.") for kind in type(model).__mro__)


def input_of(layer: nn.Module, model: nn.Module, images: Tensor) -> Tensor:
    """Return what `layer` is given for images, [B, D]."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        model(images)
    finally:
        handle.remove()
    return seen[0].flatten(1)


def open_transformers(
    name: str, classes: int, image_size: int = 0, pretrained: bool = False
) -> tuple[nn.Module, int, Sequence[float], Sequence[float]]:
    """Return a model for `classes` classes with the image size, mean and std that it expects.

    These are the preprocessor's where there is one. The weights are random unless `pretrained`, the last layer where the
    number of classes differs. No code of a model's repository is run. `UserError` if it cannot be had.
    """
    if not name or (name.startswith((".", "/", "~")) and not Path(name).expanduser().is_dir()):
        raise UserError(
            f"--model {HUB}{brief(name)}: there is no such folder. Give the folder or hub id of an image "
            "classifier of transformers."
        )
    name = str(Path(name).expanduser()) if name.startswith("~") else name
    try:
        config, expects = _config(name), _preprocessor(name)
        own = _size(expects) or _largest(getattr(config, "image_size", None)) or 224
        size = image_size or own
        if hasattr(config, "image_size") and not pretrained:
            config.image_size = size
        config.num_labels = classes
        model = _made(name, config, pretrained).to(memory_format=torch.channels_last)
        with torch.no_grad():
            model(torch.zeros(2, 3, size, size))
    except UserError:
        raise
    except Exception as error:  # what a hub that is not there, damaged files and other sizes raise has no end
        hint = f" or leave out model.image_size = {image_size}" if image_size else ""
        raise UserError(
            f"--model {HUB}{brief(name)} cannot be loaded ({type(error).__name__}: {first_line(error)}). Give the "
            f"folder or hub id of an image classifier of transformers{hint}."
        ) from error
    return model, size, _three(expects.get("image_mean")), _three(expects.get("image_std"))


def _config(name: str) -> PretrainedConfig:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(name, trust_remote_code=False)


def _made(name: str, config: PretrainedConfig, pretrained: bool) -> nn.Module:
    """Attention is plain: a configuration may name kernels of the hub, which are code."""
    from transformers import AutoModelForImageClassification as Auto

    plain = {"trust_remote_code": False, "attn_implementation": "eager", "dtype": torch.float32}
    model: nn.Module
    if pretrained:
        model = Auto.from_pretrained(name, config=config, ignore_mismatched_sizes=True, use_safetensors=True, **plain)
    else:
        model = Auto.from_config(config, **plain)
    return model


def _preprocessor(name: str) -> dict[str, object]:
    """Return preprocessor_config.json, {} if there is none."""
    from transformers import BaseImageProcessor

    if Path(name).is_dir() and not (Path(name) / "preprocessor_config.json").is_file():
        return {}
    facts: dict[str, object] = BaseImageProcessor.get_image_processor_dict(name)[0]
    return facts


def _size(expects: dict[str, object]) -> int:
    """Return the side of the square that the preprocessor makes, 0 if it does not say."""
    wanted = expects.get("crop_size") if expects.get("do_center_crop") else None
    wanted = expects.get("size") if wanted is None else wanted
    if isinstance(wanted, dict):
        wanted = wanted.get("height") or wanted.get("shortest_edge")
    return wanted if isinstance(wanted, int) else 0


def _largest(size: Any) -> int:
    return max(size) if isinstance(size, (list, tuple)) else int(size or 0)


def _three(values: Any) -> Sequence[float]:
    """Return a mean or std of the three channels; one half where there is none."""
    return _MIDDLE if values is None else tuple(float(value) for value in values)
