"""A path or an id -> a diffusers pipeline that can be guided, or a refusal that says what works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
from pydantic import Field
from torch import nn

from ..core.errors import UserError
from ..core.options import Choices, Text, Texts, options
from ..core.text import brief, first_line, visible
from .contents import check_contents
from .embeddings import load_embeddings
from .folder_parts import load_options
from .library_warnings import heard
from .lora import load_lora

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_IDS = "stable-diffusion-v1-5/stable-diffusion-v1-5 or stabilityai/stable-diffusion-xl-base-1.0"
_DOWN = (".lora_A.", ".lora.down.", ".lora_linear_layer.down.")  # names of a LoRA layer's first matrix
_UNET_PARTS = ("text_encoder", "tokenizer")


@options("loading")
class Loading:
    """How a generator is loaded. The last three save memory for time."""

    dtype: Annotated[
        str,
        Choices(("auto", *DTYPES)),
        Field(description="auto: float16 on a GPU (transformers: bfloat16), float32 elsewhere."),
    ] = "auto"
    lora: Annotated[Text, Field(description="Folder, file or id of LoRA weights; empty: none.")] = ""
    image_size: Annotated[
        int, Field(ge=0, le=8192, description="Pixels per side of what is generated; 0: the generator's native size.")
    ] = 0
    embeddings: Annotated[Texts, Field(description="Files of textual inversion: words that the generator learns.")] = ()
    config: Annotated[
        Text,
        Field(
            description="For a generator in one .safetensors file: the diffusers folder or id of its family; empty: guessed."
        ),
    ] = ""
    compile: Annotated[bool, Field(description="torch.compile for the UNet calls that need no gradient.")] = False
    offload: Annotated[bool, Field(description="Keep networks in main memory until they are used; needs a GPU.")] = False
    vae_slicing: Annotated[bool, Field(description="Decode image by image.")] = False
    gradient_checkpointing: Annotated[bool, Field(description="Compute activations again in the backward pass.")] = False

    def torch_dtype(self, device: str, *, transformer: bool = False) -> torch.dtype:
        """Return what the networks compute in on `device`; float16 is too narrow for the activations of transformers."""
        if self.dtype == "auto":
            half = torch.bfloat16 if transformer else torch.float16
            return half if device.startswith("cuda") else torch.float32
        return DTYPES[self.dtype]


def load_pipeline(path_or_id: str, device: str, loading: Loading) -> DiffusionPipeline:
    """Load a pipeline folder or hub id onto `device`; `UserError` if it is neither, or cannot be guided."""
    path = Path(path_or_id)
    if path.is_file():
        pipeline = _load_file(path, loading, device)
    else:
        if path.exists() and not (path / "model_index.json").is_file():
            raise UserError(
                f"--generator {visible(path_or_id)}: no model_index.json in it. Give a diffusers pipeline folder, a "
                ".safetensors checkpoint, a hub id, or make one with `actgen finetune --from-scratch tiny`."
            )
        if path.exists():
            check_contents(path)
        pipeline = _load(path_or_id, device, loading, load_options(path) if path.exists() else {})
    refuse_unguidable(pipeline, path_or_id)
    _refuse_missing_weights(pipeline, path_or_id)
    if loading.compile and getattr(pipeline, "unet", None) is None:
        raise UserError("loading.compile = true compiles UNets; this generator is a transformer. Leave it out.")
    for file in loading.embeddings:
        load_embeddings(pipeline, file)
    if loading.lora:
        _load_lora(pipeline, loading.lora)
    pipeline.set_progress_bar_config(disable=True)
    if not loading.offload:
        return pipeline.to(device)
    if device == "cpu":
        raise UserError("loading.offload = true needs a GPU to bring the networks to; there is none. Leave it out.")
    pipeline.enable_model_cpu_offload(device=device)
    return pipeline


def refuse_unguidable(pipeline: DiffusionPipeline, name: str) -> None:
    """Raise `UserError` for a pipeline without a network and an autoencoder that a text can steer."""
    unet, transformer = (getattr(pipeline, part, None) is not None for part in ("unet", "transformer"))
    missing = [part for part in ("vae", *(_UNET_PARTS if unet else ())) if getattr(pipeline, part, None) is None]
    if missing or not (unet or transformer) or not hasattr(pipeline, "encode_prompt"):
        lacks = " and ".join(missing or ([] if unet or transformer else ["unet or transformer"]) or ["text"])
        raise UserError(
            f"--generator {name} is a {type(pipeline).__name__} without {lacks}: guides act on a network that reads text and "
            "works on an autoencoder's latents. What works: Stable Diffusion 1.x, 2.x and XL, their Turbo "
            "and LCM versions, and transformers such as Stable Diffusion 3, Flux, Qwen-Image, Z-Image, Sana and PixArt."
        )
    if not unet:
        return
    reads, generates = int(pipeline.unet.config.in_channels), int(pipeline.vae.config.latent_channels)
    if reads != generates:
        raise UserError(
            f"--generator {name} is a {type(pipeline).__name__} whose UNet reads {reads} channels, not the {generates} "
            "of its latents: made for inpainting or editing. Give the text-to-image pipeline."
        )


def _refuse_missing_weights(pipeline: DiffusionPipeline, name: str) -> None:
    networks = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    if any(parameter.is_meta for network in networks for parameter in network.parameters()):
        raise UserError(
            f"--generator {name} lacks weights that its configuration names. If it was saved with a LoRA in it, "
            "save it again after fuse_lora() and unload_lora_weights()."
        )


def local_generators(root: Path = Path()) -> list[str]:
    """Return the names of generators that need no network: pipeline folders here (two levels deep) and downloaded ids."""
    here = [path.parent.as_posix() for pattern in ("*", "*/*") for path in sorted(root.glob(f"{pattern}/model_index.json"))]
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        cached = [repo.repo_id for repo in scan_cache_dir().repos if any(_is_pipeline(r.snapshot_path) for r in repo.revisions)]
    except (CacheNotFound, OSError):
        cached = []
    return here + sorted(cached)


def _is_pipeline(folder: Path) -> bool:
    return (folder / "model_index.json").is_file()


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Have diffusers and transformers say nothing inside: what is wrong is in the exception, what they drop in a warning."""
    from diffusers.utils import logging
    from transformers.utils import logging as text_logging

    logging.disable_progress_bar()
    text_logging.disable_progress_bar()
    with heard(name):
        yield


def _load_file(path: Path, loading: Loading, device: str) -> DiffusionPipeline:
    """Load a checkpoint in one file, as for other programs: its configuration comes from `loading.config` or the hub."""
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
    from safetensors import safe_open

    if path.suffix != ".safetensors":
        raise UserError(
            f"--generator {visible(str(path))} is a file of a format that can run code. Give a .safetensors checkpoint or a "
            "folder."
        )
    try:
        with safe_open(path, "pt") as file:
            is_xl = any(name.startswith("conditioner.embedders.1.") for name in list(file.keys()))
        kind = StableDiffusionXLPipeline if is_xl else StableDiffusionPipeline
        config = {"config": loading.config} if loading.config else {}
        with _quiet(str(path)):
            return kind.from_single_file(str(path), torch_dtype=loading.torch_dtype(device), **config)
    except Exception as error:  # what damaged files, and a hub that is not there, raise has no end
        raise UserError(
            f"cannot load the generator {brief(str(path))}: {first_line(error)}\nA checkpoint in one file needs the "
            "configuration of its family: --set loading.config=FOLDER_OR_ID (without: from the hub, by the network once)."
        ) from error


def _load(path_or_id: str, device: str, loading: Loading, options: Mapping[str, object]) -> DiffusionPipeline:
    from diffusers import DiffusionPipeline

    try:
        with _quiet(path_or_id):
            dtype = loading.torch_dtype(device, transformer="transformer" in DiffusionPipeline.load_config(path_or_id))
            return DiffusionPipeline.from_pretrained(path_or_id, dtype=dtype, use_safetensors=True, **options)
    except Exception as error:  # what damaged configurations and weights raise has no end
        here = ", ".join(["bundled", *local_generators()][:6])
        raise UserError(
            f"cannot load the generator {brief(path_or_id)}: {first_line(error)}\n"
            f"There are here: {here}. Or give the path of a diffusers folder, or an id such as {_IDS} "
            "(needs the network once)."
        ) from error


def _load_lora(pipeline: DiffusionPipeline, lora: str) -> None:
    if getattr(pipeline, "unet", None) is None:
        _load_transformer_lora(pipeline, lora)
        return
    parts = {name: getattr(pipeline, name, None) for name in ("unet", "text_encoder", "text_encoder_2")}
    load_lora({name: part for name, part in parts.items() if part is not None}, lora, pipeline.unet.config)


def _load_transformer_lora(pipeline: DiffusionPipeline, lora: str) -> None:
    try:
        with _quiet(lora):  # safetensors, else formats that run code would be tried
            loaded_state = pipeline.lora_state_dict(lora, use_safetensors=True)
            pipeline.load_lora_weights(lora, use_safetensors=True)
    except Exception as error:
        reason = first_line(error)
        if "size mismatch" in str(error):
            reason = "its matrices have other sizes than the layers of this generator, so it was made for another."
        raise UserError(
            f"loading.lora = {brief(lora)} cannot be loaded: {reason} Give a folder or "
            ".safetensors file of LoRA weights for this generator, or a hub id."
        ) from error
    weights = loaded_state if isinstance(loaded_state, dict) else loaded_state[0]
    layers = sum(any(mark in name for mark in _DOWN) for name in weights)
    networks = [part for part in pipeline.components.values() if isinstance(part, nn.Module)]
    loaded = sum(".lora_A." in name for network in networks for name, _ in network.named_parameters())
    if loaded < layers:  # diffusers leaves such layers out and goes on
        raise UserError(
            f"loading.lora = {brief(lora)} has {layers} layers, but this generator only {loaded} of them, so it "
            "was made for another. Give LoRA weights for this generator."
        )
