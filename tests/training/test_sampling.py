"""Laws of sampling: shares are exact, classes take turns, images are seen before any is seen again."""

from __future__ import annotations

from collections import Counter

import pytest

from actgen.core.errors import UserError
from actgen.training.sampling import Sampling, passes

LABELS = [*[0] * 40, *[1] * 8, *[2] * 2, *[0, 1, 2] * 100]  # 50 real images of a long tail, 300 generated ones
REAL, WANTED = 50, 128


def test_by_image_is_a_pass_over_all() -> None:
    assert Sampling().order(LABELS, REAL, WANTED, 0, 3) == passes(range(350), WANTED, 0, 3)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("by", ["image", "class"])
def test_real_images_have_their_share_and_are_seen_evenly(share: float, by: str) -> None:
    order = Sampling(by=by, real_share=share).order(LABELS, REAL, WANTED, 0, 3)
    counts = Counter(index for index in order if index < REAL)
    assert len(order) == WANTED
    assert counts.total() == round(share * WANTED)
    if by == "image":
        predictions = [counts[index] for index in range(REAL)]
        assert max(predictions) - min(predictions) <= 1
    assert order == Sampling(by=by, real_share=share).order(LABELS, REAL, WANTED, 0, 3)
    assert order != Sampling(by=by, real_share=share).order(LABELS, REAL, WANTED, 0, 4)


def test_a_share_without_generated_images_changes_nothing() -> None:
    assert Sampling(real_share=0.5).order(LABELS[:REAL], REAL, WANTED, 1, 2) == passes(range(REAL), WANTED, 1, 2)


@pytest.mark.parametrize("real", [REAL, len(LABELS)])
def test_by_class_every_class_comes_equally_often_and_its_images_evenly(real: int) -> None:
    labels = LABELS[:real]
    order = Sampling(by="class").order(labels, min(real, REAL), WANTED, 0, 3)
    classes = Counter(labels[index] for index in order)
    assert max(classes.values()) - min(classes[label] for label in range(3)) <= 1
    for label in range(3):
        predictions = Counter(index for index in order if labels[index] == label)
        own = [predictions[index] for index, one in enumerate(labels) if one == label]
        assert max(own) - min(own) <= 1


@pytest.mark.parametrize(("settings", "words"), [({"by": "lot"}, "allowed: image, class"), ({"real_share": 1.1}, "real_share")])
def test_sampling_that_cannot_be(settings: dict[str, str | float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Sampling(**settings)  # type: ignore[arg-type]
