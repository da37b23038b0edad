"""Tiny real parts that tests share: photographs of digits in class folders, and a generator trained on them."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from sklearn.datasets import load_digits
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor
from typer.testing import CliRunner

from actgen.cli.app import app, main
from actgen.core.types import Request, Sample
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES
from actgen.data.datasets.sources import load_data
from actgen.experiment.config import Recipe, build_recipe
from actgen.finetune.scratch import ScratchConfig, train_from_scratch
from actgen.finetune.tiny import build_tokenizer

settings.register_profile("same every time", derandomize=True, database=None, deadline=None)
settings.load_profile("same every time")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs behind it; tests of Ctrl-C need it
    signal.signal(signal.SIGINT, signal.default_int_handler)

CLASSES = ("zero", "one", "two", "three")
TRAIN_IMAGES, TEST_IMAGES = 30, 10  # of each class
GENERATOR_STEPS = {"autoencoder": 15, "features": 2, "decoder": 2, "denoiser": 10}

# Files of a folder and what is in them; None stands for a folder.
Tree = dict[str, bytes | None]
Refuse = Callable[..., str]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=8, help="how often tests of the marker crash kill a run")


@pytest.fixture(scope="session")
def kills(request: pytest.FixtureRequest) -> int:
    """How often runs are to be killed."""
    return int(request.config.getoption("--kills"))


def write_digits(root: Path, split: str, first: int, last: int, classes: Sequence[str] = CLASSES) -> None:
    """Write images first..last of every digit as 8-pixel PNGs in class folders."""
    pixels, labels = load_digits(return_X_y=True)
    for label, name in enumerate(classes):
        folder = root / split / name
        folder.mkdir(parents=True)
        for number, flat in enumerate(pixels[labels == label][first:last]):
            Image.fromarray((flat.reshape(8, 8) * 255 / 16).astype(np.uint8)).save(folder / f"{number:03d}.png")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train/ and test/ of four classes of real digits."""
    root = tmp_path_factory.mktemp("data") / "digits"
    write_digits(root, "train", 0, TRAIN_IMAGES)
    write_digits(root, "test", TRAIN_IMAGES, TRAIN_IMAGES + TEST_IMAGES)
    return root


@pytest.fixture(scope="session")
def tiny_generator(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline folder that `actgen finetune` made of the digits in a few small steps: it generates blots, by the real
    path."""
    out = tmp_path_factory.mktemp("generator") / "digits-generator"
    few = {name: replace(getattr(ScratchConfig(), name), steps=steps, batch_size=16) for name, steps in GENERATOR_STEPS.items()}
    for _ in train_from_scratch(load_data(str(digits)).train, out, ScratchConfig(**few)):
        pass
    return out


def command(digits: Path, generator: Path, out: Path) -> list[str]:
    return [
        "train",
        "--data",
        str(digits),
        "--generator",
        str(generator),
        "--out",
        str(out),
        "--model",
        "actgen/small-cnn",
        "--strategy",
        "actgen",
        "--epochs",
        "4",
        "--budget",
        "0.3",
        "--seed",
        "7",
        "--set",
        "model.image_size=32",
        "--set",
        "sampling.num_inference_steps=4",
        "--set",
        "sampling.batch_size=8",
        "--set",
        "training.batch_size=32",
        "--set",
        "mining.pool=holdout",
    ]


@pytest.fixture(scope="session")
def recipe(digits: Path, tiny_generator: Path) -> Recipe:
    settings = [
        "model.image_size=32",
        "sampling.num_inference_steps=4",
        "sampling.batch_size=8",
        "training.batch_size=32",
        "mining.pool=holdout",
    ]
    flags = {
        "data": str(digits),
        "generator": str(tiny_generator),
        "model.name": "actgen/small-cnn",
        "seed": 7,
        "training.epochs": 4,
        "strategy": "actgen",
        "generation.budget": 0.3,
    }
    return build_recipe(settings=settings, flags=flags)


@pytest.fixture(scope="session")
def finished(digits: Path, tiny_generator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was started on the command line and ran to its end."""
    out = tmp_path_factory.mktemp("run") / "first"
    result = CliRunner().invoke(app, command(digits, tiny_generator, out), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert str(out / "report.html") in result.output.replace("\n", "")
    return out


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained CLIP model."""
    return write_clip(tmp_path_factory.mktemp("clip"))


def write_clip(path: Path) -> Path:
    """Write an untrained CLIP model as `CLIPModel.save_pretrained` and `CLIPProcessor.save_pretrained` do."""
    tokenizer = build_tokenizer(FASHION_MNIST_CLASSES)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = CLIPConfig(
        text_config={
            **layers,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": tokenizer.model_max_length,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**layers, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    torch.manual_seed(0)
    CLIPModel(config).save_pretrained(path)
    size = {"height": 32, "width": 32}
    CLIPProcessor(CLIPImageProcessor(size=size, crop_size=size), tokenizer).save_pretrained(path)
    return path


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Run `main()` and return its message, after checking that it is one and that nothing was written."""

    def call(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["actgen", *arguments])
        monkeypatch.chdir(tmp_path)
        before = tree(tmp_path)
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        seen = capsys.readouterr()
        assert end.value.code == 2, seen
        assert tree(tmp_path) == before
        assert "Traceback" not in seen.out + seen.err
        notes, begin, message = seen.err.partition("actgen: ")  # notes: what was understood of the data
        assert begin, seen.err
        assert not notes or notes.startswith("data: ")
        assert 1 <= len(message.strip().splitlines()) <= 2, seen.err
        return begin + message

    return call


def tree(folder: Path) -> Tree:
    """Return everything below `folder`; {} if it does not exist."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))
    }


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def without_times(value: Any) -> Any:
    """Return JSON data without what was measured of the machine, seconds and memory, at any depth."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if not key.endswith(("seconds", "_gib"))}
    return [without_times(part) for part in value] if isinstance(value, list) else value


def make_sample(key: str, shade: int = 0, label: int = 0, class_name: str = "coat") -> Sample:
    """Return a finished generating of one colour."""
    request = Request(
        key=key,
        label=label,
        class_name=class_name,
        prompt=f"a photo of {class_name}",
        seed=1,
        strategy="text-only",
        round=0,
    )
    image = Image.new("RGB", (8, 8), (shade, shade, shade))
    return Sample(request=request, image=image, latents=torch.zeros(4, 2, 2), mask=None, seconds=0.1)
