"""What is declared before the test: read, run as it says, and half of the test images out of sight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from actgen.classifiers.correctness import pack_right
from actgen.core.errors import UserError
from actgen.studies.bench.compare import compare
from actgen.studies.bench.contrasts import measure_contrasts
from actgen.studies.bench.protocol import PROTOCOL, Protocol, read_protocol
from actgen.studies.bench.rows import BenchRow, right_of
from actgen.studies.bench.run import FINAL_LOOKS, FINAL_TABLE, refuse_other_protocol
from actgen.studies.bench.table import make_table
from tests.conftest import Refuse, read_lines
from tests.studies.bench.conftest import call
from tests.support.bench_rows import make_row

TEXT = """\
recipes = ["{recipe}"]
label_sets = "0:2"
alpha = 0.05
settings = ["labels_per_class=6"]

[test_images]
seed = 7
open = "first half"

[[runs]]
arms = ["none", "text-only"]
budgets = [0.1]

[[runs]]
arms = ["soft"]

[[primary]]
recipe = "digits"
arm = "text-only"
budget = 0.1

[arms.soft]
strategy = "none"
training.label_smoothing = 0.3
"""
IMAGES = 400


@pytest.fixture
def path(bench_recipe: Path, tmp_path: Path) -> Path:
    path = tmp_path / "few" / "declared.toml"
    path.parent.mkdir()
    path.write_text(TEXT.format(recipe=bench_recipe), encoding="utf-8")
    return path


@pytest.fixture
def protocol(path: Path) -> Protocol:
    return read_protocol(path)


def made_up(gain: float, sets: int = 6) -> list[BenchRow]:
    """Return rows of `none` and `text-only`, which is right on about so much more of the images, in [0, 1]."""
    rng, rows = np.random.default_rng(0), []
    for number in range(sets):
        luck = rng.random(IMAGES)
        for arm, level in (("none", 0.6), ("text-only", 0.6 + gain)):
            right = luck < level + rng.normal(0, 0.01)
            made = make_row(arm, 0, 0.1, recipe="digits", label_set=number, right=pack_right(right))
            rows.append(made | {"seed": number, "test_accuracy": 100 * float(right.mean()), "real_images_digest": str(number)})
    return rows


def test_the_jobs_are_those_that_it_declares(protocol: Protocol) -> None:
    jobs = protocol.jobs()
    assert [str(job) for job in jobs] == [
        f"digits {arm} label set {number}" for number in (0, 1) for arm in ("none", "text-only 0.1", "soft")
    ]
    assert all(job.recipe.labels_per_class == 6 for job in jobs)
    assert protocol.named == {("digits", "text-only", 0.1), ("digits", "none", 0.0)}


@pytest.mark.parametrize("images", [10, 11, 10_000])
def test_the_halves_are_halves(protocol: Protocol, images: int) -> None:
    shown, held_back = protocol.shown_images(images, final=False), protocol.shown_images(images, final=True)
    assert np.array_equal(shown, ~held_back)
    assert shown.sum() == images // 2
    assert np.array_equal(shown, protocol.shown_images(images, final=False))


def test_what_is_shown_does_not_hang_on_what_is_held_back(protocol: Protocol) -> None:
    rows = made_up(0.1)
    table, final = make_table(rows, protocol), make_table(rows, protocol, final=True)
    assert table != final
    hidden = protocol.shown_images(IMAGES, final=True)
    for row in rows:
        right = right_of(row)
        assert right is not None
        row["right"] = pack_right(np.where(hidden, False, right))
        row["test_accuracy"] = 0.0
    assert make_table(rows, protocol) == table
    assert make_table(rows, protocol, final=True) != final


@pytest.mark.parametrize(("gain", "verdict"), [(0.15, "a gain"), (-0.15, "a loss"), (0.0, "not told apart")])
def test_primary_contrasts_have_a_verdict_and_other_arms_are_exploratory(protocol: Protocol, gain: float, verdict: str) -> None:
    rows = [*made_up(gain), *(row | {"arm": "soft", "budget": 0.0} for row in made_up(gain) if row["arm"] == "none")]
    lines = make_table(rows, protocol).splitlines()
    (asked,) = [line for line in lines if line.startswith("| digits | text-only 0.1 | none | 6 |")]
    assert asked.endswith(f"| {verdict} |")
    roles = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in lines if line.startswith("| `")}
    assert roles == {"`none`": "primary", "`text-only`": "primary", "`soft`": "exploratory"}


def test_the_gain_of_a_contrast_is_that_of_the_table(protocol: Protocol) -> None:
    rows = [protocol.shown(row, False) for row in made_up(0.1)]
    (measured,) = measure_contrasts(rows, protocol)
    assert measured.gain == pytest.approx(compare(rows)[-1].gain)
    assert measured.p == measured.adjusted == 2 / 2**6
    assert measured.interval is not None
    assert measured.interval.low < measured.interval.mean < measured.interval.high


def test_a_contrast_without_runs_is_not_measured_yet(protocol: Protocol) -> None:
    assert "| not measured yet |" in make_table([row for row in made_up(0.1) if row["arm"] == "none"], protocol)


def test_rows_that_do_not_say_what_was_right_cannot_be_shown_by_halves(protocol: Protocol) -> None:
    with pytest.raises(UserError, match="does not say which test images were right"):
        make_table([make_row("none", 0)], protocol)


def test_it_runs_and_the_final_look_is_noted(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["bench", "--protocol", str(path), "--out", str(out), "--processes", "2"]
    code, output = call(arguments)
    assert code == 0, output
    assert "## Primary contrasts" in output
    assert "%  " not in output.partition("## Primary")[0]
    assert (out / PROTOCOL).read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    assert not (out / FINAL_TABLE).exists()
    assert call([*arguments, "--final"])[0] == call([*arguments, "--final"])[0] == 0
    assert "until the final look, which this is" in (out / FINAL_TABLE).read_text(encoding="utf-8")
    assert [look["protocol"] for look in read_lines(out / FINAL_LOOKS)] == [read_protocol(path).sha256] * 2


def test_another_protocol_is_refused(protocol: Protocol, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="begun without a protocol"):
        refuse_other_protocol(tmp_path, protocol)
    (tmp_path / PROTOCOL).write_text(protocol.text.replace("seed = 7", "seed = 8"), encoding="utf-8")
    with pytest.raises(UserError, match="declared by another protocol"):
        refuse_other_protocol(tmp_path, protocol)
    (tmp_path / PROTOCOL).write_text(protocol.text, encoding="utf-8")
    refuse_other_protocol(tmp_path, protocol)


@pytest.mark.parametrize("more", [["--seeds", "0"], ["--arms", "none"], ["--set", "a=1"], ["--evaluate", "test"], ["mini"]])
def test_options_beside_a_protocol_are_refused(path: Path, refuse: Refuse, more: list[str]) -> None:
    assert "would change it" in refuse("bench", *more, "--protocol", str(path))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("alpha = 0.05", "alpha = 2.0", "alpha = 2"),
        ("alpha = 0.05", "", "'alpha' is missing"),
        ('open = "first half"', 'open = "all"', "test_images.open"),
        ('arm = "text-only"', 'arms = "text-only"', "arms"),
        ('label_sets = "0:2"', 'label_sets = "x"', "label_sets ="),
        ("settings", "setting", "setting"),
        ('["none", "text-only"]', '"none"', "write a list of texts"),
        ('arms = ["soft"]', 'arms = ["soft"]\nrecipes = ["other"]', "runs.recipes"),
    ],
)
def test_what_is_no_protocol_is_refused(path: Path, old: str, new: str, words: str) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(UserError) as refused:
        read_protocol(path)
    assert words in str(refused.value)


def test_a_primary_contrast_that_nothing_measures_is_refused(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("budget = 0.1", "budget = 0.5"), encoding="utf-8")
    with pytest.raises(UserError, match=r"digits text-only 0\.5, which no \[\[runs\]\]"):
        read_protocol(path).jobs()
