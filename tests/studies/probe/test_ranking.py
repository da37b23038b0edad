"""Damage whose effect is known is seen: noise in the weights by every measure that should see it, exchanged classes by the
labels alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actgen.studies.probe.noise import difference_interval, paired_interval
from tests.studies.probe.conftest import call, measured
from tests.support.damaged_pictures import noised, shuffled


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("damaged")
    return {
        "slight": noised(root / "slight", 0.3),
        "strong": noised(root / "strong", 0.6),
        "shuffled": shuffled(root / "shuffled"),
    }


def probed(damaged: dict[str, Path], names: tuple[str, ...], out: Path, *more: str) -> dict[str, dict[str, Any]]:
    given = [part for name in names for part in ("--generator", str(damaged.get(name, name)))]
    call(["probe", "--data", "fashion-mnist-mini", *given, "--out", str(out), *more])
    return measured(out)


def test_noise_and_exchanged_classes_are_told_apart(damaged: dict[str, Path], tmp_path: Path) -> None:
    found = probed(
        damaged,
        ("bundled", "strong", "shuffled"),
        tmp_path / "out",
        "--count",
        "40",
        "--model",
        "actgen/tiny-cnn",
        "--set",
        "training.epochs=4",
        "--set",
        "sampling.num_inference_steps=8",
    )
    whole, strong, other = found["bundled"], found["strong"], found["shuffled"]
    assert paired_interval(whole["right"], strong["right"]).low > 0
    assert strong["precision"] < whole["precision"]
    assert strong["density"] < whole["density"]
    assert strong["coverage"] < whole["coverage"] - 0.1
    assert strong["frechet"] > 2 * whole["frechet"]
    assert other["high"] < whole["low"]
    assert other["precision"] > whole["precision"] - 0.05
    assert other["density"] > whole["density"] - 0.1
    assert other["frechet"] < strong["frechet"]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_they_are_ranked_by_every_measure(damaged: dict[str, Path], tmp_path: Path) -> None:
    """200 generated images, two strengths of noise, and classifiers trained on the generated images."""
    found = probed(damaged, ("bundled", "slight", "strong", "shuffled"), tmp_path / "out", "--train")
    whole, slight, strong, other = (found[name] for name in ("bundled", "slight", "strong", "shuffled"))
    for better, worse in ((whole, slight), (slight, strong)):
        for measure in ("consistency", "precision", "density", "coverage"):
            assert worse[measure] < better[measure], measure
        assert worse["frechet"] > better["frechet"]
        assert worse["trained"]["accuracy"] < better["trained"]["accuracy"]
        assert difference_interval(worse["frechet_resampled"], better["frechet_resampled"]).low > 0
        assert paired_interval(better["right"], worse["right"]).low > 0
        assert paired_interval(better["trained"]["right"], worse["trained"]["right"]).low > 0
    assert other["high"] < whole["low"] - 30
    assert other["trained"]["high"] < whole["trained"]["low"]
    assert abs(other["precision"] - whole["precision"]) < 0.05
    assert abs(other["coverage"] - whole["coverage"]) < 0.05
