"""A LoRA file -> its layers, in whatever naming: kohya's, diffusers' (three of them), PEFT's; every tensor is placed or named.

LoRA: Hu et al. 2021, W + (alpha / r) B A. DoRA: Liu et al. 2024, the sum is scaled to a magnitude per output.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..core.errors import UserError
from ..core.text import brief, first_line, visible

DOWN, UP, ALPHA, MAGNITUDE = "down", "up", "alpha", "magnitude"
_ROLES = {
    DOWN: re.compile(r"(\.lora_down|\.lora_A(\.\w+)?|[._]lora\.down|\.lora_linear_layer\.down)\.weight$"),
    UP: re.compile(r"(\.lora_up|\.lora_B(\.\w+)?|[._]lora\.up|\.lora_linear_layer\.up)\.weight$"),
    ALPHA: re.compile(r"\.alpha$"),
    MAGNITUDE: re.compile(r"(\.dora_scale|\.lora_magnitude_vector(\.\w+)*)$"),
}
_KOHYA = {"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"}
_DOTTED = {"unet.": "unet", "text_encoder.": "text_encoder", "text_encoder_2.": "text_encoder_2"}
_PEFT = "base_model.model."
_OLD_NAMES = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_OTHER_KINDS = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "lora_mid": "LoCon with a core",
    "diff": "differences",
    "oft_": "OFT",
}


@dataclass(kw_only=True)
class Layer:
    """The tensors of one layer: `down` [r, in, ...] is A, `up` [out, r, ...] is B; `names`: what the file calls them."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    @property
    def rank(self) -> int:
        """The inner size of the two matrices."""
        return self.tensors[DOWN].shape[0]

    @property
    def is_whole(self) -> bool:
        """Whether both matrices are there, with the same inner size."""
        both = self.tensors.keys() >= {DOWN, UP} and min(self.tensors[DOWN].ndim, self.tensors[UP].ndim) > 1
        return both and self.tensors[UP].shape[1] == self.tensors[DOWN].shape[0] > 0


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """`layers` by (network, module); `left`: tensors that belong to no layer of these networks, with the reasons."""

    layers: Mapping[tuple[str, str], Layer]
    left: Mapping[str, str]
    metadata: Mapping[str, object]

    @property
    def placed(self) -> int:
        """How many tensors belong to layers."""
        return sum(len(layer.names) for layer in self.layers.values())

    def scaling(self, network: str, module: str) -> float:
        """Return alpha / r of a layer: of its own tensor, of the file's metadata, or 1."""
        layer = self.layers[network, module]
        if ALPHA in layer.tensors:
            return float(layer.tensors[ALPHA].reshape(-1)[0]) / layer.rank
        pattern = self.metadata.get(f"{network}.alpha_pattern")
        own = pattern.get(module) if isinstance(pattern, Mapping) else None
        alpha = own if isinstance(own, int | float) else self.metadata.get(f"{network}.lora_alpha")
        if not isinstance(alpha, int | float):
            return 1.0
        return float(alpha) / (layer.rank**0.5 if self.metadata.get(f"{network}.use_rslora") is True else layer.rank)


def read_lora(path: Path, networks: Mapping[str, nn.Module], unet_config: object = None) -> LoraFile:
    """Return the layers of a file for these networks; `UserError` for a file that is no safetensors."""
    tensors, metadata = _read(path)
    return place(tensors, networks, metadata | _beside(path), unet_config)


def place(
    tensors: Mapping[str, Tensor],
    networks: Mapping[str, nn.Module],
    metadata: Mapping[str, object] | None = None,
    unet_config: object = None,
) -> LoraFile:
    """Place tensors at the modules of networks: each is in a layer or in `left`."""
    known = {name: _Modules.of(network) for name, network in networks.items()}
    layers: dict[tuple[str, str], Layer] = {}
    left: dict[str, str] = {}
    current = _renamed_blocks(tensors, unet_config)
    for name, tensor in tensors.items():
        role = next((role for role, pattern in _ROLES.items() if pattern.search(current.get(name, name))), None)
        if role is None:
            left[name] = _kind(name)
            continue
        network, module = _place_of(_ROLES[role].sub("", current.get(name, name)), known)
        if module is None:
            left[name] = f"the generator's {network} has no such layer" if network in known else f"it has no {network}"
            continue
        layer = layers.setdefault((network, module), Layer())
        if role in layer.tensors:
            left[name] = "the layer has such a tensor already"
            continue
        layer.tensors[role] = tensor
        layer.names.append(name)
    for place_, layer in list(layers.items()):
        if not layer.is_whole:
            left |= dict.fromkeys(layers.pop(place_).names, "its layer lacks the other matrix, or they do not fit together")
    return LoraFile(layers=layers, left=left, metadata=metadata or {})


def _kind(name: str) -> str:
    found = next((kind for mark, kind in _OTHER_KINDS.items() if f".{mark}" in name), None)
    return f"it is of {found}, which is not read" if found else "it is no tensor of a LoRA layer"


@dataclass(frozen=True)
class _Modules:
    """The modules of a network that a LoRA can be laid on, by their path and by their path with underscores."""

    paths: frozenset[str]
    flat: Mapping[str, str]

    @classmethod
    def of(cls, network: nn.Module) -> _Modules:
        """Return those of a network; a layer that has a LoRA already counts by its own path."""
        paths = {
            path.removesuffix(".base_layer")
            for path, module in network.named_modules()
            if isinstance(module, nn.Linear | nn.Conv2d)
        }
        flat = {path.replace(".", "_"): path for path in paths}
        return cls(frozenset(paths), flat)

    def find(self, path: str) -> str | None:
        """Return the module of a path, whether or not it names the text model within a text encoder."""
        spelled = (path, path.removeprefix("text_model."), f"text_model.{path}", f"{path}.0")
        dotted = next((one for one in spelled if one in self.paths), None)
        joined = (path, path.removeprefix("text_model_"), f"text_model_{path}")
        return dotted or next((self.flat[one] for one in joined if one in self.flat), None)


def _place_of(path: str, known: Mapping[str, _Modules]) -> tuple[str, str | None]:
    """Return (network, module) of a tensor's name without its role; the module is None if the network has none of it."""
    path = path.removeprefix(_PEFT)
    prefixes = {**_KOHYA, **_DOTTED}
    prefix = next((one for one in prefixes if path.startswith(one)), "")
    network = prefixes.get(prefix, "unet")
    inside = path.removeprefix(prefix).removeprefix(_PEFT).replace(".processor", "")
    if network not in known:
        return network, None
    found = known[network].find(inside)
    if found is None and network != "unet":  # attention of the text encoder by the names of the UNet's
        above, _, last = inside.rpartition(".")
        found = known[network].find(f"{above}.{_OLD_NAMES.get(last, last)}")
    return network, found


def _renamed_blocks(tensors: Mapping[str, Tensor], unet_config: object) -> dict[str, str]:
    """Return today's names for blocks that are called as in the checkpoints of Stability ("input_blocks_4_1")."""
    odd = [name for name in tensors if re.match(r"lora_unet_(input|middle|output)_blocks?_", name)]
    if not odd or unet_config is None:
        return {}
    from diffusers.loaders.lora_conversion_utils import _maybe_map_sgm_blocks_to_diffusers

    found = {}
    for name in odd:
        try:
            (new,) = _maybe_map_sgm_blocks_to_diffusers({name: tensors[name]}, unet_config)
        except Exception:  # a block that this UNet does not have
            continue
        found[name] = str(new)
    return found


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    try:
        with safe_open(path, "pt") as file:
            written = dict(file.metadata() or {})
            return {name: file.get_tensor(name) for name in list(file.keys())}, _metadata(written)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"loading.lora = {brief(str(path))} cannot be loaded: {first_line(error)} Give a folder or .safetensors file of "
            "LoRA weights for this generator, or a hub id."
        ) from error


def _metadata(written: Mapping[str, str]) -> dict[str, object]:
    """Return what diffusers writes into a file: "unet.lora_alpha" and so on."""
    try:
        found = json.loads(written.get("lora_adapter_metadata", "{}"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _beside(path: Path) -> dict[str, object]:
    """Return what PEFT writes beside a file."""
    try:
        found = json.loads((path.parent / "adapter_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {f"unet.{key}": value for key, value in found.items()} if isinstance(found, dict) else {}


def listed(left: Mapping[str, str]) -> Iterator[str]:
    """Yield the first tensors that are left, with their reasons."""
    for name, reason in list(left.items())[:3]:
        yield f"{visible(name)} ({reason})"
