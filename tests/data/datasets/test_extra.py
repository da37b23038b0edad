"""Laws of the extra real images: none is known already or measured on, and fewer of them are a part of more."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from actgen.core.errors import UserError
from actgen.data.datasets.sources import RealData
from actgen.experiment.build import open_data
from actgen.experiment.config import build_recipe
from actgen.experiment.run import run

OWN = 20


@pytest.fixture
def opened(digits: Path) -> RealData:
    return with_more(digits, 0)


def with_more(digits: Path, count: int, seed: int = 0, *more: str) -> RealData:
    return open_data(build_recipe(None, [f"data={digits}", f"images={OWN}", f"extra.real={count}", *more], {"seed": seed}))


@pytest.mark.parametrize("count", [1, 10, 40])
def test_the_own_images_stay_and_balanced_new_ones_follow(digits: Path, opened: RealData, count: int) -> None:
    data = with_more(digits, count)
    assert list(data.train.keys[:OWN]) == list(opened.train.keys)
    assert data.extra == count == len(data.train.keys) - OWN
    assert len(set(data.train.keys)) == OWN + count
    counts = Counter(data.train.labels[OWN:])
    assert max(counts.values()) - min(counts[label] for label in range(4)) <= 1


def test_the_rest_is_what_is_left_of_the_split(digits: Path) -> None:
    data, whole = with_more(digits, 10), open_data(build_recipe(None, [f"data={digits}"])).train
    assert data.rest is not None
    assert sorted([*data.train.keys, *data.rest.keys]) == sorted(whole.keys)
    label_of = dict(zip(whole.keys, whole.labels, strict=True))
    assert [label_of[key] for key in [*data.train.keys, *data.rest.keys]] == [*data.train.labels, *data.rest.labels]


def test_fewer_are_a_part_of_more_and_the_seed_draws_the_lot(digits: Path) -> None:
    few, many, others = (with_more(digits, *how).train.keys[OWN:] for how in ((8, 0), (24, 0), (8, 1)))
    assert list(few) == list(many[:8])
    assert set(few) != set(others)


def test_images_that_are_measured_on_are_no_extra_ones(digits: Path) -> None:
    data = with_more(digits, 100, 0, "evaluation.on=validation")  # all 120 but 4 that validate
    assert data.test is not None
    assert not set(data.test.keys) & set(data.train.keys)


def test_more_than_there_are_is_refused(digits: Path) -> None:
    with pytest.raises(UserError, match=r"extra\.real = 101: the training split has 100 images"):
        with_more(digits, 101)
    with pytest.raises(UserError, match="has 0 images"):
        open_data(build_recipe(None, [f"data={digits}", "extra.real=1"]))


@pytest.mark.parametrize("budget", [0, 0.5])
def test_extra_images_change_no_steps_and_no_number_of_generated_images(digits: Path, tmp_path: Path, budget: float) -> None:
    def summary(count: int) -> dict[str, object]:
        strategy = "oversample" if budget else "none"
        given = [
            f"data={digits}",
            f"images={OWN}",
            f"extra.real={count}",
            f"strategy={strategy}",
            "training.epochs=2",
            "training.batch_size=8",
            f"generation.budget={budget}",
            "generation.holdout=0.5",
        ]
        return {**run(build_recipe(None, given), tmp_path / str(count), page=False)}

    plain, more = summary(0), summary(40)
    same = ("optimizer_steps", "real_images", "real_images_digest", "synthetic_images", "initial_weights", "test_digest")
    assert [plain[key] for key in same] == [more[key] for key in same]
    assert (plain["extra_images"], more["extra_images"]) == (0, 40)
    assert plain["optimizer_steps"] == 6
