"""What bench refuses to do or to compare: real runs, each tampered with in one way, and what cannot be read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from actgen.core.errors import UserError
from actgen.core.lock import locked
from actgen.studies.bench.arms import find_arms, parse_arm
from actgen.studies.bench.fairness import refuse_unfair
from actgen.studies.bench.plan import plan_jobs
from actgen.studies.bench.rows import read_rows
from actgen.studies.bench.run import run_all, write_comparison
from tests.conftest import Refuse, read_lines, write_digits
from tests.studies.bench.conftest import call, command


def message(arguments: Sequence[str]) -> str:
    """Return the message of a command that ends with `UserError`."""
    with pytest.raises(UserError) as refused:
        call(arguments)
    return str(refused.value)


@pytest.fixture(scope="module")
def other_data(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two data sets like the digits: one with another training image a class, one with a test image less a class."""
    train, test = (tmp_path_factory.mktemp("other") / name for name in ("train", "test"))
    shutil.copytree(digits, test)
    for path in (test / "test").rglob("000.png"):
        path.unlink()
    shutil.copytree(digits / "test", train / "test")
    write_digits(train, "train", 5, 35)
    for path in (train / "train").rglob("000.png"):
        path.rename(path.with_name("other.png"))
    return train, test


def test_runs_that_differ_in_more_than_their_arm_are_not_compared(
    bench_recipe: Path, other_data: tuple[Path, Path], tmp_path: Path
) -> None:
    tampered = {
        "longer": ("training.epochs=3", "optimiser steps (digits longer seed 0: 12; digits none seed 0: 8)"),
        "smaller": ("training.batch_size=16", "optimiser steps"),
        "real": (f"data={other_data[0]}", "real training images"),
        "test": (f"data={other_data[1]}", "images that accuracy is measured on"),
        "model": ("model.name=resnet10t,model.image_size=32", "initial weights"),
    }
    own = dict(parse_arm(f"{name}:strategy=none,{change}") for name, (change, _) in tampered.items())
    jobs = plan_jobs({"digits": bench_recipe}, {"digits": find_arms(["none", *own], own)}, [0])
    out = tmp_path / "bench"
    assert run_all(jobs, out, 2, lambda event: None) == []
    with pytest.raises(UserError, match="no comparison"):
        write_comparison(out)
    assert not [path for path in out.iterdir() if path.suffix in (".md", ".html", ".png")]
    rows = read_rows(out / "results.jsonl")
    for name, (_, words) in tampered.items():
        with pytest.raises(UserError, match="no comparison") as refused:
            refuse_unfair([row for row in rows if row["arm"] in ("none", name)])
        assert words in str(refused.value), name


def test_fewer_images_than_the_other_arms_are_not_compared(benched: Path, refuse: Refuse, tmp_path: Path) -> None:
    """As when a round found no hard example, or a generator's pictures were refused."""
    rows = read_lines(benched / "results.jsonl")
    rows[-1]["synthetic_images"] -= 1
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    said = refuse("bench", "--table", str(tmp_path / "results.jsonl"))
    assert "number of generated images (digits actgen 0.1 seed 1: 11; digits text-only 0.1 seed 0: 12)" in said


def test_settings_that_differ_between_calls_are_not_compared(benched: Path, bench_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    shutil.copytree(benched, out)
    shutil.rmtree(out / "runs/digits/text-only")
    said = message(command(bench_recipe, out, "--set", "training.augment.flip=true", arms=["text-only"], seeds="0"))
    assert "digits text-only 0.1 seed 0 with other settings (training.augment.flip is False, now True)" in said


def test_a_recipe_that_was_changed_in_between(benched: Path, bench_recipe: Path, refuse: Refuse, tmp_path: Path) -> None:
    changed, text = tmp_path / "digits.toml", bench_recipe.read_text(encoding="utf-8")
    changed.write_text(text.replace("[training]", "[training]\nwarmup = 0.3"), encoding="utf-8")
    said = refuse(*command(changed, benched))
    assert "digits none seed 0 with other settings (training.warmup is 0.1, now 0.3)" in said


def test_validation_in_the_folder_of_a_test(benched: Path, bench_recipe: Path, refuse: Refuse) -> None:
    said = refuse(*command(bench_recipe, benched, "--evaluate", "validation"))
    assert "other settings (evaluation.on is 'test', now 'validation')" in said


def test_a_folder_where_another_bench_is_at_work(benched: Path, bench_recipe: Path, refuse: Refuse) -> None:
    with locked(benched):
        assert "is in use by process" in refuse(*command(bench_recipe, benched))


def test_a_folder_of_something_else(bench_recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("hello", encoding="utf-8")
    assert "is not empty and holds no bench" in message(command(bench_recipe, tmp_path))
    assert "is a file" in message(command(bench_recipe, tmp_path / "letter.txt"))


@pytest.mark.parametrize("fault", ["missing", "without test images"])
def test_data_that_cannot_be_used_stop_all_runs_with_one_message(
    bench_recipe: Path, digits: Path, tmp_path: Path, fault: str
) -> None:
    data, words = {
        "missing": ("nowhere", "no data set and no folder called"),
        "without test images": (digits / "train", "has no test images"),
    }[fault]
    said = message(command(bench_recipe, tmp_path / "bench", "--set", f"data={data}", arms=["none"]))
    assert "digits none seed" in said
    assert words in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_arms_that_do_not_fit_are_all_named_before_anything_runs(
    bench_recipe: Path, refuse: Refuse, tmp_path: Path, more: Sequence[str]
) -> None:
    arms = [
        "none",
        "text-only",
        "class-conditional",
        "oversample",
        "selective",
    ]  # the first two could generate beside the training
    settings = ["--set", "generation.on=cpu", "--set", "training.epochs=4"]
    said = refuse(*command(bench_recipe, tmp_path / "bench", *settings, *more, arms=arms))
    assert "digits class-conditional cannot be: generation.on = 'cpu': class-conditional generates before the training" in said
    assert "digits oversample cannot be: generation.on = 'cpu': oversample generates nothing new" in said
    assert "digits selective cannot be" in said
    assert "digits text-only" not in said
    assert list(tmp_path.iterdir()) == []


def test_a_bench_has_one_gpu_a_process(
    bench_recipe: Path, refuse: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    settings = ["--set", "generation.on=cuda:1", "--set", "training.epochs=4"]
    said = refuse(*command(bench_recipe, tmp_path / "bench", *settings, arms=["none", "text-only"]))
    assert "digits text-only cannot be: generation.on = 'cuda:1': a run here sees 1 GPUs" in said


def test_a_finished_arm_need_not_fit(benched: Path, bench_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise UserError("no")

    monkeypatch.setattr("actgen.studies.bench.run.check_compatible", fail)
    assert call(command(bench_recipe, benched))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "bench needs a recipe"),
        (["nowhere"], "no shipped recipe of that name"),
        (["nowhere.toml"], "nowhere.toml"),
        (["RECIPE", "--arms", "best"], "'best' is unknown"),
        (["RECIPE", "--arms", ","], "names no arm"),
        (["RECIPE", "--seeds", "x"], "--seeds 'x'"),
        (["RECIPE", "--budgets", "0"], "--budgets '0'"),
        (["RECIPE", "--evaluate", "train"], "evaluation.on = 'train'"),
        (["RECIPE", "--set", "training.epoch=1"], "unknown key training.epoch"),
        (["RECIPE", "--arm", "x"], "NAME:a.b=c"),
        (["--table", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_what_cannot_be_read(refuse: Refuse, bench_recipe: Path, arguments: list[str], words: str) -> None:
    assert words in refuse("bench", *(str(bench_recipe) if each == "RECIPE" else each for each in arguments))
