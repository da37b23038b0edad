"""Adapting generators: the commands from data to classifier, exact continuation, and what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.finetune.adapt import Adaptation, adapt
from actgen.finetune.lora import FILE
from actgen.finetune.options import AdaptOptions, LoraOptions, as_flags
from actgen.generation.presets import SamplingConfig
from tests.conftest import Refuse, read_lines
from tests.support.coloured import PROMPTS, coloured, write_coloured
from tests.support.families import EULER_WARNING, FAMILIES, build_dit, save

pytestmark = pytest.mark.filterwarnings(EULER_WARNING)

TWO_STEPS = ("--set", "sampling.num_inference_steps=2")
FEW = AdaptOptions(steps=4, batch_size=2, sample_every=2, learning_rate=1e-2)


@pytest.fixture(scope="module")
def generators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pipeline folders by family, and one that cannot be adapted."""
    root = tmp_path_factory.mktemp("generators")
    for family in ("sd1", "sd2-v", "sdxl", "lcm"):
        save(FAMILIES[family](), root / family)
    save(build_dit(), root / "dit")
    return root


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 coloured pictures in four class folders."""
    return write_coloured(tmp_path_factory.mktemp("data") / "colours", 50)


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output.replace("\n", "")


def finetune(generator: Path, data: Path, out: Path, *more: str) -> list[str]:
    return [
        "finetune",
        "--generator",
        str(generator),
        "--data",
        str(data),
        "--out",
        str(out),
        "--steps",
        "2",
        "--batch-size",
        "2",
        *TWO_STEPS,
        *more,
    ]


def task(generator: Path, out: Path, options: AdaptOptions = FEW) -> Adaptation:
    return Adaptation(
        images=coloured(3),
        prompts=PROMPTS,
        generator=str(generator),
        out=out,
        options=options,
        sampling=SamplingConfig(num_inference_steps=2),
    )


def picture(pipeline: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.Generator().manual_seed(0)
    return np.asarray(pipeline("a photo of coat", num_inference_steps=2, generator=noise).images[0], dtype=np.float64)


def test_from_pictures_to_a_classifier_in_two_commands(generators: Path, data: Path, tmp_path: Path) -> None:
    lora, run, template = tmp_path / "lora", tmp_path / "run", ("--set", "prompts.template=a swatch of {}")
    said = call(*finetune(generators / "sd1", data, lora, "--lora", "--rank", "4", "--learning-rate", "0.01", *template))
    assert str(lora) in said
    call(
        "train",
        "--data",
        str(data),
        "--model",
        "actgen/tiny-cnn",
        "--generator",
        str(generators / "sd1"),
        "--set",
        f"loading.lora={lora}",
        "--epochs",
        "2",
        "--budget",
        "0.02",
        "--set",
        "model.image_size=32",
        *TWO_STEPS,
        "--set",
        "mining.by=random",
        *template,
        "--out",
        str(run),
    )
    rows = read_lines(run / "store" / "metadata.jsonl")
    assert len(rows) == 4
    assert {row["loading"]["lora"] for row in rows} == {str(lora)}
    prompts = json.loads((lora / "training.json").read_text(encoding="utf-8"))["prompts"]
    assert {row["prompt"] for row in rows} <= set(prompts.values()) == {f"a swatch of {name}" for name in PROMPTS}
    pipeline = DiffusionPipeline.from_pretrained(generators / "sd1")
    plain = picture(pipeline)
    pipeline.load_lora_weights(str(lora))
    assert np.abs(picture(pipeline) - plain).max() > 0
    card = (lora / "README.md").read_text(encoding="utf-8")
    assert f"--set loading.lora={lora} --set 'prompts.template=a swatch of {{}}'" in card
    assert f"pipeline.load_lora_weights({str(lora)!r})" in card
    assert "actgen finetune --generator" in card
    for name in ("loss.png", "samples.png", "samples-before.png"):
        with Image.open(lora / name) as image:
            assert image.size[0] > 32


def test_the_bundled_generator_learns_classes_that_it_never_saw(digits: Path, tmp_path: Path) -> None:
    lora, more = tmp_path / "lora", ("--set", f"loading.lora={tmp_path / 'lora'}")
    call(*finetune(Path("bundled"), digits, lora, "--lora", "--sample-every", "0"))
    call("generate", "--classes", "zero,one", "--count", "2", *TWO_STEPS, *more, "--out", str(tmp_path / "store"))
    assert len(read_lines(tmp_path / "store" / "metadata.jsonl")) == 2


@pytest.mark.parametrize("family", ["sd2-v", "sdxl"])
def test_other_families(generators: Path, tmp_path: Path, family: str) -> None:
    options = replace(FEW, steps=2, lora=LoraOptions(rank=2, text_encoder=True), min_snr=5.0, gradient_checkpointing=True)
    assert [p.tick.step for p in adapt(task(generators / family, tmp_path / "lora", options))] == [1, 2]
    names = {name.partition(".")[0] for name in load_file(tmp_path / "lora" / FILE)}
    assert names == {"unet", "text_encoder", *(("text_encoder_2",) if family == "sdxl" else ())}
    pipeline = DiffusionPipeline.from_pretrained(generators / family)
    plain = picture(pipeline)
    pipeline.load_lora_weights(str(tmp_path / "lora"))
    assert np.abs(picture(pipeline) - plain).max() > 0


def test_full_gives_a_plain_pipeline_that_draws_at_the_size_it_was_trained_at(generators: Path, tmp_path: Path) -> None:
    options = replace(FEW, lora=None, steps=2, resolution=48)
    list(adapt(task(generators / "sd1", tmp_path / "full", options)))
    assert picture(DiffusionPipeline.from_pretrained(tmp_path / "full")).shape == (48, 48, 3)
    before, after = (
        load_file(folder / "unet" / "diffusion_pytorch_model.safetensors") for folder in (generators / "sd1", tmp_path / "full")
    )
    assert all(not torch.equal(before[name], after[name]) for name in before)
    vaes = [
        load_file(folder / "vae" / "diffusion_pytorch_model.safetensors") for folder in (generators / "sd1", tmp_path / "full")
    ]
    assert all(torch.equal(vaes[0][name], vaes[1][name]) for name in vaes[0])


EVERYTHING = replace(
    FEW, steps=3, lora=LoraOptions(rank=2, text_encoder=True), ema=0.9, prior_preservation=0.5, prior_images=4, sample_every=1
)


@pytest.mark.parametrize(
    ("options", "stops"),  # among the prior's images and after a step; after a step and after the last one
    [(EVERYTHING, (2, 3)), (replace(FEW, lora=None, steps=3, sample_every=1), (1, 2))],
    ids=["lora", "full"],
)
def test_a_stopped_adaptation_equals_one_that_was_not(
    generators: Path, tmp_path: Path, options: AdaptOptions, stops: tuple[int, ...]
) -> None:
    def seen(name: str, most: int | None = None) -> list[tuple[str, int, float | None]]:
        return [
            (p.stage, p.tick.step, p.tick.loss) for p in islice(adapt(task(generators / "sd1", tmp_path / name, options)), most)
        ]

    whole, parts = seen("whole"), []
    for stop in stops:
        parts += seen("stopped", stop)
        assert not (tmp_path / "stopped").exists()
    assert parts + seen("stopped") == whole  # no step was taken twice
    weights = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.safetensors")]
    assert weights
    for path in [*weights, Path("samples.png"), Path("samples-before.png"), Path("loss.png")]:
        assert (tmp_path / "whole" / path).read_bytes() == (tmp_path / "stopped" / path).read_bytes(), path


def test_other_settings_do_not_continue_it(generators: Path, tmp_path: Path) -> None:
    next(adapt(task(generators / "sd1", tmp_path / "out")))
    with pytest.raises(UserError, match=r"other settings or data \(caption_dropout\)"):
        next(adapt(task(generators / "sd1", tmp_path / "out", replace(FEW, caption_dropout=0.5))))
    with pytest.raises(UserError, match=r"other settings or data \(generator\)"):
        next(adapt(task(generators / "sd2-v", tmp_path / "out")))


def test_the_card_has_the_command() -> None:
    options = replace(EVERYTHING, gradient_checkpointing=True)
    assert " ".join(as_flags(options)) == (
        "--lora --rank 2 --text-encoder --steps 3 --batch-size 2 --learning-rate 0.01 --ema 0.9 --gradient-checkpointing "
        "--prior-preservation 0.5 --prior-images 4 --sample-every 1"
    )


# what is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "was given none of --from-scratch, --lora and --full"),
        (["--lora", "--full"], "was given --lora and --full of"),
        (["--lora", "--from-scratch", "tiny"], "Give exactly one"),
        (["--lora", "--rank", "0"], "--rank 0: allowed is 1 to 4096"),
        (["--full", "--rank", "4"], "--rank cannot go with --full"),
        (["--from-scratch", "tiny"], "--batch-size, --generator, --set cannot go with"),
        (["--lora", "--compile"], "--compile cannot go with --lora"),
        (["--lora", "--precision", "int8"], "--precision 'int8' is unknown; allowed: no, bf16, fp16"),
        (["--lora", "--precision", "fp16"], "needs a GPU"),
        (["--lora", "--resolution", "50"], "give a multiple of 8, such as 48; its own is 32"),
        (["--lora", "--learning-rate", "0"], "--learning-rate 0.0: allowed is"),
        (["--lora", "--learning-rate", "nan"], "--learning-rate nan: allowed is"),
        (["--lora", "--set", "training.epochs=3"], "'training.epochs=3' is not for finetune"),
        (["--lora", "--set", "prompts.template=a photo"], "one pair of braces"),
        (["--lora", "--set", "prompts.classes.hat=a {}"], "names 'hat', which is no class"),
    ],
)
def test_requests_that_cannot_be(
    refuse: Refuse, generators: Path, data: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    if "fp16" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert words in refuse(*finetune(generators / "sd1", data, tmp_path / "out", *arguments))


@pytest.mark.parametrize(
    ("name", "words"), [("nowhere", "cannot load the generator"), ("dit", "What works"), ("lcm", "latent consistency")]
)
@pytest.mark.parametrize("way", ["--lora", "--full"])
def test_generators_that_cannot_be_adapted(
    refuse: Refuse, generators: Path, data: Path, tmp_path: Path, name: str, words: str, way: str
) -> None:
    assert words in refuse(*finetune(generators / name, data, tmp_path / "out", way))


def test_without_peft(refuse: Refuse, generators: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    assert "pip install 'actgen[lora]'" in refuse(*finetune(generators / "sd1", data, tmp_path / "out", "--lora"))


def test_without_a_generator(refuse: Refuse, data: Path, tmp_path: Path) -> None:
    assert "--lora needs --generator" in refuse("finetune", "--lora", "--data", str(data), "--out", str(tmp_path / "out"))


def test_a_place_that_is_taken(refuse: Refuse, generators: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert "exists already" in refuse(*finetune(generators / "sd1", data, tmp_path / "folder", "--lora"))
    assert "is a file" in refuse(*finetune(generators / "sd1", data, tmp_path / "file", "--lora"))


def test_a_lora_of_another_generator(refuse: Refuse, generators: Path, data: Path, tmp_path: Path) -> None:
    list(adapt(task(generators / "sdxl", tmp_path / "lora", replace(FEW, steps=1))))
    train = [
        "train",
        "--data",
        str(data),
        "--generator",
        str(generators / "sd1"),
        "--epochs",
        "2",
        "--out",
        str(tmp_path / "run"),
    ]
    assert "was made for another" in refuse(*train, "--set", f"loading.lora={tmp_path / 'lora'}")
    layers = load_file(tmp_path / "lora" / FILE)
    more = {
        "unet.down_blocks.9.to_q.lora.down.weight": torch.zeros(8, 3),
        "unet.down_blocks.9.to_q.lora.up.weight": torch.zeros(3, 8),
    }
    save_file({**layers, **more}, tmp_path / "lora" / FILE)
    train[train.index("--generator") + 1] = str(generators / "sdxl")
    assert "this generator has layers for" in refuse(*train, "--set", f"loading.lora={tmp_path / 'lora'}")


def test_a_config_that_is_damaged_is_named(generators: Path, tmp_path: Path) -> None:
    next(adapt(task(generators / "sd1", tmp_path / "out")))
    facts = tmp_path / "out.work" / "config.json"
    assert json.loads(facts.read_text(encoding="utf-8"))["resolution"] == 32
    facts.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="unfinished training"):
        next(adapt(task(generators / "sd1", tmp_path / "out")))
