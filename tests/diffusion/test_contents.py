"""No generator runs code of its own, whatever its folder says, and no weights are opened that could run some."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from actgen.core.errors import UserError
from actgen.diffusion.loading import Loading
from actgen.diffusion.pipeline import PipelineAdapter
from tests.fuzz.generators import CANARY, by_hand, unsafe_weights

CODE = ("own pipeline", "own part", "own module", "auto_map")
WEIGHTS = ("unet in a format that runs", "vae in a format that runs", "text encoder in a format that runs")


@pytest.fixture
def generator(tiny_generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the generator, in the working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(tiny_generator, tmp_path / "generator"))


@pytest.mark.parametrize("name", [*CODE, *WEIGHTS])
def test_nothing_that_it_brings_is_run(generator: Path, name: str) -> None:
    by_hand()[name](generator)
    if name == "auto_map":  # names code for classes that are not asked for
        PipelineAdapter.from_pretrained(str(generator))
    else:
        words = "Code that comes with a generator is never run" if name in CODE else "in a format that can run code"
        with pytest.raises(UserError, match=words):
            PipelineAdapter.from_pretrained(str(generator))
    assert not list(generator.parent.rglob(CANARY))


def test_the_canary_would_have_sung(generator: Path) -> None:
    unsafe_weights("unet", "weights.bin")(generator)
    with pytest.raises(RuntimeError):  # it is no tensor either
        torch.load(generator / "unet" / "weights.bin", weights_only=False)
    assert Path(CANARY).is_file()


def test_a_lora_and_a_light_decoder_are_safetensors_too(generator: Path) -> None:
    unsafe_weights("lora", "pytorch_lora_weights.bin")(generator)
    for lora in (generator / "lora", generator / "lora" / "pytorch_lora_weights.bin"):
        with pytest.raises(UserError, match=r"loading\.lora = .* cannot be loaded"):
            PipelineAdapter.from_pretrained(str(generator), loading=Loading(lora=str(lora)))
    unsafe_weights("decoder", "diffusion_pytorch_model.bin")(generator)
    (generator / "decoder" / "config.json").write_text(json.dumps({"_class_name": "AutoencoderTiny"}), encoding="utf-8")
    adapter = PipelineAdapter.from_pretrained(str(generator))
    with pytest.raises(UserError, match=r"sampling\.text\.decoder = .*AutoencoderTiny"):
        adapter.decode(torch.zeros(1, 4, 8, 8), str(generator / "decoder"))
    assert not list(generator.parent.rglob(CANARY))


def test_parts_of_different_generators_are_told_before_anything_is_drawn(generator: Path) -> None:
    path = generator / "text_encoder" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "hidden_size": 32}), encoding="utf-8")
    with pytest.raises(UserError, match=r"cannot (load|generate)|lacks weights"):
        PipelineAdapter.from_pretrained(str(generator))


def test_loading_leaves_the_libraries_as_talkative_as_they_were(generator: Path) -> None:
    from diffusers.utils import logging
    from transformers.utils import logging as text_logging

    before = logging.get_verbosity(), text_logging.get_verbosity()
    PipelineAdapter.from_pretrained(str(generator))
    assert (logging.get_verbosity(), text_logging.get_verbosity()) == before


def test_the_source_has_none_of_the_doors() -> None:
    doors = ("pickle", "weights_only=False", "trust_remote_code=True", " eval(", " exec(", "=eval(", "(eval(", "(exec(")
    for path in sorted((Path(__file__).parents[2] / "src").rglob("*.py")):
        text = path.read_text(encoding="utf-8").replace("allow_pickle=False", "")
        assert [door for door in doors if door in text] == [], path
