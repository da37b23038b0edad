"""Generating through an images server on loopback: what it answers is kept, or it ends in a message and nothing is."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.generation.images_server import ImagesServer, ServedSampler
from actgen.generation.presets import SamplingConfig
from tests.conftest import Refuse, read_lines
from tests.support.images_server import png, serving
from tests.support.sampler_parts import requests


def sampler(address: str, seconds: float = 5.0) -> ServedSampler:
    return ServedSampler(ImagesServer(address, seconds), SamplingConfig(), 16)


def test_pictures_are_those_of_the_server_and_the_manifest_says_which() -> None:
    with serving() as (address, asked):
        served, wanted = sampler(address), requests(3, ())
        samples = list(served.generate(wanted))
    assert served.facts["generator"] == f"{address}#tiny-model"
    assert served.facts["loading"] == {"engine": "test-engine/1.2", "model": "tiny-model", "image_size": 16}
    assert [one["size"] for one in asked] == ["16x16"] * 3
    for request, sample in zip(wanted, samples, strict=True):
        with Image.open(io.BytesIO(png(request.prompt, request.seed, 16))) as drawn:
            assert np.array_equal(np.asarray(sample.image), np.asarray(drawn))


def test_the_key_of_the_environment_and_a_named_model_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    with serving() as (address, asked):
        list(sampler(address + "#other").generate(requests(1, ())))
    assert [(one["model"], one["key"]) for one in asked] == [("other", "Bearer sesame")]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("half", "damaged or cut off"),
        ("letters", "damaged or cut off"),
        ("small", r"sent 8x8 pixels, not 16x16"),
        ("no picture", r"without one picture in data\[0\]\.b64_json"),
        ("no json", "with what is not JSON"),
        ("cut", "broke off its answer to /images/generations"),
        ("refuses", "answered 400 .*unknown model"),
        ("no model", "names no model"),
    ],
)
def test_wrong_answers_end_in_a_message(answer: str, words: str) -> None:
    with serving(answer) as (address, _), pytest.raises(UserError, match=words):
        list(sampler(address).generate(requests(1, ())))


def test_a_server_that_takes_too_long_ends_in_a_message() -> None:
    with serving("slow") as (address, _), pytest.raises(UserError, match=r"within 0\.3 seconds"):
        list(sampler(address, 0.3).generate(requests(1, ())))


def test_a_server_that_is_not_there_ends_in_a_message() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UserError, match="Is it running there"):
        sampler(f"http://127.0.0.1:{port}/v1")


def test_guided_requests_are_refused() -> None:
    with serving() as (address, asked), pytest.raises(UserError, match="guides images, which an images server does not"):
        list(sampler(address).generate(requests(1, ("image",))))
    assert asked == []


def test_on_the_command_line_whole_pictures_stay_and_half_ones_never_enter(tmp_path: Path) -> None:
    store = tmp_path / "store"
    command = ["generate", "--classes", "coat,bag", "--count", "4", "--out", str(store), "--set", "loading.image_size=16"]
    with serving("half later") as (address, _):
        broken = CliRunner().invoke(app, [*command, "--generator", address])
    assert isinstance(broken.exception, UserError)
    rows = read_lines(store / "metadata.jsonl")
    assert [row["key"] for row in rows] == ["r000-00000", "r000-00001"]
    assert len(list((store / "images").iterdir())) == 2
    assert rows[0]["loading"]["engine"] == "test-engine/1.2"


def test_a_strategy_that_guides_is_refused_before_anything_is_asked(refuse: Refuse, digits: Path) -> None:
    with serving() as (address, asked):
        said = refuse("train", "--data", str(digits), "--generator", address, "--strategy", "actgen", "--out", "run")
    assert "is an images server, which generates by text alone" in said
    assert asked == []


def test_a_run_with_text_only_trains_on_served_pictures(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = ["model.image_size=32", "loading.image_size=32", "generation.until=1.0"]
    fixed = ["--model", "actgen/tiny-cnn", "--strategy", "text-only", "--epochs", "2", "--budget", "0.1", "--out", str(out)]
    fixed += [part for setting in settings for part in ("--set", setting)]
    with serving() as (address, asked):
        result = CliRunner().invoke(
            app, ["train", "--data", str(digits), "--generator", address, *fixed], catch_exceptions=False
        )
    assert result.exit_code == 0, result.output
    rows = read_lines(out / "store" / "metadata.jsonl")
    assert len(rows) == 12
    assert len(asked) >= 12
    assert {row["generator"] for row in rows} == {f"{address}#tiny-model"}
