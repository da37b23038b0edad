"""Rounds in a second process: images join an epoch later, and whatever is killed, the run ends as if it had not been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from accelerate import PartialState

from actgen.core.errors import UserError
from actgen.data.store.verify import verify
from actgen.experiment.build import open_run
from actgen.experiment.config import Recipe, build_recipe, to_toml
from actgen.experiment.dry_run import estimate
from actgen.experiment.reproduce import regenerate
from actgen.experiment.run import run
from actgen.generation.best_of_n import Selection
from actgen.generation.filters.options import Filters
from actgen.training.callbacks import SILENT, Callbacks
from actgen.training.parallel.background import RESTARTS, Background, background_folder, environment
from actgen.training.schedule import generating_epochs
from tests.conftest import Refuse, read_lines, tree, without_times
from tests.support.lock_holder import holder
from tests.support.whole_runs import assert_same_run, summary

EPOCHS, BUDGET = 5, 24


@pytest.fixture(scope="module")
def wanted(recipe: Recipe) -> Recipe:
    """Five epochs of 120 digits; 24 images in rounds of 12 after the first two epochs, in batches of 4."""
    return replace(
        recipe,
        model=replace(recipe.model, name="actgen/tiny-cnn"),
        training=replace(recipe.training, epochs=EPOCHS),
        generation=replace(recipe.generation, budget=BUDGET / 120, on="cpu", checkpoint_images=4),
        sampling=replace(recipe.sampling, num_inference_steps=2, batch_size=4),
    )


@pytest.fixture(scope="module")
def pending(wanted: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run whose rounds were generated in a second process."""
    out = tmp_path_factory.mktemp("background") / "run"
    run(wanted, out)
    return out


def second_process(of: psutil.Process) -> psutil.Process | None:
    """Return the process that generates for another one, if there is one now."""
    try:
        return next((child for child in of.children() if "actgen.experiment.background" in child.cmdline()), None)
    except psutil.Error:
        return None


def until(happened: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# what it does


def test_images_join_an_epoch_later_and_say_how_stale_they_are(pending: Path) -> None:
    rows = read_lines(pending / "store" / "metadata.jsonl")
    assert len(rows) == BUDGET
    assert {row["staleness"] for row in rows} == {1}
    stats = read_lines(pending / "stats.jsonl")
    assert [row["generated_so_far"] for row in stats] == [0, 12, 24, 24, 24]
    assert [row["synthetic_images"] for row in stats] == [0, 0, 12, 24, 24]
    assert [row["real_images"] for row in stats] == [108, 108, 120, 120, 120]
    assert [row["staleness"] for row in stats] == [None, 1, 1, None, None]
    assert [row["generation_seconds"] > 0 for row in stats] == [False, True, True, False, False]
    assert [row["waited_seconds"] > 0 for row in stats] == [False, True, True, False, False]
    for row in rows:
        first = next(epoch for epoch, line in enumerate(stats) if line["synthetic_images"] > 12 * row["round"])
        assert row["staleness"] == first - row["round"] - 1  # the definition
    facts = summary(pending)
    assert facts["synthetic_images"] == BUDGET
    assert facts["waited_seconds"] == pytest.approx(sum(row["waited_seconds"] for row in stats), abs=0.02)


def test_nothing_but_the_run_is_left(pending: Path) -> None:
    assert not background_folder(pending).exists()
    assert second_process(psutil.Process()) is None
    assert {path.suffix for path in (pending / "checkpoints").iterdir()} == {".pt"}
    assert verify(pending / "store").damage == []


def test_its_images_are_drawn_again_pixel_for_pixel(pending: Path, tmp_path: Path) -> None:
    guided = [row["key"] for row in read_lines(pending / "store" / "metadata.jsonl") if "adversarial" in row["guides"]]
    assert all(one.differs == (0, 0) for one in regenerate(pending / "store", guided[:1], tmp_path / "again"))


def test_without_it_no_column_is_added(finished: Path) -> None:
    assert not any("staleness" in row for row in read_lines(finished / "store" / "metadata.jsonl"))
    assert {(row["staleness"], row["waited_seconds"]) for row in read_lines(finished / "stats.jsonl")} == {(None, 0.0)}


def test_every_image_is_trained_on_at_least_once() -> None:
    assert [generating_epochs(epochs, 1.0, later=1) for epochs in (1, 2, 3, 8)] == [0, 0, 1, 6]
    assert [generating_epochs(epochs, 1.0) for epochs in (1, 2, 3, 8)] == [0, 1, 2, 7]


def test_an_estimate_needs_no_second_process(wanted: Recipe, tmp_path: Path) -> None:
    assert estimate(wanted, tmp_path / "run").generation_seconds > 0
    assert second_process(psutil.Process()) is None


# threads


def test_while_both_work_each_has_half_of_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with Background(tmp_path, "cpu", "").sharing():
        assert torch.get_num_threads() == before  # as given
    monkeypatch.delenv("OMP_NUM_THREADS")
    with Background(tmp_path, "cuda:1", "").sharing():
        assert torch.get_num_threads() == before
    with Background(tmp_path, "cpu", "").sharing():
        assert torch.get_num_threads() == 3
    assert torch.get_num_threads() == before


def test_it_sees_one_gpu_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert environment("cpu")["CUDA_VISIBLE_DEVICES"] == ""
    assert environment("cuda:1")["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, 7")
    assert environment("cuda:1")["CUDA_VISIBLE_DEVICES"] == "7"


# what cannot be


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["--generate-on", "gpu"], "generation.on = 'gpu': allowed are cpu, cuda:0, cuda:1"),
        (["--generate-on", "cuda:-1"], "allowed are cpu"),
        (["--generate-on", "cuda:99"], "generation.on = 'cuda:99': a run here sees"),
        (["--generate-on", "cpu", "--strategy", "class-conditional"], "class-conditional generates before the training"),
        (["--generate-on", "cpu", "--strategy", "oversample"], "oversample generates nothing new"),
        (["--generate-on", "cpu", "--epochs", "2", "--set", "generation.until=1"], "never after the last two"),
    ],
)
def test_what_cannot_be_is_refused(
    changes: list[str], expected: str, digits: Path, tiny_generator: Path, refuse: Refuse
) -> None:
    command = ["train", "--data", str(digits), "--generator", str(tiny_generator), "--out", "run", "--epochs", "4"]
    assert expected in refuse(*command, *changes)


def test_several_processes_are_refused(wanted: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PartialState()._shared_state, "num_processes", 2)
    with pytest.raises(UserError, match="cannot go with a training in 2 processes"):
        open_run(wanted, tmp_path / "run")


def test_real_images_only_need_no_second_process(wanted: Recipe, tmp_path: Path) -> None:
    training = open_run(replace(wanted, strategy="none"), tmp_path / "run")
    assert training.background is None


# what goes wrong


def test_a_process_that_is_lost_again_and_again_is_a_message(wanted: Recipe, tmp_path: Path) -> None:
    background = Background(tmp_path, "cpu", to_toml(wanted))
    killed: set[int] = set()

    def kill() -> None:
        while len(killed) <= RESTARTS:
            if (process := second_process(psutil.Process())) is not None and process.pid not in killed:
                killed.add(process.pid)
                process.kill()
            time.sleep(0.01)

    threading.Thread(target=kill).start()
    try:
        background.generate({})
        with pytest.raises(UserError, match=r"the process that generates on cpu ended with signal 9, 3 times in one round"):
            background.wait(SILENT.on_sample)
    finally:
        background.close()
    assert len(killed) == RESTARTS + 1
    assert tree(tmp_path) == {"checkpoints": None}


def test_a_process_whose_parent_has_gone_ends_before_it_does_anything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "actgen.experiment.background", str(tmp_path), "cpu", "1"]
    ended = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, tree(tmp_path)) == (0, b"", {})


def test_the_end_of_an_earlier_second_process_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, background = background_folder(tmp_path), Background(tmp_path, "cpu", "")
    background.succeed()
    folder.mkdir(parents=True)
    with holder(folder) as process:
        threading.Timer(0.3, process.kill).start()
        background.succeed()
        assert process.poll() is not None
    monkeypatch.setattr("actgen.training.parallel.background.PATIENCE", 0.2)
    with holder(folder) as process, pytest.raises(UserError, match=f"in use by process {process.pid}"):
        background.succeed()


@pytest.mark.slow
def test_what_the_second_process_cannot_do_is_told_by_the_first(pending: Path, wanted: Recipe, tmp_path: Path) -> None:
    def moved(recipe: Recipe) -> Exception:
        background = Background(tmp_path, "cpu", to_toml(recipe))
        try:
            background.generate({})
            with pytest.raises(Exception, match=r".") as raised:
                background.wait(SILENT.on_sample)
            return raised.value
        finally:
            background.close()

    error = moved(replace(wanted, data=str(tmp_path / "gone")))
    assert isinstance(error, UserError)
    assert "gone" in str(error)
    assert isinstance(moved(wanted), RuntimeError)  # an order without a plan is our own fault: with the trace
    assert second_process(psutil.Process()) is None


# nothing is lost


class _Stop(Exception):
    """What interrupts a run."""


def stop(stats: object) -> None:
    raise _Stop


@pytest.mark.slow
def test_a_run_stopped_while_a_round_is_away_continues_as_if_it_was_not(pending: Path, wanted: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    for _ in range(2):  # after each of the epochs after which a round leaves
        with pytest.raises(_Stop):
            run(wanted, out, callbacks=Callbacks(on_epoch=stop))
        assert second_process(psutil.Process()) is None
    max((out / "checkpoints").glob("*.pt")).write_bytes(b"")  # damaged: it goes on from the one before, with the round before
    run(wanted, out)
    assert_same_run(pending, out)


@pytest.mark.slow
def test_when_the_second_process_is_killed_another_goes_on(pending: Path, wanted: Recipe, tmp_path: Path) -> None:
    out, killed = tmp_path / "run", list[int]()

    def kill(done: int, of: int) -> None:
        if len(killed) < 2 and (process := second_process(psutil.Process())) is not None:
            killed.append(process.pid)
            process.kill()

    run(wanted, out, callbacks=Callbacks(on_sample=kill))
    assert len(set(killed)) == 2
    assert_same_run(pending, out)


def command(wanted: Recipe, out: Path) -> list[str]:
    recipe = out.with_suffix(".toml")
    recipe.write_text(to_toml(wanted), encoding="utf-8")
    assert build_recipe(recipe) == wanted
    return [
        sys.executable,
        "-c",
        "from actgen.cli.app import main; main()",
        "train",
        "--recipe",
        str(recipe),
        "--out",
        str(out),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_the_first_process_ends_the_second_ends_and_the_run_goes_on(
    number: signal.Signals, pending: Path, wanted: Recipe, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with subprocess.Popen(command(wanted, out), stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        first = psutil.Process(process.pid)
        manifest = out / "store" / "metadata.jsonl"
        until(lambda: (manifest.exists() and manifest.read_bytes().count(b"\n") in range(4, 12)) or process.poll() is not None)
        sampling = second_process(first)
        assert sampling is not None
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        _, said = process.communicate(timeout=60)
        until(lambda: not sampling.is_running() or sampling.status() == psutil.STATUS_ZOMBIE, 2)
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert "stopped. Continue with: actgen" in said
    assert verify(out / "store").damage == []
    run(wanted, out)
    assert_same_run(pending, out)


@pytest.mark.slow
def test_filters_and_choices_of_rounds_on_a_plateau_are_the_same_after_a_stop(wanted: Recipe, tmp_path: Path) -> None:
    strict = replace(
        wanted,
        strategy="deliberate-practice",
        training=replace(wanted.training, epochs=7, ema_decay=0.9),
        generation=replace(wanted.generation, until=0.9),
        filters=Filters(duplicates=True, duplicates_distance=0.3, consistency="top-k", top_k=2),
        selection=Selection(samples_per_request=2, levels=1),
    )
    whole = run(strict, tmp_path / "whole")
    for _ in range(4):
        with pytest.raises(_Stop):
            run(strict, tmp_path / "stopped", callbacks=Callbacks(on_epoch=stop))
    assert without_times(run(strict, tmp_path / "stopped")) == without_times(whole)
    lines = [read_lines(tmp_path / name / "store" / "metadata.jsonl") for name in ("whole", "stopped")]
    assert without_times(lines[0]) == without_times(lines[1])
    rates = whole["filters"]
    assert rates is not None
    assert rates["generated"] > rates["kept"] > 0
