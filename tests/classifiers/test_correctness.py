"""Which images were recognised, as a text and back."""

from __future__ import annotations

import numpy as np
import pytest

from actgen.classifiers.correctness import pack_right, unpack_right
from actgen.core.errors import UserError


@pytest.mark.parametrize("count", [1, 7, 8, 9, 1000])
def test_a_text_gives_back_what_it_was_made_of(count: int) -> None:
    right_N = np.random.default_rng(count).random(count) < 0.8
    found = unpack_right(pack_right(right_N))
    assert found.dtype == np.bool_
    assert found.tolist() == right_N.tolist()


def test_it_is_short() -> None:
    assert len(pack_right(np.random.default_rng(0).random(10_000) < 0.9)) < 1400


@pytest.mark.parametrize("text", ["", "8", "8:", "x:eJxjAAAAAQAB", "9:eJxjAAAAAQAB", "8:???"])
def test_what_is_no_such_text_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="does not say which images"):
        unpack_right(text)
