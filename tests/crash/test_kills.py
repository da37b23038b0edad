"""A real training killed at random moments: the store is clean after every kill, and in the end all is as if nothing had been.

`pytest -m crash --kills 200` is the long form. Kills come in turn at a random file operation (before it, after it, or in the
middle of the writing of a line) and after a random time.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from actgen.core.lock import LOCK
from actgen.data.store.manifest import Manifest
from actgen.data.store.store import MANIFEST
from actgen.data.store.verify import verify
from actgen.training.parallel.background import Background
from tests.support.killed_runs import CHECKPOINT_IMAGES, RUNS, Case
from tests.support.lives import Ended
from tests.support.whole_runs import assert_same_run

pytestmark = [pytest.mark.crash, pytest.mark.timeout(3600)]

LONG = (
    "in a second process",  # every life starts a process that imports everything; test_background.py kills one too
    "all before the training, chosen",  # every kept image costs many samples
)


@pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if kind in LONG else ()) for kind in RUNS])
def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(kind: str, cases: Callable[[str], Case], kills: int) -> None:
    case, rng = cases(kind), random.Random(f"20261125 {kind}")
    most, survived, number = -(-kills // len(RUNS)), 0, 0
    while survived < most:
        out = case.folder / f"run-{number}"
        survived += _killed_to_the_end(case, out, rng, most - survived)
        (out / LOCK).unlink(missing_ok=True)  # of a life killed at its very end; the next one found the run done
        assert_same_run(case.folder / "clean", out)
        shutil.rmtree(out)
        number += 1
    assert survived == most


def _killed_to_the_end(case: Case, out: Path, rng: random.Random, most: int) -> int:
    """Kill a run, look at its store, continue it, and so on to its end; return the number of kills."""
    kills = 0
    while True:
        ended = case.live(out, **(_death(case.whole, rng, in_time=kills % 2 == 1) if kills < most else {}))
        _check(case, out, kills + 1)
        if ended.code == 0:
            return kills
        assert ended.code == -signal.SIGKILL, out.with_suffix(".log").read_text(encoding="utf-8")
        kills += 1


def _death(whole: Ended, rng: random.Random, *, in_time: bool) -> dict[str, object]:
    if in_time:
        return {"after": rng.uniform(0, whole.seconds)}
    return {"event": rng.randint(1, whole.events), "before": rng.random() < 0.5}


def _check(case: Case, out: Path, lives: int) -> None:
    """Whatever happened: nothing is damaged, no image is there twice, and not more was generated again than is allowed."""
    Background(out, "cpu", "").succeed()  # the second process ends with the first, a moment later
    if (out / "store" / MANIFEST).exists():
        assert verify(out / "store").damage == []
    generated = out.with_suffix(".drawn")
    if generated.exists():
        keys = generated.read_text(encoding="utf-8").split()
        counts = Counter(key.removesuffix(".0") for key in keys if "." not in key or key.endswith(".0"))  # first candidates
        again = sum(counts.values()) - len(counts)
        assert again <= (lives - 1) * CHECKPOINT_IMAGES, counts
        rows = Manifest(out / "store" / MANIFEST).rows()  # but for a torn last line
        assert len({row["key"] for row in rows}) == len(rows)
