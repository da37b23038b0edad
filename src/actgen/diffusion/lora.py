"""LoRA weights laid on a pipeline's networks: all tensors of the file, or a refusal that names those that are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from ..core.errors import UserError
from ..core.text import brief, first_line
from .lora_file import DOWN, MAGNITUDE, UP, Layer, LoraFile, listed, read_lora

ADAPTER = "default_0"
"""What diffusers calls the first LoRA of a network: its name is part of the hash of the weights."""
_GIVE = "Give a folder or .safetensors file of LoRA weights for this generator, or a hub id."


def load_lora(networks: Mapping[str, nn.Module], lora: str, unet_config: object = None) -> int:
    """Lay the LoRA weights of a file, folder or hub id on networks and return how many tensors were applied: all of them.

    `networks`: "unet", "text_encoder" and "text_encoder_2", those there are. `UserError` for weights that fit in part only.
    """
    found = read_lora(find_lora(lora), networks, unet_config)
    _refuse_left(found, lora)
    for name, network in networks.items():
        layers = {module: layer for (where, module), layer in found.layers.items() if where == name}
        if layers:
            _attach(network, layers, lora)
            _fill(network, {module: (layer, found.scaling(name, module)) for module, layer in layers.items()}, lora)
    return found.placed


def find_lora(lora: str) -> Path:
    """Return the one .safetensors file that a path or a hub id means; `UserError` for none and for several."""
    path = Path(lora).expanduser()
    if path.is_file():
        return path
    if not path.is_dir():
        path = _downloaded(lora)
    files = sorted(path.glob("*.safetensors"))
    if len(files) > 1:
        raise UserError(
            f"loading.lora = {brief(lora)} holds {len(files)} files: {', '.join(file.name for file in files[:4])}. Give one of "
            "them, by its path."
        )
    if not files:
        unsafe = next((file.name for file in sorted(path.iterdir()) if file.suffix in (".bin", ".pt", ".ckpt")), "")
        why = f"{unsafe} is of a format that can run code" if unsafe else "it holds no .safetensors file"
        raise UserError(f"loading.lora = {brief(lora)} cannot be loaded: {why}. {_GIVE}")
    return files[0]


def _downloaded(lora: str) -> Path:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", lora) or lora.startswith("."):
        raise UserError(f"loading.lora = {brief(lora)}: there is no such file or folder. {_GIVE}")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(lora, allow_patterns=["*.safetensors", "adapter_config.json"]))
    except Exception as error:  # what a hub that is not there raises has no end
        raise UserError(
            f"loading.lora = {brief(lora)}: there is no such file or folder, and it cannot be had from the hub "
            f"({first_line(error)}). {_GIVE}"
        ) from error


def _refuse_left(found: LoraFile, lora: str) -> None:
    if not found.left and found.layers:
        return
    total = found.placed + len(found.left)
    fit = f"of its {total} tensors, this generator has layers for {found.placed}" if total else "it is empty"
    raise UserError(
        f"loading.lora = {brief(lora)} cannot be applied: {fit}. Left are {', '.join(listed(found.left)) or 'none'}; so it was "
        f"made for another, or is of another kind. {_GIVE}"
    )


def _attach(network: nn.Module, layers: Mapping[str, Layer], lora: str) -> None:
    """Put empty LoRA layers of the right ranks around the modules."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise UserError("loading.lora needs the package peft: pip install 'actgen[lora]'.") from error
    config = LoraConfig(
        r=1,
        lora_alpha=1,
        target_modules="|".join(re.escape(module) for module in layers),
        rank_pattern={f"^{re.escape(module)}": layer.rank for module, layer in layers.items()},
        use_dora=any(MAGNITUDE in layer.tensors for layer in layers.values()),
    )
    try:
        inject_adapter_in_model(config, network, adapter_name=ADAPTER)
    except Exception as error:  # what layers that cannot carry one raise has no end
        raise UserError(f"loading.lora = {brief(lora)} cannot be loaded: {first_line(error)} {_GIVE}") from error


def _fill(network: nn.Module, layers: Mapping[str, tuple[Layer, float]], lora: str) -> None:
    """Copy the tensors into the LoRA layers, in the network's type, and set their scalings."""
    dtype = next(network.parameters()).dtype
    for path, (layer, scaling) in layers.items():
        module = network.get_submodule(path)
        parts = {DOWN: "lora_A", UP: "lora_B", MAGNITUDE: "lora_magnitude_vector"}
        for role, name in parts.items():
            if role not in layer.tensors:
                continue
            (target,) = module.get_submodule(f"{name}.{ADAPTER}").parameters()
            given = layer.tensors[role]
            if given.numel() != target.numel():
                raise UserError(
                    f"loading.lora = {brief(lora)} cannot be loaded: its matrices have other sizes than the layers of this "
                    f"generator ({path}: {tuple(given.shape)}, not {tuple(target.shape)}), so it was made for another. {_GIVE}"
                )
            target.data = given.detach().reshape(target.shape).to(target.device, dtype).clone()
            target.requires_grad_(False)
        scalings: dict[str, float] = getattr(module, "scaling")  # noqa: B009
        scalings[ADAPTER] = scaling
        if MAGNITUDE not in layer.tensors:
            _without_magnitude(module)


def _without_magnitude(module: nn.Module) -> None:
    """Make a layer of a file with DoRA layers an ordinary one."""
    variants = getattr(module, "lora_variant", None)
    if isinstance(variants, dict):
        variants.pop(ADAPTER, None)
    uses = getattr(module, "use_dora", None)
    if isinstance(uses, dict):
        uses[ADAPTER] = False


__all__ = ["ADAPTER", "find_lora", "load_lora"]
