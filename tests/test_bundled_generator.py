"""The generator that comes with the package."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from actgen.data.idx import FASHION_MNIST_CLASSES
from actgen.drawing import Artist
from actgen.records import Progress
from actgen.runs import bundled_generator
from actgen.strategies.text_only import TextOnly

FOLDER = bundled_generator()


def test_it_is_small_half_precision_and_safe() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 16_000_000
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".ckpt", ".pkl")]
    for path in FOLDER.rglob("*.safetensors"):
        with safe_open(path, "pt") as weights:
            names = list(weights.keys())
            assert {weights.get_tensor(name).dtype for name in names if "position_ids" not in name} == {torch.float16}


def test_its_card_says_what_it_was_made_from() -> None:
    facts = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))
    assert facts["images"] == 60_000  # the training images and no test image
    assert tuple(facts["classes"]) == FASHION_MNIST_CLASSES
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    for word in ("finetune --from-scratch", "seed", "wall minutes", "Device", "Measured quality"):
        assert word in card, word


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_stock_diffusers_loads_it() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(str(FOLDER), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a photo of ankle boot", num_inference_steps=4, guidance_scale=1.0, output_type="np").images
    assert image.shape == (1, 32, 32, 3)
    assert float(image.std()) > 0.05


def test_its_classes_differ() -> None:
    """Trousers are upright and sneakers flat: the mean drawing of each class says so."""
    artist = Artist.from_pretrained(str(FOLDER), preset="tiny")
    requests = [request for request in TextOnly().plan([], FASHION_MNIST_CLASSES, 80, Progress(epoch=0, epochs=1), 0)
                if request.class_name in ("trouser", "sneaker")]  # fmt: skip
    right = []
    for sample in artist.draw(requests):
        pixels = torch.from_numpy(np.array(sample.image.convert("L")))
        wide, high = (pixels.amax(dim=0) > 60).sum(), (pixels.amax(dim=1) > 60).sum()
        right.append(bool(high > wide) == (sample.request.class_name == "trouser"))
    assert sum(right) >= 0.9 * len(right) > 0
