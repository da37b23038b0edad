"""Tiny real pipelines, untrained and built without network: one of each family of generators that users have.

Layout, options and schedulers are those of the published checkpoints (the scheduler files are given in full); only widths
and depths shrink. Latents are 4x16x16, images 3x32x32.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from actgen.finetune import tiny

CLASSES = ("coat", "ankle boot", "bag", "dress")
LATENT_SIZE = 16
TEXT_WIDTH = 32

# For pytest.mark.filterwarnings: diffusers' Euler calls np.array on a tensor, of which NumPy 2 warns under torch 2.15.
EULER_WARNING = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"

# What every published scheduler file says; schedulers take what they know and keep the rest in their config.
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
STABLE = {**BETAS, "skip_prk_steps": True, "set_alpha_to_one": False, "steps_offset": 1, "clip_sample": False}
EULER = {**STABLE, "prediction_type": "epsilon", "interpolation_type": "linear", "use_karras_sigmas": False}


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Generate weights from `seed` inside, and leave torch's own stream where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def ready(pipeline: Any) -> Any:
    """Return a pipeline that generates in silence, its networks without dropout as `from_pretrained` leaves them."""
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return pipeline


def build_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """Return a tokenizer that spells `CLASSES`; SDXL's and SD 2's second kind pads with "!", which is token 0."""
    tokenizer = tiny.build_tokenizer(CLASSES)
    tokenizer.pad_token = pad_token
    return tokenizer


def build_text_encoder(tokenizer: CLIPTokenizer, activation: str, *, pooled: bool = False) -> Any:
    """Return an untrained CLIP text encoder; `pooled` adds the projection of the whole text."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        projection_dim=TEXT_WIDTH,
        hidden_act=activation,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return (CLIPTextModelWithProjection if pooled else CLIPTextModel)(config)


def build_autoencoder(**options: Any) -> AutoencoderKL:
    """Return an untrained autoencoder: 3x32x32 <-> 4x16x16; `options` are what the families disagree about."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        sample_size=2 * LATENT_SIZE,
        **options,
    )


def build_unet(attends: tuple[bool, ...], **options: Any) -> UNet2DConditionModel:
    """Return an untrained UNet, one down block for each of `attends`, True with cross-attention."""
    down = tuple("CrossAttnDownBlock2D" if attend else "DownBlock2D" for attend in attends)
    up = tuple("CrossAttnUpBlock2D" if attend else "UpBlock2D" for attend in reversed(attends))
    options = {"cross_attention_dim": TEXT_WIDTH, "layers_per_block": 1, "norm_num_groups": 8, **options}
    return UNet2DConditionModel(
        sample_size=LATENT_SIZE,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32, 32)[: len(attends)],
        down_block_types=down,
        up_block_types=up,
        **options,
    )


def build_stable(scheduler: Any, *, activation: str = "quick_gelu", pad_token: str = "<|endoftext|>", **unet: Any) -> Any:
    """Return a `StableDiffusionPipeline`: the layout of SD 1 unless `unet` says otherwise."""
    parts: dict[str, Any] = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    with seeded():
        tokenizer = build_tokenizer(pad_token)
        return ready(
            StableDiffusionPipeline(
                tokenizer=tokenizer,
                text_encoder=build_text_encoder(tokenizer, activation),
                scheduler=scheduler,
                unet=build_unet((True, True, False), **{"attention_head_dim": 4, **unet}),
                vae=build_autoencoder(scaling_factor=0.18215),
                **parts,
            )
        )


def build_stable_2(scheduler: Any) -> Any:
    """Return a `StableDiffusionPipeline` with the layout of SD 2: heads of one width, linear projections."""
    heads = [2, 4, 4]
    return build_stable(scheduler, activation="gelu", pad_token="!", attention_head_dim=heads, use_linear_projection=True)


def build_sd1() -> Any:
    """Return Stable Diffusion 1.5: epsilon, PNDM."""
    return build_stable(PNDMScheduler.from_config(STABLE))


def build_sd2_v() -> Any:
    """Return Stable Diffusion 2.1: v-prediction, DDIM."""
    return build_stable_2(DDIMScheduler.from_config({**STABLE, "prediction_type": "v_prediction"}))


def build_sdxl() -> Any:
    """Return Stable Diffusion XL: two text encoders, text and size beside the time, zeros for the empty prompt."""
    time_width = 8
    with seeded():
        tokenizers = build_tokenizer(), build_tokenizer("!")
        return ready(
            StableDiffusionXLPipeline(
                tokenizer=tokenizers[0],
                text_encoder=build_text_encoder(tokenizers[0], "quick_gelu"),
                tokenizer_2=tokenizers[1],
                text_encoder_2=build_text_encoder(tokenizers[1], "gelu", pooled=True),
                unet=build_unet(
                    (False, True),
                    cross_attention_dim=2 * TEXT_WIDTH,
                    transformer_layers_per_block=[1, 2],
                    attention_head_dim=[2, 4],
                    use_linear_projection=True,
                    addition_embed_type="text_time",
                    addition_time_embed_dim=time_width,
                    projection_class_embeddings_input_dim=TEXT_WIDTH + 6 * time_width,  # pooled text; sizes, crops, targets
                ),
                vae=build_autoencoder(scaling_factor=0.13025, force_upcast=True),
                scheduler=EulerDiscreteScheduler.from_config({**EULER, "timestep_spacing": "leading"}),
                force_zeros_for_empty_prompt=True,
                add_watermarker=False,
            )
        )


def build_lora() -> Any:
    """Return `build_sd1` with a LoRA of rank 2 from a folder that diffusers wrote; neither of its halves is zero."""
    pipeline = build_sd1()
    with tempfile.TemporaryDirectory() as folder:
        pipeline.load_lora_weights(save_lora(Path(folder)))
    return pipeline


def save_lora(folder: Path) -> str:
    """Write LoRA weights for `build_sd1` as diffusers does and return the folder."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    trained = build_sd1()
    targets = ["to_q", "to_k", "to_v", "to_out.0"]
    with seeded(1):
        trained.unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=targets, init_lora_weights=False))
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(trained.unet))
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)
    return str(folder)


def build_turbo() -> Any:
    """Return SD-Turbo: SD 2's layout, epsilon, Euler from the last timestep; for 1 to 4 steps at `guidance_scale` 0."""
    return build_stable_2(EulerDiscreteScheduler.from_config({**EULER, "timestep_spacing": "trailing"}))


def build_lcm() -> Any:
    """Return a latent consistency model: the guidance scale goes into the time embedding instead of a second pass."""
    steps = {"original_inference_steps": 50, "timestep_scaling": 10.0, "steps_offset": 1}
    scheduler = LCMScheduler.from_config({**BETAS, **steps, "set_alpha_to_one": True, "clip_sample": False})
    return build_stable(scheduler, time_cond_proj_dim=32)


def build_dit() -> Any:
    """Return Stable Diffusion 3: a transformer over text and image together, thus without cross-attention maps."""
    width = 2 * TEXT_WIDTH  # of both CLIP texts side by side, and of T5
    letters = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>", "▁", *"abcdefghijklmnopqrstuvwxyz")]
    with seeded():
        tokenizers = build_tokenizer(), build_tokenizer("!"), T5Tokenizer(vocab=letters, extra_ids=0)
        t5 = T5Config(vocab_size=len(letters), d_model=width, d_kv=8, d_ff=64, num_layers=1, num_heads=4)
        return ready(
            StableDiffusion3Pipeline(
                tokenizer=tokenizers[0],
                text_encoder=build_text_encoder(tokenizers[0], "quick_gelu", pooled=True),
                tokenizer_2=tokenizers[1],
                text_encoder_2=build_text_encoder(tokenizers[1], "gelu", pooled=True),
                tokenizer_3=tokenizers[2],
                text_encoder_3=T5EncoderModel(t5),
                transformer=SD3Transformer2DModel(
                    sample_size=LATENT_SIZE,
                    patch_size=2,
                    in_channels=4,
                    out_channels=4,
                    num_layers=1,
                    attention_head_dim=8,
                    num_attention_heads=4,
                    caption_projection_dim=32,
                    joint_attention_dim=width,
                    pooled_projection_dim=width,
                    pos_embed_max_size=16,
                ),
                vae=build_autoencoder(
                    scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
                ),
                scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0),
            )
        )


def save(pipeline: Any, folder: Path) -> Path:
    """Write a pipeline as users do and return `folder`; a LoRA is fused first, as nothing can read what is saved otherwise."""
    if hasattr(getattr(pipeline, "unet", None), "peft_config"):
        pipeline.fuse_lora()
        pipeline.unload_lora_weights()
    pipeline.save_pretrained(folder)
    return folder


FAMILIES: dict[str, Callable[[], Any]] = {
    "sd1": build_sd1,
    "sd2-v": build_sd2_v,
    "sdxl": build_sdxl,
    "lora": build_lora,
    "turbo": build_turbo,
    "lcm": build_lcm,
}
