"""What stands in for a reader's pictures, generators and hours: small folders under the names that pages use, small values."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.assets import bundled_generator
from actgen.data.datasets.eurosat import CLASSES as EUROSAT
from actgen.data.store.store import Store
from tests.conftest import make_sample, write_clip, write_digits
from tests.docs.blocks import ROOT
from tests.docs.commands import CHECKED, check
from tests.support import families
from tests.support.stand_ins import CIFAR10, CIFAR100, IMAGENET, write_cifar, write_eurosat, write_imagenet
from tests.training.processes.conftest import ENVIRONMENT

SD = "stable-diffusion-v1-5/stable-diffusion-v1-5"
STABLE = ("cifar10-resnet50", "cifar100-resnet50", "eurosat-16shot", "imagenet-resnet50", SD)  # recipes that generate with it

# the names that a snippet may say, where the stand-in lies, who makes it
STAND_INS: tuple[tuple[tuple[str, ...], str, Callable[[Path], object]], ...] = (
    (("my_photos",), "my_photos", lambda path: write_photos(path)),
    (("DATA",), "DATA", lambda path: write_photos(path)),
    (("my_generator",), "my_generator", lambda path: shutil.copytree(bundled_generator(), path)),
    (("mine",), "mine", lambda path: shutil.copytree(bundled_generator(), path)),
    (("ID",), "ID", lambda path: write_stable(path)),
    (("CLIP_ID",), "CLIP_ID", lambda path: write_clip(path)),
    (("TURBO_ID",), "TURBO_ID", lambda path: families.save(families.build_turbo(), path)),
    (STABLE, SD, lambda path: write_stable(path)),
    (("my_lora",), "my_lora", lambda path: families.save_lora(path)),
    (("mine.toml",), "mine.toml", lambda path: path.write_text("images = 80\n", encoding="utf-8")),
    (("RECIPE",), "RECIPE", lambda path: path.write_text("images = 80\n", encoding="utf-8")),
    (("runs/mine/store",), "runs/mine/store", lambda path: write_store(path)),
    (("cifar10-resnet50",), "data/cifar-10-batches-bin", lambda path: write_cifar(path.parent, train=8)),
    (("cifar100-resnet50",), "data/cifar-100-binary", lambda path: write_cifar(path.parent, "cifar100", train=3)),
    (("eurosat-16shot",), "data/eurosat", lambda path: write_eurosat(path, each=10)),
    (("imagenet:DIR",), "DIR", lambda path: write_imagenet(path, train=16)),
    (
        ("all-results.jsonl",),
        "all-results.jsonl",
        lambda path: shutil.copy(ROOT / "benchmarks/fashion-mnist-2000/results.jsonl", path),
    ),
)

LAID: set[Path] = set()
"""Stand-ins that lie somewhere; a page may show later how to make what it has used."""

TINY = [
    "model.name=actgen/tiny-cnn",
    "model.image_size=32",
    "model.stem=published",
    "model.pretrained=false",
    "model.freeze=none",
    "model.drop_path=0",
    "model.dropout=0",
    "training.epochs=2",
    "training.batch_size=32",
    "training.test_every=9",
    "training.workers=0",
    "training.warmup_epochs=0",
    "images=80",
    "sampling.num_inference_steps=2",
    "filters.retries=0",
    "mining.proxy_epochs=1",
    "selection.levels=1",
]
SETTINGS = [f"--set={one}" for one in TINY]
SMALL: dict[str, list[str]] = {
    "train": [*SETTINGS, "--model=actgen/tiny-cnn", "--epochs=2", "--set=evaluation.on=validation"],
    "demo": [*(one for one in SETTINGS if "images=80" not in one), "--set=labels_per_class=3", "--label-sets=0:1"],
    "bench": [*SETTINGS, "--seeds=0:1", "--processes=1", "--evaluate=validation"],
    "probe": ["--count=10", "--model=actgen/tiny-cnn", "--set=sampling.num_inference_steps=2", "--set=training.epochs=1"],
    "cifar100-resnet50": ["--set=images=0"],
    "eurosat-16shot": ["--budgets=0.1"],
    "--classes": ["--count=4", "--set=sampling.num_inference_steps=2"],
    "--generate-on": ["--generate-on=cpu", "--epochs=4"],
    "--from-scratch": ["--steps=2", "--autoencoder-steps=2", "--images=40"],
    "--lora": ["--steps=2", "--images=40", "--set=sampling.num_inference_steps=2"],
    "--full": ["--steps=2", "--images=40", "--set=sampling.num_inference_steps=2"],
    "--precision": ["--precision=no"],
}
"""What is put behind a command that has the word; of an option that is given twice, the last counts."""
WORDS = {"r003-00012": "r000-00000"}
"""What is put in the place of a word."""
LAUNCHED = {
    "torchrun": ["--standalone", "--nproc_per_node", "2"],
    "accelerate": ["launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0"],
}
SMALL_PYTHON = {
    "actgen/small-cnn": "actgen/tiny-cnn",
    "epochs, snapshot = 4": "epochs, snapshot = 2",
    "budget=20": "budget=3",
    "fraction=0.1": "fraction=0.9",
    "training.epochs=30": "training.epochs=2",
    "images=500": "images=80",
    "num_workers=4": "num_workers=1",
    "None, 4\n": "None, 2\n",
}
"""What is put in the place of a text in Python, wherever it is found."""
GIVEN = {
    "import actgen\n\nrecipe": """
from torch.utils.data import DataLoader
import actgen
classifier = actgen.create_classifier("actgen/tiny-cnn", classes=4, data_size=32)
""",
    "GrowingFolder(active": """
active = actgen.ActiveGeneration.from_recipe(recipe, "runs/grown", classifier)
model, epoch = classifier, 0
""",
}
"""What Python with the text takes as given, in words or in the snippet before it."""


def write_photos(path: Path) -> None:
    """Write what a reader has of four classes."""
    write_digits(path, "train", 0, 20)
    write_digits(path, "test", 20, 24)


def write_stable(path: Path) -> None:
    """Write Stable Diffusion 1's layout in small; its tokenizer has the words of all stand-ins, so that no prompt is cut."""
    words = (*families.CLASSES, *CIFAR10, *CIFAR100, *IMAGENET.values(), *(f"satellite photo of {name}" for name in EUROSAT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "CLASSES", words)
        families.save(families.build_sd1(), path)


def write_store(path: Path) -> None:
    """Write a store of one image of a class of the photos."""
    Store(path).add(make_sample("r000-00000", label=1, class_name="three"), {})


def lay(text: str) -> None:
    """Put what a snippet takes as given where it says, unless it is there; what it makes itself (`--out`) is taken away."""
    for made in re.findall(r"--out[ =](\S+)", text):
        if (laid := Path(made).resolve()) in LAID:
            LAID.remove(laid)
            shutil.rmtree(laid)
    text = re.sub(r"--out[ =]\S+", "", text)
    for names, where, make in STAND_INS:
        named = any(re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w./-])", text) for name in names)
        if named and not Path(where).exists():
            Path(where).parent.mkdir(parents=True, exist_ok=True)
            make(Path(where))
            LAID.add(Path(where).resolve())


def smaller(code: str) -> str:
    """Return Python with small values, and with what it takes as given before it."""
    code = "".join(given for text, given in GIVEN.items() if text in code) + code
    for shown, small in SMALL_PYTHON.items():
        code = code.replace(shown, small)
    return code


def run(words: list[str]) -> None:
    """Run a command with small values, or check one that is never run."""
    if words[0].startswith("--"):
        words = ["actgen", "train", "--strategy", "none", "--out", "runs/" + "".join(filter(str.isalnum, words[-1])), *words]
    lay(shlex.join(words))
    if words[0] in CHECKED or words[1].startswith("benchmarks/"):
        check(words)
    elif words[0] == "python":
        _python(words[1:])
    elif words[0] in LAUNCHED:
        _launch(words[0], words[words.index("actgen") + 1 :])
    else:
        _actgen(words[1:])


def _small(arguments: list[str]) -> list[str]:
    """Return the words of `actgen` with small values."""
    behind = [one for word, values in SMALL.items() if word in arguments for one in values]
    return [*(WORDS.get(word, word) for word in arguments), *behind]


def _actgen(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, _small(arguments), catch_exceptions=False)
    assert result.exit_code == 0, f"actgen {shlex.join(_small(arguments))}\n{result.output}"


def _launch(launcher: str, arguments: list[str]) -> None:
    """Start two processes as the page does it with more."""
    program = str(Path(sys.executable).parent / launcher)
    _subprocess([program, *LAUNCHED[launcher], "-m", "actgen", *_small(arguments)])


def _python(arguments: list[str]) -> None:
    if arguments[0] == "-m":
        _subprocess([sys.executable, *arguments])
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [arguments[0], *arguments[1:], *TINY])
        runpy.run_path(str(ROOT / arguments[0]), run_name="__main__")


def _subprocess(command: list[str]) -> None:
    done = subprocess.run(
        command, env={**ENVIRONMENT, "CUDA_VISIBLE_DEVICES": ""}, cwd=os.getcwd(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
