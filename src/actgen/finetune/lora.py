"""LoRA (Hu et al. 2022): low-rank matrices beside the attention layers of the UNet, and of the text encoders if asked.

The file is what diffusers writes and reads. Its matrices are already scaled by alpha/rank, so a reader needs neither.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..core.rng import derive
from ..diffusion.pipeline import PipelineAdapter
from .options import LoraOptions

FILE = "pytorch_lora_weights.safetensors"
TARGETS = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT_TARGETS = ["q_proj", "k_proj", "v_proj", "out_proj"]


def require_peft() -> None:
    """Raise `UserError` if the package that holds the matrices is not installed."""
    try:
        import peft  # noqa: F401
    except ImportError as error:
        raise UserError("--lora needs the package peft: pip install 'actgen[lora]'.") from error


def attach(adapter: PipelineAdapter, options: LoraOptions, seed: int, dtype: torch.dtype) -> nn.Module:
    """Add the matrices (the product is zero at first) and return the networks that hold them; only these are to be trained.

    UNet and text encoders are cast to `dtype`; the matrices are float32.
    """
    from peft import LoraConfig

    parts = _parts(adapter, options)
    for network in adapter.networks:
        if network is not adapter.vae:
            for parameter in network.parameters():
                parameter.data = parameter.data.to(dtype)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "lora"))
        for name, network in parts.items():
            targets = TARGETS if name == "unet" else TEXT_TARGETS
            network.add_adapter(LoraConfig(r=options.rank, lora_alpha=options.alpha or options.rank, target_modules=targets))
    for network in parts.values():
        for name, parameter in network.named_parameters():
            parameter.requires_grad_("lora_" in name)
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
    return nn.ModuleList(list(parts.values()))


def save_lora(adapter: PipelineAdapter, options: LoraOptions, folder: Path) -> None:
    """Write the matrices as one safetensors file that `load_lora_weights` of diffusers reads."""
    layers = {f"{name}_lora_layers": _layers(network, options.scale) for name, network in _parts(adapter, options).items()}
    type(adapter.pipeline).save_lora_weights(folder, weight_name=FILE, safe_serialization=True, **layers)


def _parts(adapter: PipelineAdapter, options: LoraOptions) -> dict[str, Any]:
    names = ["unet", *(("text_encoder", "text_encoder_2") if options.text_encoder else ())]
    parts = {name: getattr(adapter.pipeline, name, None) for name in names}
    return {name: network for name, network in parts.items() if network is not None}


def _layers(network: Any, scale: float) -> dict[str, Tensor]:
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    def scaled(name: str, tensor: Tensor) -> Tensor:
        return (tensor * scale if ".lora_B." in name else tensor).detach().cpu().contiguous()

    layers = {name: scaled(name, tensor) for name, tensor in get_peft_model_state_dict(network).items()}
    return dict(convert_state_dict_to_diffusers(layers))
