"""What stops a run or a loop at a chosen place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from actgen.data.store.store import Store
from actgen.training.stages import EpochStats


class Stopped(Exception):
    """What interrupts a run."""


def after_epoch(number: int) -> Callable[[EpochStats], None]:
    def stop(stats: EpochStats) -> None:
        if stats.epoch == number:
            raise Stopped

    return stop


@contextmanager
def stop_within_the_second_round() -> Iterator[None]:
    """Let the first batch of the second round be generated, and end the loop at the next one."""
    add_all = Store.add_all

    def stopping(store: Store, samples: Sequence[Any]) -> Any:
        keys = [*store.manifest.keys()]
        if keys and keys[-1].startswith("r001"):
            raise Stopped
        return add_all(store, samples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "add_all", stopping)
        yield
