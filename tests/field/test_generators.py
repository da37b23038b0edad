"""Generators, LoRA files and models that people reported elsewhere as not loading, or loading in part; rebuilt small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from actgen.classifiers.classifier import create_classifier
from actgen.core.errors import UserError
from actgen.diffusion.folder_parts import load_options
from actgen.diffusion.lora import find_lora, load_lora
from tests.support.families import FAMILIES, save

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"


def parts(family: str = "sd1") -> dict[str, nn.Module]:
    pipeline = FAMILIES[family]()
    found = {name: getattr(pipeline, name, None) for name in ("unet", "text_encoder", "text_encoder_2")}
    return {name: part for name, part in found.items() if part is not None}


def pair(network: nn.Module, path: str, rank: int = 2) -> tuple[Tensor, Tensor]:
    weight = network.get_submodule(path).get_parameter("weight")
    tail = weight.shape[2:]
    return torch.ones(rank, weight.shape[1], *tail), torch.ones(weight.shape[0], rank, *(1 for _ in tail))


def written(folder: Path, tensors: dict[str, Tensor]) -> str:
    save_file(tensors, folder / "lora.safetensors")
    return str(folder / "lora.safetensors")


# LoRA


# https://github.com/LucianoCirino/efficiency-nodes-comfyui/issues/104
def test_attention_processors_of_the_training_scripts(tmp_path: Path) -> None:
    networks, tensors = parts(), dict[str, Tensor]()
    for name, inside in (("to_q", "to_q"), ("to_k", "to_k"), ("to_v", "to_v"), ("to_out", "to_out.0")):
        down, up = pair(networks["unet"], f"{ATTENTION}.{inside}")
        stem = f"unet.{ATTENTION}.processor.{name}_lora"
        tensors |= {f"{stem}.down.weight": down, f"{stem}.up.weight": up}
    assert load_lora(networks, written(tmp_path, tensors)) == 8


# https://github.com/huggingface/diffusers/issues/11209
def test_kohya_with_alphas(tmp_path: Path) -> None:
    networks = parts()
    down, up = pair(networks["unet"], f"{ATTENTION}.to_k")
    stem = f"lora_unet_{ATTENTION.replace('.', '_')}_to_k"
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(1.0)}
    assert load_lora(networks, written(tmp_path, tensors)) == 3


# https://github.com/huggingface/diffusers/issues/6368
def test_convolutions(tmp_path: Path) -> None:
    networks = parts()
    path = next(name for name, part in networks["unet"].named_modules() if name.endswith("downsamplers.0.conv") and part)
    down, up = pair(networks["unet"], path)
    stem = f"lora_unet_{path.replace('.', '_')}"
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.alpha": torch.tensor(2.0)}
    assert load_lora(networks, written(tmp_path, tensors)) == 3


# https://github.com/huggingface/diffusers/issues/8237
def test_the_projection_of_the_second_text_encoder(tmp_path: Path) -> None:
    networks = parts("sdxl")
    down, up = pair(networks["text_encoder_2"], "text_projection")
    tensors = {f"lora_te2_text_projection.lora_{side}.weight": part for side, part in (("down", down), ("up", up))}
    assert load_lora(networks, written(tmp_path, tensors)) == 2
    with pytest.raises(UserError, match="it has no text_encoder_2"):
        load_lora(parts(), written(tmp_path, tensors))


# https://github.com/Comfy-Org/ComfyUI/issues/3060
def test_magnitudes_of_a_text_encoder(tmp_path: Path) -> None:
    networks = parts()
    ends = "encoder.layers.0.self_attn.k_proj"
    path = next(name for name, _ in networks["text_encoder"].named_modules() if name.endswith(ends))
    down, up = pair(networks["text_encoder"], path)
    stem = "lora_te_text_model_" + ends.replace(".", "_")
    tensors = {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up, f"{stem}.dora_scale": torch.ones(len(up), 1)}
    assert load_lora(networks, written(tmp_path, tensors)) == 3


# https://github.com/huggingface/diffusers/issues/11224
def test_a_layer_that_this_unet_does_not_have_is_named(tmp_path: Path) -> None:
    networks = parts()
    down, up = pair(networks["unet"], f"{ATTENTION}.to_k")
    stem = f"unet.{ATTENTION}.to_k"
    good = {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
    with pytest.raises(UserError, match=r"lora_unet_label_emb_0_0\.alpha"):
        load_lora(networks, written(tmp_path, {**good, "lora_unet_label_emb_0_0.alpha": torch.tensor(1.0)}))


# https://github.com/huggingface/diffusers/pull/3437
def test_layers_within_a_layer_are_named_and_not_dropped(tmp_path: Path) -> None:
    stem = "text_encoder.text_model.encoder.layers.0.self_attn.k_proj.to_k_lora"
    tensors = {f"{stem}.down.weight": torch.zeros(4, 32), f"{stem}.up.weight": torch.zeros(32, 4)}
    with pytest.raises(UserError, match="of its 2 tensors, this generator has layers for 0"):
        load_lora(parts(), written(tmp_path, tensors))


# https://github.com/huggingface/diffusers/issues/10004
def test_a_lora_of_another_family_is_named(tmp_path: Path) -> None:
    tensors = {
        f"lora_te1_text_model_encoder_layers_40_mlp_fc1.lora_{side}.weight": torch.zeros(2, 2) for side in ("up", "down")
    }
    with pytest.raises(UserError, match="the generator's text_encoder has no such layer"):
        load_lora(parts(), written(tmp_path, tensors))


# folders


# https://github.com/huggingface/diffusers/issues/10928
def test_half_precision_files_only(tmp_path: Path) -> None:
    save(FAMILIES["sd1"](), tmp_path)
    for part in ("unet", "vae"):
        for path in (tmp_path / part).glob("*.safetensors"):
            path.rename(path.with_name(f"{path.stem}.fp16.safetensors"))
    assert load_options(tmp_path) == {"variant": "fp16"}


# https://github.com/huggingface/optimum-intel/pull/990, https://github.com/JackAILab/ConsistentID/issues/18
@pytest.mark.parametrize("part", ["safety_checker", "feature_extractor"])
def test_optional_parts_that_are_listed_and_gone(tmp_path: Path, part: str) -> None:
    save(FAMILIES["sd1"](), tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text(encoding="utf-8"))
    (tmp_path / "model_index.json").write_text(json.dumps({**index, part: ["transformers", "CLIPImageProcessor"]}))
    assert load_options(tmp_path) == {part: None}


# https://github.com/huggingface/diffusers/issues/5259
def test_a_path_that_is_not_there_is_told_so() -> None:
    with pytest.raises(UserError, match="there is no such file or folder"):
        find_lora("C:\\models\\Koreandoll.safetensors")


# classifiers


# https://github.com/huggingface/accelerate/issues/4212
def test_a_timm_id_without_a_prefix() -> None:
    assert create_classifier("timm/resnet18.a1_in1k", 2, data_size=32).image_size == 32


# https://github.com/huggingface/pytorch-image-models/issues/1922
def test_a_timm_id_with_the_old_prefix() -> None:
    assert create_classifier("hf_hub:timm/resnet18.a1_in1k", 2, data_size=32).image_size == 32


# https://github.com/huggingface/pytorch-image-models/issues/185
def test_a_name_that_was_changed_is_told_the_nearest() -> None:
    with pytest.raises(UserError, match="mobilenetv3"):
        create_classifier("mobilenetv3_100", 2, data_size=32)


# https://github.com/huggingface/pytorch-image-models/issues/2171
def test_a_tag_that_timm_does_not_have() -> None:
    with pytest.raises(UserError, match="is unknown"):
        create_classifier("timm/resnet18.no_such_tag", 2, data_size=32)


# https://github.com/huggingface/pytorch-image-models/issues/2447
def test_a_folder_of_another_library(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mobilenet_v2"}), encoding="utf-8")
    with pytest.raises(UserError, match="its configuration cannot be had"):
        create_classifier(f"local-dir:{tmp_path}", 2, data_size=32)
