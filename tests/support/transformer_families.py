"""Tiny real transformer pipelines, untrained and built without network: one of each family that is known.

Layout, options and schedulers are those of the published checkpoints; only widths and depths shrink. Every tokenizer spells
letters or bytes, so that each word of a prompt is a row of tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from tokenizers import pre_tokenizers

from tests.support.families import BETAS, build_text_encoder, build_tokenizer, ready, seeded

PIXELS = 32
WIDTH = 32
LETTERS = "abcdefghijklmnopqrstuvwxyz"
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
LANGUAGE = {"hidden_size": WIDTH, "intermediate_size": 32, "max_position_embeddings": 2048, **LAYERS}


def build_vae(levels: int = 2, channels: int = 4, **options: Any) -> AutoencoderKL:
    """Return an untrained autoencoder that halves the picture `levels` - 1 times."""
    return AutoencoderKL(
        latent_channels=channels,
        block_out_channels=(8,) * levels,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        norm_num_groups=4,
        use_quant_conv=False,
        use_post_quant_conv=False,
        **{"scaling_factor": 0.3611, "shift_factor": 0.1159, **options},
    )


def flow(**options: Any) -> FlowMatchEulerDiscreteScheduler:
    """Return the scheduler of most families."""
    return FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **options})


def shifting(**options: Any) -> FlowMatchEulerDiscreteScheduler:
    """Return one whose shift follows from the picture's size."""
    return flow(use_dynamic_shifting=True, **options)


def t5(width: int = WIDTH, *, umt5: bool = False) -> tuple[Any, Any]:
    """Return an untrained T5's tokenizer of letters, and its encoder."""
    letters = [(token, 0.0) for token in ("<pad>", "</s>", "<unk>", "▁", *LETTERS)]
    sizes = {"d_model": width, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    tokenizer = transformers.T5Tokenizer(vocab=letters, extra_ids=0)
    if umt5:
        return tokenizer, transformers.UMT5EncoderModel(transformers.UMT5Config(vocab_size=len(letters), **sizes))
    return tokenizer, transformers.T5EncoderModel(transformers.T5Config(vocab_size=len(letters), **sizes))


def gemma() -> tuple[Any, Any]:
    """Return an untrained Gemma 2 and its tokenizer of letters."""
    special = ("<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", "<", ">", ".", "-", "I", "Y", "P", "S")
    vocab = {token: number for number, token in enumerate((*special, *LETTERS))}
    tokenizer = transformers.GemmaTokenizer(vocab=vocab, merges=[])
    config = transformers.Gemma2Config(vocab_size=len(vocab), sliding_window=2048, **LANGUAGE)
    return tokenizer, transformers.Gemma2Model(config)


def bytes_tokenizer() -> Any:
    """Return Qwen's tokenizer over bytes."""
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    vocab = {token: number for number, token in enumerate((*special, *sorted(pre_tokenizers.ByteLevel.alphabet())))}
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocab, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(special[1:])})
    tokenizer.chat_template = CHAT
    return tokenizer


def qwen3(layers: int, *, causal: bool) -> tuple[Any, Any]:
    """Return an untrained Qwen 3 and its tokenizer."""
    tokenizer = bytes_tokenizer()
    config = transformers.Qwen3Config(vocab_size=len(tokenizer), **{**LANGUAGE, "num_hidden_layers": layers})
    return tokenizer, (transformers.Qwen3ForCausalLM if causal else transformers.Qwen3Model)(config)


def build_sd3(qk_norm: str | None = None, dual: tuple[int, ...] = ()) -> Any:
    """Return Stable Diffusion 3, or 3.5 with normalised keys and a second attention of the image alone."""
    with seeded():
        first, second = build_tokenizer(), build_tokenizer("!")
        third, encoder = t5(64)
        return ready(
            diffusers.StableDiffusion3Pipeline(
                tokenizer=first,
                text_encoder=build_text_encoder(first, "quick_gelu", pooled=True),
                tokenizer_2=second,
                text_encoder_2=build_text_encoder(second, "gelu", pooled=True),
                tokenizer_3=third,
                text_encoder_3=encoder,
                transformer=diffusers.SD3Transformer2DModel(
                    sample_size=16,
                    patch_size=2,
                    in_channels=4,
                    out_channels=4,
                    num_layers=3,
                    attention_head_dim=8,
                    num_attention_heads=2,
                    caption_projection_dim=16,
                    joint_attention_dim=64,
                    pooled_projection_dim=64,
                    pos_embed_max_size=16,
                    qk_norm=qk_norm,
                    dual_attention_layers=dual,
                ),
                vae=build_vae(scaling_factor=1.5305, shift_factor=0.0609),
                scheduler=flow(),
            )
        )


def build_sd35() -> Any:
    """Return Stable Diffusion 3.5."""
    return build_sd3("rms_norm", (0, 1))


def build_flux(guidance: bool = True) -> Any:
    """Return Flux, dev or schnell."""
    with seeded():
        first = build_tokenizer()
        second, encoder = t5()
        return ready(
            diffusers.FluxPipeline(
                tokenizer=first,
                text_encoder=build_text_encoder(first, "quick_gelu"),
                tokenizer_2=second,
                text_encoder_2=encoder,
                transformer=diffusers.FluxTransformer2DModel(
                    in_channels=16,
                    num_layers=2,
                    num_single_layers=1,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    joint_attention_dim=WIDTH,
                    pooled_projection_dim=32,
                    guidance_embeds=guidance,
                    axes_dims_rope=(4, 4, 8),
                ),
                vae=build_vae(),
                scheduler=shifting() if guidance else flow(shift=1.0),
            )
        )


def build_schnell() -> Any:
    """Return Flux schnell."""
    return build_flux(guidance=False)


def build_chroma() -> Any:
    """Return Chroma."""
    with seeded():
        tokenizer, encoder = t5()
        return ready(
            diffusers.ChromaPipeline(
                tokenizer=tokenizer,
                text_encoder=encoder,
                transformer=diffusers.ChromaTransformer2DModel(
                    in_channels=16,
                    num_layers=2,
                    num_single_layers=1,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    joint_attention_dim=WIDTH,
                    axes_dims_rope=(4, 4, 8),
                    approximator_num_channels=8,
                    approximator_hidden_dim=16,
                    approximator_layers=1,
                ),
                vae=build_vae(),
                scheduler=flow(shift=1.0, use_beta_sigmas=False),
            )
        )


def build_klein(distilled: bool = False) -> Any:
    """Return Flux 2 klein."""
    with seeded():
        tokenizer, encoder = qwen3(28, causal=True)
        vae = diffusers.AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            block_out_channels=(8, 8),
            layers_per_block=1,
            latent_channels=2,
            norm_num_groups=4,
            sample_size=PIXELS,
        )
        torch.nn.init.normal_(vae.bn.running_mean, std=0.1)
        vae.bn.running_var.uniform_(0.5, 2.0)
        return ready(
            diffusers.Flux2KleinPipeline(
                tokenizer=tokenizer,
                text_encoder=encoder,
                transformer=diffusers.Flux2Transformer2DModel(
                    in_channels=8,
                    num_layers=2,
                    num_single_layers=1,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    joint_attention_dim=3 * WIDTH,
                    timestep_guidance_channels=32,
                    axes_dims_rope=(4, 4, 4, 4),
                    guidance_embeds=False,
                ),
                vae=vae,
                scheduler=shifting(),
                is_distilled=distilled,
            )
        )


def build_qwen() -> Any:
    """Return Qwen-Image."""
    with seeded():
        tokenizer = bytes_tokenizer()
        rope = {"rope_type": "default", "mrope_section": [1, 1, 2]}
        text: dict[str, object] = {
            **LANGUAGE,
            "num_attention_heads": 4,
            "vocab_size": len(tokenizer),
            "bos_token_id": 0,
            "eos_token_id": 0,
        }
        text |= {"rope_parameters": rope}
        vision = {"depth": 1, "hidden_size": 16, "num_heads": 2, "intermediate_size": 16, "out_hidden_size": WIDTH}
        config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
        return ready(
            diffusers.QwenImagePipeline(
                tokenizer=tokenizer,
                text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config),
                transformer=diffusers.QwenImageTransformer2DModel(
                    in_channels=64,
                    out_channels=16,
                    num_layers=3,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    joint_attention_dim=WIDTH,
                    axes_dims_rope=(4, 4, 8),
                ),
                vae=diffusers.AutoencoderKLQwenImage(
                    base_dim=8, z_dim=16, dim_mult=[1, 1], num_res_blocks=1, temperal_downsample=[False]
                ),
                scheduler=shifting(shift_terminal=0.02),
            )
        )


def build_z_image() -> Any:
    """Return Z-Image."""
    with seeded():
        tokenizer, encoder = qwen3(3, causal=False)
        transformer = diffusers.ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=3,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[8, 4, 4],
            axes_lens=[1024, 64, 64],
        )
        for pad in (transformer.x_pad_token, transformer.cap_pad_token):  # torch.empty in diffusers
            torch.nn.init.normal_(pad, std=0.02)
        return ready(
            diffusers.ZImagePipeline(
                tokenizer=tokenizer, text_encoder=encoder, transformer=transformer, vae=build_vae(), scheduler=flow()
            )
        )


def build_lumina2() -> Any:
    """Return Lumina 2, whose autoencoder always halves the picture three times."""
    with seeded():
        tokenizer, encoder = gemma()
        return ready(
            diffusers.Lumina2Pipeline(
                tokenizer=tokenizer,
                text_encoder=encoder,
                transformer=diffusers.Lumina2Transformer2DModel(
                    sample_size=8,
                    in_channels=4,
                    hidden_size=32,
                    num_layers=3,
                    num_refiner_layers=1,
                    num_attention_heads=2,
                    num_kv_heads=1,
                    multiple_of=16,
                    axes_dim_rope=(8, 4, 4),
                    axes_lens=(300, 64, 64),
                    cap_feat_dim=WIDTH,
                ),
                vae=build_vae(4),
                scheduler=flow(shift=6.0),
            )
        )


def build_auraflow() -> Any:
    """Return AuraFlow."""
    with seeded():
        tokenizer, encoder = t5(umt5=True)
        return ready(
            diffusers.AuraFlowPipeline(
                tokenizer=tokenizer,
                text_encoder=encoder,
                transformer=diffusers.AuraFlowTransformer2DModel(
                    sample_size=16,
                    in_channels=4,
                    out_channels=4,
                    num_mmdit_layers=2,
                    num_single_dit_layers=1,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    joint_attention_dim=WIDTH,
                    caption_projection_dim=32,
                    pos_embed_max_size=256,
                ),
                vae=build_vae(scaling_factor=0.13025, shift_factor=None),
                scheduler=flow(shift=1.73),
            )
        )


def build_cogview4() -> Any:
    """Return CogView 4."""
    with seeded():
        tokenizer, _ = t5()  # ends every text with a mark, as GLM's begins it with some: none is empty
        config = transformers.GlmConfig(vocab_size=len(tokenizer), pad_token_id=0, **LANGUAGE)
        return ready(
            diffusers.CogView4Pipeline(
                tokenizer=tokenizer,
                text_encoder=transformers.GlmModel(config),
                transformer=diffusers.CogView4Transformer2DModel(
                    in_channels=4,
                    out_channels=4,
                    num_layers=3,
                    attention_head_dim=16,
                    num_attention_heads=2,
                    text_embed_dim=WIDTH,
                    time_embed_dim=16,
                    condition_dim=4,
                    pos_embed_max_size=16,
                    sample_size=16,
                    rope_axes_dim=(16, 16),
                ),
                vae=build_vae(scaling_factor=1.0, shift_factor=0.0),
                scheduler=shifting(base_shift=0.25, max_shift=0.75, base_image_seq_len=256, time_shift_type="linear"),
            )
        )


def build_pixart() -> Any:
    """Return PixArt-Sigma: epsilon, with a learned variance."""
    with seeded():
        tokenizer, encoder = t5()
        return ready(
            diffusers.PixArtSigmaPipeline(
                tokenizer=tokenizer,
                text_encoder=encoder,
                transformer=diffusers.PixArtTransformer2DModel(
                    num_attention_heads=2,
                    attention_head_dim=8,
                    in_channels=4,
                    out_channels=8,
                    num_layers=3,
                    cross_attention_dim=16,
                    sample_size=16,
                    caption_channels=WIDTH,
                    use_additional_conditions=False,
                ),
                vae=build_vae(scaling_factor=0.13025, shift_factor=None),
                scheduler=diffusers.DPMSolverMultistepScheduler(**{**BETAS, "beta_schedule": "linear", "beta_end": 0.02}),
            )
        )


def build_sana() -> Any:
    """Return Sana: linear self-attention, an autoencoder without a distribution, flow by a second-order solver."""
    with seeded():
        tokenizer, encoder = gemma()
        blocks = {
            f"{side}_{key}": value
            for side in ("encoder", "decoder")
            for key, value in (("block_out_channels", (8, 8)), ("layers_per_block", (1, 1)), ("qkv_multiscales", ((), ())))
        }
        return ready(
            diffusers.SanaPipeline(
                tokenizer=tokenizer,
                text_encoder=encoder,
                transformer=diffusers.SanaTransformer2DModel(
                    in_channels=4,
                    out_channels=4,
                    num_attention_heads=2,
                    attention_head_dim=8,
                    num_layers=3,
                    num_cross_attention_heads=2,
                    cross_attention_head_dim=8,
                    cross_attention_dim=16,
                    caption_channels=WIDTH,
                    sample_size=16,
                ),
                vae=diffusers.AutoencoderDC(latent_channels=4, attention_head_dim=4, scaling_factor=0.41407, **blocks),
                scheduler=diffusers.DPMSolverMultistepScheduler(
                    prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
                ),
            )
        )


TRANSFORMERS: dict[str, Callable[[], Any]] = {
    "sd3": build_sd3,
    "sd3.5": build_sd35,
    "flux-dev": build_flux,
    "flux-schnell": build_schnell,
    "klein": build_klein,
    "chroma": build_chroma,
    "qwen": build_qwen,
    "z-image": build_z_image,
    "lumina2": build_lumina2,
    "auraflow": build_auraflow,
    "cogview4": build_cogview4,
    "pixart": build_pixart,
    "sana": build_sana,
}


def pixels_of(family: str) -> int:
    """Return the size at which a family is tried."""
    return 2 * PIXELS if family == "lumina2" else PIXELS
