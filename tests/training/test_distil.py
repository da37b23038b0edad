"""Laws of soft labels: weight 0 is the labels, generated images keep theirs, mixing takes both kinds alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from actgen.core.errors import UserError
from actgen.core.rng import generator
from actgen.experiment.build import open_data, open_teacher
from actgen.experiment.config import build_recipe
from actgen.experiment.run import run
from actgen.training.augment.mixing import Mixing
from actgen.training.distil import Distil, Taught, batch_targets, soft_targets, teach
from actgen.training.loop import fit
from tests.support.one_layer import opened, weights

LABELS = torch.tensor([0, 2, 1, 2])
LIKELY = torch.rand((4, 3), generator=generator(0, "teacher")).softmax(dim=1)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_targets_lie_between_label_and_teacher(weight: float) -> None:
    targets = soft_targets(LABELS, LIKELY, weight)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(4))
    torch.testing.assert_close(targets - F.one_hot(LABELS, 3), weight * (LIKELY - F.one_hot(LABELS, 3)))


def test_generated_images_keep_their_labels() -> None:
    taught = Taught(soft_targets(LABELS, LIKELY, 0.5), 0.0)
    batch = batch_targets(taught, torch.tensor([2, 1, 0]), [3, None, 0], 3)
    assert torch.equal(batch, torch.stack([taught.targets_NK[3], F.one_hot(torch.tensor(1), 3).float(), taught.targets_NK[0]]))
    assert batch_targets(None, LABELS, [0, 1, 2, 3], 3) is LABELS


def test_mixing_takes_labels_and_their_one_hot_rows_alike() -> None:
    images, mixing = torch.rand((4, 3, 8, 8), generator=generator(0, "images")), Mixing(mixup=0.4, cutmix=1.0)
    for seed in range(4):
        by_label = mixing(images, LABELS, 3, seed)
        by_row = mixing(images, F.one_hot(LABELS, 3).float(), 3, seed)
        assert all(map(torch.equal, by_label, by_row))


def test_a_training_on_the_labels_as_soft_targets_is_that_on_the_labels(tmp_path: Path) -> None:
    plain, soft, other = (opened(tmp_path / name) for name in ("plain", "soft", "other"))
    labels = torch.tensor(list(soft.real.labels))
    soft.state.taught = Taught(F.one_hot(labels, 2).float(), 0.0)
    other.state.taught = Taught(F.one_hot(1 - labels, 2).float(), 0.0)  # a teacher that is always wrong
    for one in (plain, soft, other):
        list(fit(one))
    torch.testing.assert_close(weights(soft), weights(plain))
    assert not torch.allclose(weights(other), weights(plain), atol=1e-3)


def test_the_bundled_clip_teaches_fashion_mnist(tmp_path: Path) -> None:
    given = ["images=40", "strategy=none", "training.epochs=1", "model.name=actgen/tiny-cnn", "evaluation.on=validation"]
    taught = build_recipe(None, [*given, "training.distil.teacher=clip:bundled"])
    data = open_data(taught)
    teacher = open_teacher(taught, data)
    assert teacher is not None
    likely = teach(teacher, data.train, 1.0).targets_NK
    assert (likely.argmax(dim=1) == torch.tensor(list(data.train.labels))).float().mean() > 0.8
    assert open_teacher(build_recipe(None, given), data) is None
    plain, soft = (
        run(one, tmp_path / str(number), page=False) for number, one in enumerate((build_recipe(None, given), taught))
    )
    assert plain["teacher_seconds"] == 0 < soft["teacher_seconds"]
    assert plain["optimizer_steps"] == soft["optimizer_steps"]
    first, second = ((tmp_path / name / "classifier.safetensors").read_bytes() for name in "01")
    assert first != second


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"teacher": "me"}, "allowed is nothing, clip:bundled"),
        ({"teacher": "clip:"}, "allowed is nothing"),
        ({"weight": 1.5}, r"training\.distil\.weight"),
    ],
)
def test_teachers_that_cannot_be(settings: dict[str, str | float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Distil(**settings)  # type: ignore[arg-type]


def test_a_teacher_that_does_not_know_the_classes_is_refused(digits: Path, tmp_path: Path) -> None:
    recipe = build_recipe(None, [f"data={digits}", "strategy=none", "training.distil.teacher=clip:bundled"])
    with pytest.raises(UserError, match=r"training\.distil\.teacher = clip: 'bundled' knows Fashion-MNIST only"):
        run(recipe, tmp_path / "out", page=False)
    assert not (tmp_path / "out").exists()
