"""A whole bench on real digits: what it leaves behind, that it continues, and what fails in it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from actgen.core.errors import UserError
from actgen.core.lock import LOCK
from actgen.core.provenance import recipe_hash, source_commit
from actgen.experiment.config import build_recipe
from actgen.experiment.run import run
from actgen.studies.bench import pool
from actgen.studies.bench.arms import find_arms
from actgen.studies.bench.plan import plan_jobs
from actgen.studies.bench.rows import options, read_rows, right_of
from actgen.studies.bench.run import run_all
from tests.conftest import read_lines, tree, without_times
from tests.studies.bench.conftest import ARMS, call, command

NEEDED: dict[str, type | tuple[type, ...]] = {
    "recipe": str,
    "arm": str,
    "seed": int,
    "budget": float,
    "test_accuracy": float,
    "synthetic_images": int,
    "optimizer_steps": int,
    "train_seconds": float,
    "generation_seconds": float,
}


def results(out: Path) -> list[dict[str, Any]]:
    return [without_times(row) for row in read_lines(out / "results.jsonl")]


# what a bench leaves behind


def test_a_line_a_run(benched: Path) -> None:
    rows = read_rows(benched / "results.jsonl")
    assert [(row["arm"], row["budget"], row["seed"]) for row in rows] == [
        (arm, 0.0 if arm == "none" else 0.1, seed) for arm in ARMS for seed in (0, 1)
    ]
    for row in rows:
        columns: Mapping[str, object] = row
        assert {key for key, kind in NEEDED.items() if isinstance(columns[key], kind)} == set(NEEDED)
        assert row["recipe"] == "digits"
        assert row["synthetic_images"] == round(row["budget"] * row["real_images"])
        assert row["by_epoch"][-1] == row["test_accuracy"]
        assert options(row)["training.epochs"] == row["settings"]["training.epochs"] == 2
        assert recipe_hash(row["settings"]) == row["recipe_sha256"]
        assert row["commit"] == source_commit()
        assert (row["proxy_steps"], row["judge_hashes"], row["label_set"]) == (0, {}, None)
        assert row["seconds"].keys() == {"training", "proxy", "generation", "evaluation"}
        assert row["seconds"]["training"] == row["train_seconds"]
        right = right_of(row)
        assert right is not None
        assert 100 * right.mean() == pytest.approx(row["test_accuracy"], abs=1e-4)
    assert not [name for name in tree(benched) if name.endswith((".part", "checkpoints", "rounds"))]


def test_table_page_and_figures(benched: Path) -> None:
    table = (benched / "table.md").read_text(encoding="utf-8")
    page = (benched / "bench.html").read_text(encoding="utf-8")
    assert table.count("\n| `") == len(ARMS)
    assert page.startswith("<!doctype html>")
    assert {path.name for path in benched.glob("*.png")} == {"arms.png", "cost.png", "epochs.png"}


def test_a_run_of_a_bench_is_the_run_of_train(benched: Path, bench_recipe: Path, tmp_path: Path) -> None:
    """Neither the processes nor what they keep between runs change a result: seed 1 came second in its process, or later."""
    settings = ["generation.replay=false", "generation.previews=0"]
    summary = run(build_recipe(bench_recipe, settings, {"strategy": "actgen", "seed": 1}), tmp_path / "run", page=False)
    (row,) = [row for row in read_lines(benched / "results.jsonl") if (row["arm"], row["seed"]) == ("actgen", 1)]
    for key in ("test_accuracy", "per_class", "optimizer_steps", "initial_weights", "generator_hash", "real_images_digest"):
        assert row[key] == summary[key]
    assert tree(benched / "runs/digits/actgen/0.1/1/store/images") == tree(tmp_path / "run/store/images")


def test_arms_of_a_seed_share_order_and_augmentation(benched: Path) -> None:
    """Until the first images come, text-only is the run of real images only, step by step."""
    for seed in (0, 1):
        none, text = (
            read_lines(benched / "runs/digits" / arm / str(seed) / "stats.jsonl") for arm in ("none/0", "text-only/0.1")
        )
        for key in ("train_loss", "test_accuracy", "learning_rate", "optimizer_steps"):
            assert none[0][key] == text[0][key]
        assert none[1]["train_loss"] != text[1]["train_loss"]
        assert none[1]["learning_rate"] == text[1]["learning_rate"]


# the same again


def test_a_second_call_starts_no_process(benched: Path, bench_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(pool, "_start", refuse)
    before = {path: path.stat().st_mtime_ns for path in benched.rglob("*") if path.is_file() and path.name != LOCK}
    code, output = call(command(bench_recipe, benched))
    assert code == 0
    assert "| `actgen` | 0.1 | 2 |" in output
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_the_rows_alone_are_enough_to_go_on(
    benched: Path, bench_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a process was started")

    out = tmp_path / "carried"
    out.mkdir()
    shutil.copy(benched / "results.jsonl", out)
    monkeypatch.setattr(pool, "_start", refuse)
    code, _ = call(command(bench_recipe, out))
    assert code == 0
    assert (out / "table.md").read_bytes() == (benched / "table.md").read_bytes()
    with pytest.raises(UserError, match=r"training\.label_smoothing is 0\.1, now 0\.3"):
        call(command(bench_recipe, out, "--set", "training.label_smoothing=0.3"))


def test_the_table_alone(benched: Path) -> None:
    code, output = call(["bench", "--table", str(benched / "results.jsonl")])
    assert code == 0
    assert (benched / "table.md").read_text(encoding="utf-8") in output


def test_report_writes_a_bench_again(benched: Path, tmp_path: Path) -> None:
    shutil.copy(benched / "results.jsonl", tmp_path)
    code, output = call(["report", str(tmp_path)])
    assert code == 0
    assert str(tmp_path / "bench.html") in output.replace("\n", "")
    for name in ("table.md", "bench.html", "arms.png"):
        assert (tmp_path / name).read_bytes() == (benched / name).read_bytes()


@pytest.mark.slow
def test_more_arms_join_those_that_are_there(benched: Path, bench_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    shutil.copytree(benched, out)
    arguments = command(bench_recipe, out, "--arm", "soft:strategy=none,training.label_smoothing=0.3", arms=["soft"], seeds="0")
    code, output = call(arguments)
    assert code == 0
    assert [row for row in results(out) if row["arm"] != "soft"] == results(benched)
    assert "| `soft` | – | 1 |" in output


# stopped and continued


FEW = ("none", "text-only")


def start(recipe: Path, out: Path) -> subprocess.Popen[str]:
    code = "from actgen.cli.app import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command(recipe, out, arms=FEW)],
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def wait_for_a_result(out: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(2400):
        if list(out.glob("runs/*/*/*/*/result.json")):
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no run was finished in two minutes")


def alive(group: int) -> list[int]:
    """Return the processes of a group that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue
        if entry.name.isdigit() and int(its_group) == group and state != "Z":
            found.append(int(entry.name))
    return found


def wait_for_the_end(group: int) -> None:
    deadline = time.monotonic() + 30
    while alive(group):
        assert time.monotonic() < deadline, "processes were left behind"
        time.sleep(0.05)


@pytest.mark.slow  # all of its runs, twice
@pytest.mark.parametrize("whole_group", [True, False])
def test_a_killed_bench_continues(benched: Path, bench_recipe: Path, tmp_path: Path, whole_group: bool) -> None:
    out = tmp_path / "bench"
    process = start(bench_recipe, out)
    wait_for_a_result(out, process)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.communicate()
    wait_for_the_end(process.pid)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*/*/result.json")}
    assert 0 < len(finished) < 2 * len(FEW)
    code, output = call(command(bench_recipe, out, arms=FEW))
    assert code == 0, output
    assert results(out) == [row for row in results(benched) if row["arm"] in FEW]
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for name, content in tree(benched / "runs").items():
        if name.split("/")[1:2] in [[arm] for arm in FEW] and name.endswith((".png", "classifier.safetensors")):
            assert (out / "runs" / name).read_bytes() == content


def test_ctrl_c_ends_all_processes_and_says_how_to_go_on(bench_recipe: Path, tmp_path: Path) -> None:
    process = start(bench_recipe, tmp_path / "bench")
    wait_for_a_result(tmp_path / "bench", process)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1].startswith("stopped. Continue with: actgen bench ")
    wait_for_the_end(process.pid)


# what fails


def test_a_run_that_fails_is_recorded_and_loses_no_other(bench_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    wild = ("--arm", "wild:strategy=none,training.learning_rate=1000,training.label_smoothing=0,training.weight_decay=10")
    code, output = call(command(bench_recipe, out, *wild, arms=["wild", "none"], seeds="0"))
    assert code == 1
    assert "1 of 2 runs failed" in output
    (failure,) = read_lines(out / "failures.jsonl")
    assert (failure["arm"], failure["seed"]) == ("wild", 0)
    assert "the training loss is nan in step" in failure["error"]
    assert "Traceback" in failure["trace"]
    assert [row["arm"] for row in results(out)] == ["none"]


@pytest.mark.slow
def test_a_process_that_dies_loses_its_run_only(bench_recipe: Path, tmp_path: Path) -> None:
    jobs = plan_jobs({"digits": bench_recipe}, {"digits": find_arms(["none"], {})}, [0, 1, 2])
    killed: list[str] = []

    def kill_the_first(event: pool.Event) -> None:
        if event.kind == "epoch" and not killed:
            (child,) = [
                pid
                for pid in alive(os.getpgid(0))
                if b"actgen.studies.bench.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
            ]
            os.kill(child, signal.SIGKILL)
            killed.append(str(event.job))

    (failed,) = run_all(jobs, tmp_path / "bench", 1, kill_the_first)
    assert [str(failed.job)] == killed
    assert "signal 9" in failed.error
    assert len(results(tmp_path / "bench")) == 2
    assert run_all(jobs, tmp_path / "bench", 1, lambda event: None) == []
    assert len(results(tmp_path / "bench")) == 3
    assert not (tmp_path / "bench" / "failures.jsonl").exists()


# label sets


def test_label_sets_share_no_seed_and_their_arms_share_the_images(bench_recipe: Path, tmp_path: Path) -> None:
    out, few = tmp_path / "bench", ("--set", "labels_per_class=6")
    arguments = ["bench", str(bench_recipe), "--label-sets", "0:2", "--arms", "none,text-only", "--out", str(out), *few]
    code, output = call(arguments)
    assert code == 0, output
    rows = read_lines(out / "results.jsonl")
    assert [(row["arm"], row["label_set"], row["seed"]) for row in rows] == [
        (arm, number, number) for arm in ("none", "text-only") for number in (0, 1)
    ]
    digests = {row["label_set"]: row["real_images_digest"] for row in rows}
    assert all(digests[row["label_set"]] == row["real_images_digest"] for row in rows)
    assert len(set(digests.values())) == 2
    assert "| arm | budget | label sets |" in output


# a dry run, and validation


def test_a_dry_run_counts_and_writes_nothing(bench_recipe: Path, tmp_path: Path) -> None:
    code, output = call(command(bench_recipe, tmp_path / "bench", "--dry-run", "--budgets", "0.1,0.2"))
    assert code == 0
    assert "10 runs in" in output
    assert "digits actgen 0.2: 2 runs of 8 optimiser steps and 24 images" in output
    assert not (tmp_path / "bench").exists()


def test_validation_is_measured_on_training_images(bench_recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench"
    code, output = call(command(bench_recipe, out, "--evaluate", "validation", arms=["none"], seeds="0"))
    assert code == 0
    assert "validation accuracy" in output
    (row,) = read_lines(out / "results.jsonl")
    assert "test_accuracy" not in row
    assert row["real_images"] == 96  # 120 without 24 validation images
    first, _ = read_lines(out / "runs/digits/none/0/0/stats.jsonl")
    assert first["test_accuracy"] is None
    assert first["validation_accuracy"] == row["by_epoch"][0]
