"""At least 2,000 odd and damaged inputs: each used, or a message and exit code 2, or skipped and counted; nothing else touched.

An input that is right in spite of its damage counts as accepted, if it trains, generates or loads to the end. By default one in
twenty is tried; `pytest -m fuzz` tries all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.experiment.build import open_run
from actgen.experiment.config import build_recipe
from actgen.training.loop import fit
from tests.conftest import read_lines

from . import generators, idx, images, layouts, loras, manifests, recipes, runs
from .case import REFUSED, SKIPPED, Case, judge

EVERY, WANTED, ALL = 40, 500, 2000


def train(digits: Path) -> list[str]:
    return ["train", "--data", str(digits), "--strategy", "none", "--epochs", "2"]


@pytest.fixture(scope="module")
def done(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    out = tmp_path_factory.mktemp("done") / "run"
    assert CliRunner().invoke(app, [*train(digits), "--out", str(out)], catch_exceptions=False).exit_code == 0
    return out


@pytest.fixture(scope="module")
def stopped(done: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped after its first epoch."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    out.mkdir()
    (out / "recipe.toml").write_bytes((done / "recipe.toml").read_bytes())
    next(iter(fit(open_run(build_recipe(out / "recipe.toml"), out))))
    return out


@pytest.fixture(scope="module")
def corpus(digits: Path, tiny_generator: Path, finished: Path, stopped: Path, done: Path) -> list[Case]:
    """Every damaged input."""
    manifest = finished / "store" / "metadata.jsonl"
    key = next(str(row["key"]) for row in reversed(read_lines(manifest)) if "adversarial" in row["guides"])
    return [
        *images.cases(),
        *recipes.cases(),
        *idx.cases(),
        *manifests.cases(manifest.read_bytes()),
        *generators.cases(tiny_generator),
        *runs.stopped_cases(stopped, train(digits)),
        *runs.finished_cases(done, train(digits)),
        *runs.redrawn_cases(finished, key),
        *layouts.cases(),
        *loras.cases(tiny_generator, digits),
    ]


def judged(cases: Sequence[Case], root: Path) -> Counter[str]:
    """Return how many cases came to what; all failures in one AssertionError."""
    count: Counter[str] = Counter()
    failures = []
    for case in cases:
        try:
            count[judge(case, root)] += 1
        except Exception as error:
            failures.append(f"{case.name}: {type(error).__name__}: {error}")
    assert not failures, f"{len(failures)} of {len(cases)}:\n" + "\n".join(failures)
    return count


@pytest.mark.fuzz
@pytest.mark.timeout(1800)
def test_every_damaged_input_is_refused_in_words_or_skipped_and_counted(
    corpus: list[Case], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    count = judged(corpus, tmp_path)
    assert capfd.readouterr().err == ""  # nor do the libraries say anything past us
    with capfd.disabled():
        print(f"\n{len(corpus)} inputs: {dict(count)}")  # noqa: T201
    assert count[REFUSED] + count[SKIPPED] >= WANTED
    assert len(corpus) >= ALL


def test_one_in_forty_of_them(corpus: list[Case], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    count = judged(corpus[::EVERY], tmp_path)
    assert capfd.readouterr().err == ""
    assert count[REFUSED] + count[SKIPPED] > len(corpus) // EVERY // 2
