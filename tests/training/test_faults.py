"""Faults in training, forced for real: numbers that are none, too little memory, a data-loading process that is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from actgen.classifiers.classifier import Classifier
from actgen.classifiers.predictions import predict, predict_pixels
from actgen.core.errors import UserError
from actgen.data.datasets.imageset import Subset
from actgen.training.callbacks import Callbacks
from actgen.training.learner import Learner
from actgen.training.loop import fit
from actgen.training.options import TrainingOptions
from actgen.training.training import Training
from tests.conftest import tree
from tests.support.one_layer import grown, pictures, weights

OPTIONS = TrainingOptions(epochs=3, batch_size=8, learning_rate=0.05)


def opened(folder: Path, *layers: nn.Module, options: TrainingOptions = OPTIONS, images: int = 16) -> Training:
    """Return a training of a linear model followed by `layers`, of the same first weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2), *layers)
    classifier = Classifier(model, 8, (0.5,) * 3, (0.5,) * 3)
    return Training(learner=Learner(classifier=classifier, options=options), real=pictures(images), folder=folder)


class After(nn.Module):
    """Changes what passes from the `passes`-th training pass on."""

    def __init__(self, passes: int, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.left, self.change = passes, change

    def forward(self, x: Tensor) -> Tensor:
        self.left -= self.training
        return self.change(x) if self.left < 0 else x


def no_gradient(x: Tensor) -> Tensor:
    return x + torch.sqrt(0.0 * x)  # itself 0, its slope 0/0


def no_number(x: Tensor) -> Tensor:
    return x / (0.0 * x)


# numbers that are none


@pytest.mark.parametrize(("change", "name"), [(no_number, "loss"), (no_gradient, "gradient")])
def test_it_stops_before_the_weights_are_spoilt_and_keeps_the_last_state(
    tmp_path: Path, change: Callable[[Tensor], Tensor], name: str
) -> None:
    training = opened(tmp_path, After(3, change))  # two steps an epoch
    epochs = fit(training)
    next(epochs)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=rf"training {name} is nan in step 2 of epoch 2.*state after epoch 1 is in") as caught:
        next(epochs)
    assert "training.learning_rate (now 0.05)" in str(caught.value)
    assert tree(tmp_path) == before
    assert bool(weights(training).isfinite().all())


def test_a_real_divergence_is_told(tmp_path: Path) -> None:
    options = replace(OPTIONS, learning_rate=1000.0, weight_decay=10.0, epochs=20)
    with pytest.raises(UserError, match=r"training (loss|gradient) is (nan|inf) in step \d+ of epoch"):
        list(fit(opened(tmp_path, options=options)))


# too little memory


class Small(nn.Module):
    """A device that holds `most` images in training, and `most_seen` otherwise."""

    def __init__(self, most: int, most_seen: int = 1000) -> None:
        super().__init__()
        self.most, self.most_seen = most, most_seen

    def forward(self, x: Tensor) -> Tensor:
        if len(x) > (self.most if self.training else self.most_seen):
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return x


def test_a_batch_that_does_not_fit_is_taken_in_parts_with_the_same_step(tmp_path: Path) -> None:
    whole, parts = opened(tmp_path / "whole", Small(8)), opened(tmp_path / "parts", Small(3))
    stats = list(fit(whole))
    assert [row.train_loss for row in fit(parts)] == pytest.approx([row.train_loss for row in stats], abs=1e-6)
    assert (whole.learner.micro_batches.parts, parts.learner.micro_batches.parts) == (1, 4)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=0, atol=1e-6)


def test_two_images_that_do_not_fit_are_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"2 images of 8 pixels do not fit into memory in training.*model\.image_size"):
        list(fit(opened(tmp_path, Small(1))))


def test_another_error_is_not_taken_for_too_little_memory(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        list(fit(opened(tmp_path, nn.Linear(3, 2))))


def test_looking_at_images_takes_what_memory_allows(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (21, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    predictions = [predict_pixels(opened(tmp_path, Small(1, most)).learner.classifier, pixels) for most in (21, 4)]
    torch.testing.assert_close(predictions[0], predictions[1], rtol=0, atol=1e-6)
    with pytest.raises(torch.OutOfMemoryError):
        predict_pixels(opened(tmp_path, Small(1, 0)).learner.classifier, pixels)


def test_no_image_to_look_at_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="one held-out image or more"):
        predict(opened(tmp_path).learner.classifier, Subset(pictures(4), ()))


# processes that load images

WORKERS = replace(OPTIONS, epochs=2, workers=1)


def kill(done: int, of: int) -> None:
    for process in multiprocessing.active_children():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)


def test_a_killed_worker_ends_the_run_with_a_message_and_the_same_command_continues(tmp_path: Path) -> None:
    clean = opened(tmp_path / "clean", options=WORKERS, images=400)
    list(fit(clean))
    out = tmp_path / "hit"
    next(iter(fit(opened(out, options=WORKERS, images=400))))
    before = tree(out)
    with pytest.raises(UserError, match=r"a data-loading process was killed.*\nThe same command continues"):
        list(fit(opened(out, options=WORKERS, images=400), Callbacks(on_batch=kill)))
    assert tree(out) == before
    continued = opened(out, options=WORKERS, images=400)
    list(fit(continued))
    assert torch.equal(weights(continued), weights(clean))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stored_image_that_is_gone_or_broken_is_named(tmp_path: Path, workers: int) -> None:
    training = opened(tmp_path / "run", options=replace(OPTIONS, workers=workers, epoch_length="grow"))
    training.state.snapshot = grown(tmp_path / "store")
    (tmp_path / "store" / "images" / "k7.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(UserError, match=r"cannot read the image .*k7\.png") as caught:
        list(fit(training))
    assert "Traceback" not in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
