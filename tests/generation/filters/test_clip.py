"""CLIP as a judge, with a real, tiny CLIP model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPModel, CLIPProcessor

from actgen.classifiers.zero_shot import ZeroShot
from actgen.core.errors import UserError
from actgen.generation.filters import open_chain
from actgen.generation.filters.base import FilterView
from actgen.generation.filters.clip import ClipConsistency
from actgen.generation.filters.options import Filters
from tests.support.classifiers import classifier
from tests.support.pictures import fashion, picture, sample_of

NAMES = fashion().train.class_names


def test_it_says_what_clip_itself_says(clip_folder: Path) -> None:
    model, processor = CLIPModel.from_pretrained(clip_folder).eval(), CLIPProcessor.from_pretrained(clip_folder)
    ours = ZeroShot(str(clip_folder), NAMES, given="--clip")
    given = processor(text=ours.prompts, images=[picture("train", 5)], return_tensors="pt", padding=True)
    with torch.no_grad():
        expected = model(**given).logits_per_image[0].softmax(dim=0)
    torch.testing.assert_close(ours.probabilities([picture("train", 5)])[0], expected)


@pytest.mark.parametrize("top_k", [1, 3, 10])
def test_a_class_among_the_first_is_kept(clip_folder: Path, top_k: int) -> None:
    clip = ClipConsistency(str(clip_folder), top_k, NAMES)
    order = clip.clip.probabilities([picture("train", 5)])[0].argsort(descending=True).tolist()
    for place, label in enumerate(order):
        verdict = clip.judge(sample_of(picture("train", 5), "k", label), FilterView(classifier(1), {}))
        assert verdict.kept == (place < top_k)
        assert verdict.kept or f"CLIP's choice {place + 1} " in verdict.reason


def test_it_is_on_if_a_model_is_given(clip_folder: Path) -> None:
    data = fashion()
    assert open_chain(Filters(clip=str(clip_folder)), data.train, data.test).names == ["emptiness", "leakage", "clip"]
    assert open_chain(Filters(), data.train, data.test).names == ["emptiness", "leakage"]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"filters\.clip = .*cannot be loaded"):
        ClipConsistency(str(tmp_path), 3, NAMES)
