"""Zero-shot classification by CLIP-type models: the bundled one, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from actgen.classifiers.zero_shot import ZeroShot
from actgen.core.assets import bundled_generator
from actgen.core.class_words import class_prompt
from actgen.core.errors import UserError
from actgen.data.datasets.idx import FASHION_MNIST_CLASSES
from tests.support.pictures import fashion


def bundled() -> ZeroShot:
    return ZeroShot("bundled", FASHION_MNIST_CLASSES, given="--clip")


def test_the_bundled_one_names_real_images() -> None:
    images = fashion().test
    assert images is not None
    some = range(0, 10000, 25)
    named = bundled().probabilities([images.image(i) for i in some]).argmax(dim=1).tolist()
    assert sum(one == images.labels[i] for one, i in zip(named, some, strict=True)) >= 0.85 * len(some)


def test_an_image_is_seen_alike_in_any_company() -> None:
    images = fashion().train
    together = bundled().probabilities([images.image(i) for i in range(5)])
    assert together.sum(dim=1).tolist() == pytest.approx(5 * [1.0], abs=1e-5)
    assert bundled().probabilities([images.image(3)])[0].tolist() == pytest.approx(together[3].tolist(), abs=1e-5)


def test_prompts_of_ones_own_are_asked() -> None:
    own = ZeroShot("bundled", FASHION_MNIST_CLASSES, prompts={"bag": "a picture of bag"}, given="--clip")
    assert own.prompts == ["a picture of bag" if name == "bag" else class_prompt(name) for name in FASHION_MNIST_CLASSES]


def test_the_bundled_one_does_not_judge_what_it_has_never_seen() -> None:
    with pytest.raises(UserError, match="--clip 'bundled' knows Fashion-MNIST only, not 'cat'"):
        ZeroShot("bundled", ["bag", "cat"], given="--clip")


def test_code_of_a_model_is_not_run(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["auto_map"] = {"AutoConfig": "own.Config", "AutoModel": "own.Model"}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "own.py").write_text("raise SystemExit('code of a model ran')\n", encoding="utf-8")
    assert type(ZeroShot(str(folder), FASHION_MNIST_CLASSES, given="--clip")._model).__name__ == "CLIPModel"
    config["model_type"] = "own"
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(UserError, match=r"--clip .*cannot be loaded"):
        ZeroShot(str(folder), FASHION_MNIST_CLASSES, given="--clip")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "processor_config.json"])
def test_a_damaged_folder_is_a_message(name: str, clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    (folder / name).write_bytes(b"{ nothing")
    with pytest.raises(UserError, match=r"--clip .*cannot be loaded"):
        ZeroShot(str(folder), FASHION_MNIST_CLASSES, given="--clip")


def test_a_model_without_images_is_refused() -> None:
    with pytest.raises(UserError, match=r"--clip .*is a 'clip_text_model', which does not compare images with texts"):
        ZeroShot(str(bundled_generator() / "text_encoder"), FASHION_MNIST_CLASSES, given="--clip")
