"""Laws of the proxy model, the short training before the training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from actgen.classifiers.mining import Mining
from actgen.training.augment.mixing import Mixing
from actgen.training.options import TrainingOptions
from actgen.training.proxy_model import train_proxy_model
from tests.support.one_layer import OPTIONS, opened, weights

MINING = Mining(pool="training", proxy_epochs=2)


def doubts(folder: Path, options: TrainingOptions) -> Tensor:
    """Return what a proxy model thinks of the real images, and see that the training is left as it was."""
    training = opened(folder, options=options)
    before = weights(training)
    found = train_proxy_model(training, MINING).predictions.logits_NK
    assert torch.equal(weights(training), before)
    return found


def test_it_sees_whole_images_also_where_the_training_mixes_them(tmp_path: Path) -> None:
    plain = doubts(tmp_path / "plain", OPTIONS)
    assert torch.equal(doubts(tmp_path / "mixed", replace(OPTIONS, mixing=Mixing(mixup=0.2, cutmix=1.0))), plain)
    assert not torch.equal(doubts(tmp_path / "faster", replace(OPTIONS, learning_rate=0.1)), plain)
