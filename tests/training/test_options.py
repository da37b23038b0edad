"""Laws of every training option inside the loop: what is off changes nothing, what is on is continued exactly."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch import Tensor, nn

from actgen.classifiers.classifier import create_classifier
from actgen.core import signals
from actgen.core.errors import UserError
from actgen.experiment.config import build_recipe
from actgen.experiment.run import run
from actgen.training.augment.augmentation import Augmentation
from actgen.training.augment.mixing import Mixing
from actgen.training.callbacks import Callbacks
from actgen.training.loop import fit
from actgen.training.optim.losses import Loss
from actgen.training.optim.optimisers import OptimizerOptions
from actgen.training.options import TrainingOptions
from actgen.training.training import Training
from tests.support.one_layer import OPTIONS, opened, weights

ADAMW = OptimizerOptions(name="adamw", eps=1e-3, decay_all=False)
CHANGES: dict[str, dict[str, Any]] = {
    "adamw": {"optimizer": ADAMW, "learning_rate": 1e-3},
    "no momentum": {"optimizer": OptimizerOptions(momentum=0.0, nesterov=False)},
    "focal": {"loss": Loss(name="focal")},
    "mixed": {"mixing": Mixing(mixup=0.2, cutmix=1.0)},
    "randaugment": {"augment": Augmentation(randaugment=2)},
    "crop": {"augment": Augmentation(shift=0, crop=0.3)},
    "policy": {"augment": Augmentation(policy="rand-m9-mstd0.5-inc1", flip=True)},
    "jitter": {"augment": Augmentation(jitter=0.4)},
    "lamb": {"optimizer": OptimizerOptions(name="lamb"), "learning_rate": 1e-2},
    "in parts": {"accumulate": 2, "clip_norm": 0.1},
    "erase": {"augment": Augmentation(erase=0.5)},
    "clip": {"clip_norm": 0.1},
    "average": {"ema_decay": 0.9},
    "final rate": {"min_learning_rate": 0.01},
    "warm-up": {"warmup_epochs": 1.0},
    "all": {
        "optimizer": ADAMW,
        "loss": Loss(name="focal"),
        "mixing": Mixing(mixup=0.2, cutmix=1.0, probability=0.5),
        "augment": Augmentation(randaugment=2, crop=0.3, erase=0.2),
        "clip_norm": 1.0,
        "ema_decay": 0.9,
    },
}


def final(training: Training) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in training.learner.tested.parameters()])


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_acts_and_a_stopped_training_continues_with_it(name: str, tmp_path: Path) -> None:
    options = replace(OPTIONS, **CHANGES[name])
    plain, whole = opened(tmp_path / "plain"), opened(tmp_path / "whole", options)
    list(fit(plain))
    rows = list(fit(whole))
    assert not torch.equal(final(plain), final(whole))
    next(iter(fit(opened(tmp_path / "stopped", options))))
    continued = opened(tmp_path / "stopped", options)
    again = list(fit(continued))
    assert torch.equal(weights(continued), weights(whole))
    assert torch.equal(final(continued), final(whole))
    assert [row.test_accuracy for row in again] == [row.test_accuracy for row in rows[1:]]


@pytest.mark.parametrize("stopped_with", [0, 1, 2])
def test_a_run_that_was_stopped_equals_one_that_was_not_with_any_workers(stopped_with: int, tmp_path: Path) -> None:
    """In the middle of an epoch, by a signal; the other epochs with one process more, or none."""
    options = replace(OPTIONS, **CHANGES["all"])
    whole = opened(tmp_path / "whole", options)
    list(fit(whole))
    first = opened(tmp_path / "stopped", replace(options, workers=stopped_with))
    steps: list[int] = []

    def stop(done: int, of: int) -> None:
        steps.append(done)
        if len(steps) == 3:
            signals.ask(signal.SIGTERM)

    with pytest.raises(signals.Stopped), signals.deferred():
        list(fit(first, Callbacks(on_batch=stop)))
    signals._State.asked = 0
    continued = opened(tmp_path / "stopped", replace(options, workers=(stopped_with + 1) % 3))
    list(fit(continued))
    assert len(steps) < 6
    assert torch.equal(weights(continued), weights(whole))
    assert torch.equal(final(continued), final(whole))


@pytest.mark.slow
def test_a_compiled_classifier_is_trained_as_another(tmp_path: Path) -> None:
    plain, compiled = opened(tmp_path / "plain", OPTIONS), opened(tmp_path / "compiled", replace(OPTIONS, compile=True))
    for one in (plain, compiled):
        dropout = one.learner.classifier.model.get_submodule("1")
        assert isinstance(dropout, nn.Dropout)
        dropout.p = 0.0  # compiled, it has a stream of its own
    list(fit(plain))
    list(fit(compiled))
    torch.testing.assert_close(weights(compiled), weights(plain), rtol=0, atol=1e-4)


def test_the_average_lags_behind_and_leaves_the_training_alone(tmp_path: Path) -> None:
    plain, averaged = opened(tmp_path / "plain"), opened(tmp_path / "average", replace(OPTIONS, ema_decay=0.9))
    list(fit(plain))
    list(fit(averaged))
    assert torch.equal(weights(plain), weights(averaged))
    assert averaged.learner.tested is not averaged.learner.classifier
    assert not torch.equal(final(averaged), weights(averaged))
    assert plain.learner.tested is plain.learner.classifier


def test_a_clipped_step_is_no_longer_than_its_norm(tmp_path: Path) -> None:
    options = replace(
        OPTIONS,
        epochs=1,
        batch_size=16,
        clip_norm=0.01,
        warmup=0.0,
        weight_decay=0.0,
        optimizer=OptimizerOptions(momentum=0.0, nesterov=False),
    )
    training = opened(tmp_path, options)
    before = weights(training)
    list(fit(training))
    assert float((weights(training) - before).norm()) == pytest.approx(0.01 * OPTIONS.learning_rate, rel=1e-3)


def test_rates_of_warmup_epochs_and_final_rate(tmp_path: Path) -> None:
    rows = list(fit(opened(tmp_path, replace(OPTIONS, epochs=20, warmup_epochs=4.0, min_learning_rate=0.01))))
    rates = [row.learning_rate for row in rows]
    assert rates[3] < OPTIONS.learning_rate  # the last step of the fourth epoch still rises
    assert max(rates) == rates[4] == pytest.approx(OPTIONS.learning_rate, rel=0.02)
    assert 0.01 < rates[-1] < 0.011
    assert TrainingOptions(warmup_epochs=3).warmup_fraction == 0.1


# mixed precision


@pytest.fixture
def fresh_precision() -> Iterator[None]:
    """Accelerate keeps one precision a process: forget it before and after."""
    AcceleratorState._reset_state()
    yield
    AcceleratorState._reset_state()


@pytest.mark.usefixtures("fresh_precision")
def test_only_the_training_steps_are_in_mixed_precision(tmp_path: Path) -> None:
    options = replace(OPTIONS, precision="bf16", clip_norm=1.0)
    whole = opened(tmp_path / "whole", options)
    predictions: list[torch.dtype] = []
    whole.learner.classifier.model.register_forward_hook(lambda module, inputs, out: predictions.append(out.dtype))
    list(fit(whole))
    assert set(predictions) == {torch.bfloat16, torch.float32}  # training steps, and the look at the test images
    assert {parameter.dtype for parameter in whole.learner.classifier.parameters()} == {torch.float32}
    next(iter(fit(opened(tmp_path / "stopped", options))))
    continued = opened(tmp_path / "stopped", options)
    list(fit(continued))
    assert torch.equal(weights(continued), weights(whole))
    with pytest.raises(UserError, match=r'training.precision = "no" cannot be used here'):
        opened(tmp_path / "other")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has float16")
def test_float16_needs_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a GPU"):
        opened(tmp_path, replace(OPTIONS, precision="fp16"))


def test_float64_is_kept_throughout(digits: Path, tmp_path: Path) -> None:
    """In the steps, with mixed labels and a moving average; what is written can be read into float32."""
    settings = [
        "images=20",
        "training.batch_size=10",
        "training.precision=fp64",
        "training.mixing.mixup=0.2",
        "training.ema_decay=0.9",
        "model.name=actgen/tiny-cnn",
    ]
    recipe = build_recipe(None, [f"data={digits}", "strategy=none", "training.epochs=1", *settings])
    run(recipe, tmp_path / "run", page=False)
    held = load_file(tmp_path / "run" / "classifier.safetensors")
    assert {value.dtype for value in held.values() if value.is_floating_point()} == {torch.float64}
    again = create_classifier("actgen/tiny-cnn", 4, data_size=32)
    again.load_state_dict(held)
    assert again(torch.rand(2, 3, 32, 32)).dtype == torch.float32
