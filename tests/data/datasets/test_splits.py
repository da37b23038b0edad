from collections import Counter

import numpy as np
import pytest

from actgen.core.errors import UserError
from actgen.data.datasets.imageset import ArrayImages, ImageSet
from actgen.data.datasets.splits import balanced, hold_out, labelled

COUNTS = (2, 3, 10, 101)


def images(counts: tuple[int, ...] = COUNTS) -> ArrayImages:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    labels = [labels[i] for i in np.random.default_rng(0).permutation(len(labels))]
    names = tuple(f"class {i}" for i in range(len(counts)))
    pixels = np.zeros((len(labels), 4, 4), dtype=np.uint8)
    return ArrayImages(pixels, tuple(labels), names, tuple(f"train/{i}" for i in range(len(labels))))


@pytest.mark.parametrize("fraction", [1e-9, 0.1, 0.5, 0.9, 1 - 1e-9])
def test_the_parts_are_disjoint_complete_and_stratified(fraction: float) -> None:
    parent = images()
    kept, held = hold_out(parent, fraction, 0)
    assert isinstance(held, ImageSet)
    assert sorted(kept.indices + held.indices) == list(range(sum(COUNTS)))
    assert (list(kept.indices), list(held.indices)) == (sorted(kept.indices), sorted(held.indices))
    inside, outside = Counter(kept.labels), Counter(held.labels)
    for label, count in enumerate(COUNTS):
        assert inside[label] >= 1
        assert outside[label] >= 1
        assert abs(outside[label] - fraction * count) <= 1


def test_the_same_arguments_give_the_same_cut() -> None:
    first, second = (hold_out(images(), 0.3, seed=5) for _ in range(2))
    assert [part.indices for part in first] == [part.indices for part in second]


def test_seeds_have_streams_of_their_own() -> None:
    assert len({hold_out(images(), 0.3, seed)[1].indices for seed in range(3)}) == 3


def test_a_larger_fraction_only_adds() -> None:
    small, large = hold_out(images(), 0.1, seed=0)[1], hold_out(images(), 0.4, seed=0)[1]
    assert set(small.indices) < set(large.indices)


def test_a_class_is_cut_independently_of_the_others() -> None:
    both = images((20, 30))
    alone = ArrayImages(both.pixels[:20], (0,) * 20, both.class_names[:1], tuple(map(str, range(20))))
    rank = {index: i for i, index in enumerate(i for i, label in enumerate(both.labels) if label == 0)}
    expected = [rank[i] for i in hold_out(both, 0.3, seed=0)[1].indices if i in rank]
    assert list(hold_out(alone, 0.3, seed=0)[1].indices) == expected


def test_a_cut_can_be_cut_again() -> None:
    rest, test = hold_out(images((10, 10)), 0.2, seed=1)
    kept, held = hold_out(rest, 0.25, seed=0)
    assert Counter(kept.labels) == {0: 6, 1: 6}
    assert set(kept.keys) | set(held.keys) | set(test.keys) == set(images((10, 10)).keys)
    assert len(kept.keys) + len(held.keys) + len(test.keys) == 20


def test_labels_and_keys_of_a_part_are_built_once() -> None:
    held = hold_out(images(), 0.3, seed=0)[1]
    assert held.labels is held.labels
    assert held.keys is held.keys


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_fractions_outside_0_and_1_are_refused(fraction: float) -> None:
    with pytest.raises(UserError, match="must lie between 0 and 1"):
        hold_out(images(), fraction, seed=0)


@pytest.mark.parametrize("count", [0, 1])
def test_a_class_too_small_to_cut_is_named(count: int) -> None:
    with pytest.raises(UserError, match=f"class 1 has {count} images"):
        hold_out(images((4, count)), 0.5, seed=0)


# a part with as many of each class


def test_a_balanced_part_is_even_and_in_order() -> None:
    parent = images((30, 10, 20))
    part = balanced(parent, 20)
    assert sorted(Counter(part.labels).values()) == [6, 7, 7]
    assert list(part.indices) == sorted(set(part.indices))
    assert Counter(balanced(parent, 45).labels)[1] == 10  # all there are; the others make up for it
    assert balanced(parent, 60).indices == tuple(range(60))


def test_a_smaller_balanced_part_is_in_a_larger_one_and_none_is_random() -> None:
    parent = images((30, 30))
    parts = [set(balanced(parent, count).keys) for count in (10, 20, 40)]
    assert parts[0] < parts[1] < parts[2]
    assert set(balanced(parent, 20).keys) == parts[1]


@pytest.mark.parametrize("count", [-1, 3, 61])
def test_a_part_that_cannot_be_is_refused(count: int) -> None:
    with pytest.raises(UserError, match=f"images = {count}: these data have 60 training images in 2 classes, .* 4 to 60"):
        balanced(images((30, 30)), count)


def test_a_label_set_is_balanced_its_own_and_grows_without_losing_any() -> None:
    parent = images((30, 40, 50))
    sets = [labelled(parent, 5, number) for number in range(4)]
    assert all(Counter(one.labels) == {0: 5, 1: 5, 2: 5} for one in sets)
    assert len({one.indices for one in sets}) == 4
    assert labelled(parent, 5, 2).indices == sets[2].indices
    assert set(sets[2].keys) < set(labelled(parent, 6, 2).keys)
    assert all(one.indices == tuple(sorted(one.indices)) for one in sets)


def test_label_sets_reach_every_image() -> None:
    parent = images((10, 10))
    assert set().union(*(labelled(parent, 3, number).keys for number in range(40))) == set(parent.keys)


def test_a_label_set_of_more_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"labels_per_class = 8: the class .* has 7 training images"):
        labelled(images((30, 7)), 8, 0)
