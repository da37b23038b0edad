"""What the guides of a round looked at comes back as it was, and stale or damaged files are noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn

from actgen.core.errors import UserError
from actgen.core.rows import ManifestLine
from actgen.core.types import Sample
from actgen.data.store.rounds import Remembered, RoundFiles
from actgen.diffusion.guides.bank import MemoryBank
from actgen.experiment.revisit import Revisit
from tests.conftest import make_sample, tree


def samples(number: int, count: int) -> list[Sample]:
    """Samples in an order that is not that of their keys, each with other latents."""
    return [
        replace(make_sample(f"r{number}-{count - i:04d}", label=i % 2), latents=torch.full((4, 2, 2), number + i / 1000))
        for i in range(count)
    ]


def test_weights_come_back_in_any_layout_and_shared(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    model.append(model[0])
    RoundFiles(tmp_path).keep_classifier(3, model)
    found = RoundFiles(tmp_path).classifier(3)
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


def test_the_bank_is_rebuilt_in_order_and_within_its_capacity(tmp_path: Path) -> None:
    files, bank, rows = RoundFiles(tmp_path / "rounds"), MemoryBank(), []
    for number in (0, 2):
        generated = samples(number, 300)
        files.keep_latents(number, [Remembered.of(sample) for sample in generated])
        for sample in generated:
            bank.add(sample.request.label, sample.latents)
        rows += [
            {"key": one.request.key, "label": one.request.label, "round": number, "guides": ["image"]} for one in generated
        ]
    lines = cast(list[ManifestLine], rows)
    run = Revisit(tmp_path, lines)
    again = run.bank(3)
    assert len(again) == len(bank) == 2 * bank.capacity
    assert all(torch.equal(again.latents_of(label), bank.latents_of(label)) for label in (0, 1))
    assert run.bank(2).latents_of(0).max() < 1
    assert len(run.bank(0)) == 0
    with pytest.raises(UserError, match="holds other images than the store"):
        Revisit(tmp_path, lines[1:]).bank(1)


def test_the_same_round_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "other"):
        RoundFiles(tmp_path / name).keep_latents(0, [Remembered.of(sample) for sample in samples(0, 20)])
    assert tree(tmp_path / "one") == tree(tmp_path / "other")


def test_rounds_that_are_drawn_again_are_forgotten(tmp_path: Path) -> None:
    files = RoundFiles(tmp_path)
    for number in range(3):
        files.keep_latents(number, [Remembered.of(sample) for sample in samples(number, 1)])
        files.keep_classifier(number, nn.Linear(1, 1))
    files.forget_from(1)
    assert {path.name for path in tmp_path.iterdir()} == {"0000-latents.safetensors", "0000-classifier.safetensors"}
    RoundFiles(tmp_path / "nowhere").forget_from(0)


@pytest.mark.parametrize("data", [b"", b"this is no file of tensors", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_files_are_a_message(tmp_path: Path, data: bytes) -> None:
    files = RoundFiles(tmp_path)
    files.latents_path(0).write_bytes(data)
    with pytest.raises(UserError, match="0000-latents"):
        list(files.latents(0))
    files.classifier_path(0).write_bytes(data[:-3])
    with pytest.raises(UserError, match="0000-classifier"):
        files.classifier(0)
