"""CLIP as a judge, with a real, tiny CLIP model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

from actgen.errors import UserError
from actgen.filters import open_chain
from actgen.filters.base import View
from actgen.filters.clip import ClipConsistency
from actgen.filters.options import Filters
from actgen.finetune.tiny import build_tokenizer
from tests.filters.parts import fashion, picture, sample_of
from tests.filters.test_consistency import classifier

NAMES = fashion().train.class_names


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `CLIPModel.save_pretrained` and `CLIPProcessor.save_pretrained` write it."""
    path = tmp_path_factory.mktemp("clip")
    tokenizer = build_tokenizer(NAMES)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={**layers, "vocab_size": len(tokenizer), "max_position_embeddings": tokenizer.model_max_length,
                     "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
                     "pad_token_id": tokenizer.pad_token_id},
        vision_config={**layers, "image_size": 32, "patch_size": 8}, projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(path)
    size = {"height": 32, "width": 32}
    CLIPProcessor(CLIPImageProcessor(size=size, crop_size=size), tokenizer).save_pretrained(path)
    return path


def test_it_says_what_clip_itself_says(folder: Path) -> None:
    model, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    ours = ClipConsistency(str(folder), 3, NAMES)
    given = processor(text=ours.prompts, images=[picture("train", 5)], return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = model(**given).logits_per_image[0].softmax(dim=0)
    torch.testing.assert_close(ours.probabilities(picture("train", 5)), expected)


@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_a_class_among_the_first_is_kept(folder: Path, top_k: int) -> None:
    clip = ClipConsistency(str(folder), top_k, NAMES)
    order = clip.probabilities(picture("train", 5)).argsort(descending=True).tolist()
    for place, label in enumerate(order):
        verdict = clip.judge(sample_of(picture("train", 5), "k", label), View(classifier(1), {}))
        assert verdict.kept == (place < top_k)
        assert verdict.kept or f"CLIP's choice {place + 1} " in verdict.reason


def test_it_is_on_if_a_model_is_given(folder: Path) -> None:
    data = fashion()
    assert open_chain(Filters(clip=str(folder)), data.train, data.test).names == ["emptiness", "leakage", "clip"]
    assert open_chain(Filters(), data.train, data.test).names == ["emptiness", "leakage"]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"filters\.clip = .*cannot be loaded"):
        ClipConsistency(str(tmp_path), 3, NAMES)
