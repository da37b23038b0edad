"""At least 500 damaged inputs: each a message and exit code 2, or skipped and counted as asked; nothing else is touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from . import generators, idx, images, manifests, recipes
from .case import Case, judge


def judged(cases: Sequence[Case], root: Path) -> Counter[str]:
    """Return how many cases came to what; all failures in one AssertionError."""
    count: Counter[str] = Counter()
    failures = []
    for case in cases:
        try:
            count[judge(case, root)] += 1
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            failures.append(f"{case.name}: {type(error).__name__}: {error}")
    assert not failures, f"{len(failures)} of {len(cases)}:\n" + "\n".join(failures)
    return count


@pytest.mark.fuzz
def test_images(tmp_path: Path) -> None:
    count = judged(list(images.cases()), tmp_path)
    print(count)


@pytest.mark.fuzz
def test_recipes(tmp_path: Path) -> None:
    count = judged(list(recipes.cases()), tmp_path)
    print(count)


@pytest.mark.fuzz
def test_idx(tmp_path: Path) -> None:
    count = judged(list(idx.cases()), tmp_path)
    print(count)


@pytest.mark.fuzz
def test_manifests(tmp_path: Path, finished: Path) -> None:
    count = judged(list(manifests.cases((finished / "store" / "metadata.jsonl").read_bytes())), tmp_path)
    print(count)


@pytest.mark.fuzz
def test_generators(tmp_path: Path, tiny_generator: Path) -> None:
    count = judged(list(generators.cases(tiny_generator)), tmp_path)
    print(count)
