"""Laws of the only door to randomness."""

from __future__ import annotations

import itertools

import pytest
import torch

from actgen.core.rng import derive, generator, permutation

KEYS: list[tuple[str | int, ...]] = [
    (),
    ("a",),
    ("ab", "c"),
    ("a", "bc"),
    ("abc",),
    (1,),
    ("1",),
    (1, 2),
    (12,),
    ("", "a"),
    ("a", ""),
]


@pytest.mark.parametrize("key", KEYS)
def test_derive_is_pure_and_fits_in_63_bits(key: tuple[str | int, ...]) -> None:
    assert derive(3, *key) == derive(3, *key)
    assert 0 <= derive(3, *key) < 2**63


def test_every_key_has_a_stream_of_its_own() -> None:
    for one, other in itertools.combinations(KEYS, 2):
        assert derive(0, *one) != derive(0, *other)


def test_the_seed_is_no_part_of_the_key() -> None:
    assert len({derive(0, 1), derive(1, 0), derive(0, "1"), derive(0, 1, 0), derive(1)}) == 5


def test_derive_stays_the_same_for_ever() -> None:
    assert derive(0, "request", 0, 0) == 2970163816335059575


def test_generators_of_one_key_agree_and_leave_torchs_own_stream_alone() -> None:
    before = torch.get_rng_state()
    generates = [torch.randn(4, generator=generator(5, "image")) for _ in range(2)]
    assert torch.equal(*generates)
    assert not torch.equal(generates[0], torch.randn(4, generator=generator(6, "image")))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_a_permutation_is_one(n: int) -> None:
    assert sorted(permutation(n, 0, "order")) == list(range(n))
    assert permutation(n, 0, "order") == permutation(n, 0, "order")


def test_permutations_of_different_keys_differ() -> None:
    assert permutation(50, 0, "order", 0) != permutation(50, 0, "order", 1)
