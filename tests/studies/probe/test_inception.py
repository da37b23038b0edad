"""FID as published: a clear message where the weights cannot be had, and real features where they can."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from actgen.core.errors import UserError
from actgen.data.datasets.sources import load_data
from actgen.studies.probe.inception import Inception

extractor = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError, match="pip install 'actgen\\[probe\\]'"):
        Inception(32)


def test_without_the_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    monkeypatch.setattr(extractor, "URL_INCEPTION_V3", f"file://{tmp_path}/nowhere/inception-00000000.pth")
    with pytest.raises(UserError, match=r"could not be had.*checkpoints, or leave --fid out"):
        Inception(32)


def test_weights_that_would_run_something_are_not_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    name = extractor.URL_INCEPTION_V3.rpartition("/")[2]
    torch.save({"weights": Acts(tmp_path / "acted")}, tmp_path / "checkpoints" / name)
    with pytest.raises(UserError, match="could not be had"):
        Inception(32)
    assert not (tmp_path / "acted").exists()


class Acts:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


@pytest.mark.slow  # the network has 24 million weights
def test_features_of_real_images(monkeypatch: pytest.MonkeyPatch, digits: Path, tmp_path: Path) -> None:
    """With weights by lot: the features are those of the network, whatever size images have."""
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    torch.manual_seed(0)
    network = extractor.FeatureExtractorInceptionV3.__new__(extractor.FeatureExtractorInceptionV3)
    with suppress(FileNotFoundError):  # what it is made of is there before it looks for its weights
        network.__init__("inception-v3-compat", ["2048"], feature_extractor_weights_path="nowhere")
    torch.save(network.state_dict(), tmp_path / "checkpoints" / extractor.URL_INCEPTION_V3.rpartition("/")[2])
    images = load_data(str(digits)).train
    assert Inception(8).look(images)[:3].shape == (3, 2048)
