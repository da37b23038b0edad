"""The architecture `tiny`: a complete Stable-Diffusion-type pipeline of about 5M parameters for 32-pixel images.

Same parts, names and file layout as Stable Diffusion, so that what runs on it runs on SD. Sizes are chosen for two CPU
cores: the autoencoder maps 3x32x32 to 4x8x8; the UNet works at 8x8 and 4x4 and attends to the text at 4x4 and in its
last block at 8x8, where the attention maps that guide an image are read.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from ..core.class_words import class_prompt

IMAGE_SIZE = 32
TEMPLATES = ("a photo of {}", "a picture of {}", "{}")
_BOS, _EOS = "<|startoftext|>", "<|endoftext|>"


def build_tokenizer(class_names: Sequence[str], vocab_size: int = 1024) -> CLIPTokenizer:
    """Return a CLIP tokenizer whose byte-pair merges were learned on the prompts of `class_names`.

    All 256 bytes are in the vocabulary, so that any other text is spelled out rather than unknown.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(False)])
    corpus = [class_prompt(name, template) for name in class_names for template in TEMPLATES]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=1,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(corpus, trainer)
    merges = [tuple(merge) for merge in _merges(bpe)]
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *("".join(merge) for merge in merges), _BOS, _EOS]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    longest = max(len(bpe.encode(text).ids) for text in corpus) + 2
    max_length = min(77, max(16, -(-longest // 8) * 8))
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=max_length)


def _merges(bpe: Tokenizer) -> list[Sequence[str]]:
    import json

    return list(json.loads(bpe.to_str())["model"]["merges"])


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return an untrained two-layer CLIP text encoder of width 64."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=tokenizer.model_max_length,
            projection_dim=64,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder: 3x32x32 in [-1, 1] <-> 4x8x8."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        sample_size=IMAGE_SIZE,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def build_unet() -> UNet2DConditionModel:
    """Return an untrained UNet for 4x8x8 latents and text of width 64."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 128),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def build_scheduler() -> DDIMScheduler:
    """Return the noise schedule of DDPM (Ho et al. 2020: linear betas 1e-4 .. 0.02), v-prediction, trailing spacing.

    Stable Diffusion's own betas leave 7% of the signal at the last step; over 64 positions of a low-resolution latent
    that is enough to reveal an image's brightness, which a run from pure noise then lacks.
    """
    return DDIMScheduler(
        beta_schedule="linear",
        beta_start=1e-4,
        beta_end=0.02,
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def assemble(
    vae: AutoencoderKL, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Return the parts as one `StableDiffusionPipeline`, without a safety checker."""
    parts: dict[str, object] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    return StableDiffusionPipeline(
        vae=vae, unet=unet, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=build_scheduler(), **parts
    )
