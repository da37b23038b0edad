"""Laws of a request once more."""

from __future__ import annotations

import pytest

from actgen.generation.strategies.retry import again, attempt_of
from tests.conftest import make_sample


def test_every_attempt_has_a_key_and_a_seed_of_its_own() -> None:
    request = make_sample("r003-00012").request
    tries = [request]
    for attempt in (1, 2, 3):
        tries.append(again(tries[-1], attempt))
    assert [one.key for one in tries] == ["r003-00012", "r003-00012+1", "r003-00012+2", "r003-00012+3"]
    assert [attempt_of(one.key) for one in tries] == [0, 1, 2, 3]
    assert len({one.seed for one in tries}) == 4
    assert again(request, 1) == again(request, 1)
    assert {(one.label, one.prompt, one.round, one.guides, one.source) for one in tries} == {
        (request.label, request.prompt, 0, (), None)
    }


@pytest.mark.parametrize("key", ["", "a+b", "+x", "r000-1+", "c++"])
def test_any_other_key_is_a_first_attempt(key: str) -> None:
    assert attempt_of(key) == 0
