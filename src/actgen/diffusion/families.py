"""What differs between the transformer pipelines of diffusers, one row each; the rest is their own call (`one_step.py`).

A class that is not here works for everything that reads no attention, if its latents are [B, C, h, w].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

PROMPTS_LAST, PROMPTS_FIRST, CALLS, TOLD = "prompts last", "prompts first", "calls", "told"
CROSS, TEXT_FIRST, IMAGE_FIRST = "cross", "text first", "image first"
Latent = Literal["square", "packed", "folded"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family of pipelines.

    `scale`: the argument that carries the guidance scale, `none` its value without guidance, `less` what it is smaller by than
    the usual scale. `branches`: how the prompts' branch and the other are joined: one call with the prompts' rows last or
    first, one call each (the prompts' first), or none, since the network is told the scale or does without.

    `latent`: as the pipeline takes and gives it: "square" [B, C, h, w]; "packed" [B, hw/4, 4C]; "folded": taken square, given
    as [B, hw, C]. `patch`: latent places that one place of the attention covers, per axis.

    `sequence`: what attention reads: "cross" the text alone; else text and image in one sequence, in which `registers` stand
    before the text, and the image is padded to a multiple of `pad`. `layers`: name of the attention in block {}; maps are read
    in the fraction `part` of the blocks. `ragged`: each image's sequence starts with its unpadded text. `checkpoints`: whether
    gradient checkpointing leaves the output as it is.

    `multiple`: what the pixels of a picture's side must be a multiple of, beside that.

    `tokenizers`: those whose tokens are the rows of the text, one after the other. `told`: further arguments of the call, and
    `told_guided` of one with guidance.
    """

    scale: str = "guidance_scale"
    none: float = 1.0
    less: float = 0.0
    branches: str = PROMPTS_LAST
    latent: Latent = "square"
    patch: int = 2
    multiple: int = 1
    sequence: str = TEXT_FIRST
    registers: int = 0
    pad: int = 1
    layers: str = "transformer_blocks.{}.attn"
    part: tuple[float, float] = (1 / 3, 2 / 3)
    ragged: bool = False
    checkpoints: bool = True
    tokenizers: tuple[str, ...] = ("tokenizer",)
    told: Mapping[str, object] = field(default_factory=dict)
    told_guided: Mapping[str, object] = field(default_factory=dict)


_LAST_THIRD = (2 / 3, 1.0)
_CAPTION = {"use_resolution_binning": False, "clean_caption": False}

FAMILIES: dict[str, Family] = {
    "StableDiffusion3Pipeline": Family(
        sequence=IMAGE_FIRST,
        part=(0.25, 0.5),
        tokenizers=("tokenizer", "tokenizer_3"),
    ),
    "FluxPipeline": Family(branches=TOLD, latent="packed", part=_LAST_THIRD, tokenizers=("tokenizer_2",)),
    "Flux2KleinPipeline": Family(branches=CALLS, latent="folded", patch=1, part=_LAST_THIRD),
    "Flux2Pipeline": Family(branches=TOLD, latent="folded", patch=1, part=_LAST_THIRD),
    # diffusers 0.42.1 leaves the mask out of the single blocks that it checkpoints
    "ChromaPipeline": Family(branches=CALLS, latent="packed", part=_LAST_THIRD, checkpoints=False),
    "QwenImagePipeline": Family(scale="true_cfg_scale", branches=CALLS, latent="packed", told_guided={"negative_prompt": " "}),
    "ZImagePipeline": Family(
        none=0.0, less=1.0, branches=PROMPTS_FIRST, sequence=IMAGE_FIRST, pad=32, layers="layers.{}.attention"
    ),
    "Lumina2Pipeline": Family(branches=CALLS, layers="layers.{}.attn", ragged=True),
    "AuraFlowPipeline": Family(registers=8, layers="joint_transformer_blocks.{}.attn"),
    "CogView4Pipeline": Family(branches=CALLS, layers="transformer_blocks.{}.attn1"),
    "PixArtSigmaPipeline": Family(sequence=CROSS, layers="transformer_blocks.{}.attn2", told=_CAPTION),
    "PixArtAlphaPipeline": Family(sequence=CROSS, layers="transformer_blocks.{}.attn2", told=_CAPTION),
    "SanaPipeline": Family(
        sequence=CROSS,
        patch=1,
        multiple=32,
        layers="transformer_blocks.{}.attn2",
        told={**_CAPTION, "complex_human_instruction": None},
    ),
}
"""By the class name of the pipeline."""
