"""The object that any loop uses: what it goes on with, what it refuses, and that one process generates for all."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from actgen.classifiers.mining import Mining
from actgen.core import files
from actgen.core.errors import UserError
from actgen.data.store.store import Store
from actgen.experiment.config import Recipe, to_toml
from actgen.experiment.reproduce import regenerate
from actgen.experiment.run import run
from actgen.integrations.active import ActiveGeneration
from actgen.training.callbacks import Callbacks
from tests.conftest import read_lines, tree, without_times
from tests.integrations.conftest import IMAGES, Trained, assert_same_images
from tests.support.stopped_runs import Stopped, stop_within_the_second_round


def opened(trained: Trained, out: Path, recipe: Recipe | None = None) -> ActiveGeneration:
    return ActiveGeneration.from_recipe(recipe or trained.recipe, out, trained.classifier())


def advance(active: ActiveGeneration, trained: Trained, first: int, last: int) -> None:
    for epoch in range(first, last):
        active.begin(epoch)
        active.classifier.load_state_dict(trained.weights[epoch])
        active.after_epoch(epoch)


def fine_grained(trained: Trained) -> Trained:
    """Two images a batch, so that a round can be stopped between two."""
    return replace(trained, recipe=replace(trained.recipe, sampling=replace(trained.recipe.sampling, batch_size=2)))


def test_an_epoch_after_a_stop_trains_on_what_it_had(trained: Trained, tmp_path: Path) -> None:
    with opened(trained, tmp_path) as active:
        advance(active, trained, 0, 1)
        state, before = active.state_dict(), [active.dataset[place][0] for place in range(40)]
        advance(active, trained, 1, 3)
        files = tree(tmp_path / "store")
    with opened(trained, tmp_path) as active:
        assert (active.epoch, active.dataset.now) == (3, (3, IMAGES))
        active.load_state_dict(state)
        assert active.dataset.now == (1, IMAGES // 2)
        assert all(torch.equal(active.dataset[place][0], pixels) for place, pixels in enumerate(before))
        advance(active, trained, 1, 4)  # rounds that were done are not done again
        assert tree(tmp_path / "store") == files
    assert_same_images(trained.out, tmp_path)


def test_a_loop_that_saved_its_epoch_before_the_round_makes_up_for_it(trained: Trained, tmp_path: Path) -> None:
    with opened(trained, tmp_path) as active:
        advance(active, trained, 0, 1)
        active.classifier.load_state_dict(trained.weights[1])
    with opened(trained, tmp_path) as active:  # no after_epoch(1): the loop was killed, and goes on with epoch 2
        active.classifier.load_state_dict(trained.weights[1])
        active.begin(2)
        assert active.dataset.now == (2, IMAGES)
    assert_same_images(trained.out, tmp_path)


def two_rounds(some: Trained, out: Path, weights: int) -> None:
    """Do a round, and another one with the weights of this epoch."""
    with opened(some, out) as active:
        advance(active, some, 0, 1)
        active.classifier.load_state_dict(some.weights[weights])
        active.after_epoch(1)


def stopped_in_the_second(some: Trained, out: Path) -> None:
    """Do a round, and begin another one."""
    with opened(some, out) as active:
        advance(active, some, 0, 1)
        active.classifier.load_state_dict(some.weights[1])
        with pytest.raises(Stopped), stop_within_the_second_round():
            active.after_epoch(1)
        with pytest.raises(UserError, match="let go of"):
            active.after_epoch(1)


@pytest.mark.parametrize("weights", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_stopped_round_goes_on_if_the_loop_comes_back_with_its_weights_and_is_done_anew_if_not(
    trained: Trained, tmp_path: Path, weights: int
) -> None:
    some = fine_grained(trained)
    two_rounds(some, tmp_path / "whole", weights)
    stopped_in_the_second(some, tmp_path / "stopped")
    with opened(some, tmp_path / "stopped") as active:
        active.begin(1)
        active.classifier.load_state_dict(some.weights[weights])
        active.after_epoch(1)
    assert_same_images(tmp_path / "whole", tmp_path / "stopped")


def test_the_budget_by_class_knows_nothing_of_weights_that_a_stopped_round_was_begun_with(
    trained: Trained, tmp_path: Path
) -> None:
    some = fine_grained(trained)
    some = replace(some, recipe=replace(some.recipe, generation=replace(some.recipe.generation, shift_budget=True)))
    two_rounds(some, tmp_path / "whole", 2)
    stopped_in_the_second(some, tmp_path / "stopped")
    with opened(some, tmp_path / "stopped") as active:
        active.classifier.load_state_dict(some.weights[2])
        active.after_epoch(1)
    states = [files.load(tmp_path / name / "checkpoints" / "0000002-0-ready.pt") for name in ("whole", "stopped")]
    whole, stopped = [state["parts"]["class_budgets"] for state in states if state is not None]
    assert len(whole["history"]) == 1
    assert stopped == whole
    assert_same_images(tmp_path / "whole", tmp_path / "stopped")


def test_strategies_that_draw_before_the_training_do(trained: Trained, tmp_path: Path) -> None:
    early = replace(trained.recipe, strategy="class-conditional")
    run(early, tmp_path / "train", page=False)
    with opened(trained, tmp_path / "loop", early) as active:
        assert active.dataset.now == (0, 0)
        with pytest.raises(UserError, match=r"call begin\(0\) before"):
            active.after_epoch(0)
    with opened(trained, tmp_path / "loop", early) as active:
        active.begin(0)
        assert active.dataset.now == (0, IMAGES)
        active.after_epoch(0)
        assert active.dataset.now == (1, IMAGES)
    lines = [without_times(read_lines(tmp_path / name / "store/metadata.jsonl")) for name in ("train", "loop")]
    assert lines[0] == lines[1]


def test_mining_by_cross_fitting_is_that_of_actgen_train(trained: Trained, tmp_path: Path) -> None:
    crossed = replace(trained.recipe, mining=Mining(pool="cross-fit", folds=2, fold_epochs=1))
    weights = []
    out = tmp_path / "train"

    def keep(stats: object) -> None:
        state = files.load(sorted((out / "checkpoints").glob("*-0-ready.pt"))[-1])
        assert state is not None
        weights.append(state["parts"]["model"])

    run(crossed, out, callbacks=Callbacks(on_epoch=keep), page=False)
    with opened(trained, tmp_path / "loop", crossed) as active:
        advance(active, replace(trained, weights=weights), 0, 4)
    assert_same_images(out, tmp_path / "loop")


def test_a_guided_image_can_be_drawn_again(trained: Trained, tmp_path: Path) -> None:
    with opened(trained, tmp_path / "loop") as active:
        advance(active, trained, 0, 2)
    key = next(row["key"] for row in read_lines(tmp_path / "loop/store/metadata.jsonl") if "adversarial" in row["guides"])
    assert [one.differs for one in regenerate(tmp_path / "loop/store", [key], tmp_path / "again")] == [(0, 0)]


# what is refused


def test_a_folder_has_one_owner_at_a_time(trained: Trained, tmp_path: Path) -> None:
    with opened(trained, tmp_path):
        with pytest.raises(UserError, match="is in use by process"):
            opened(trained, tmp_path)
    opened(trained, tmp_path).close()


def test_a_gap_between_the_epochs_is_refused(trained: Trained, tmp_path: Path) -> None:
    with opened(trained, tmp_path / "a") as active, pytest.raises(UserError, match="knows of 0 epochs, but epoch number 2"):
        active.begin(2)
    with opened(trained, tmp_path / "b") as active, pytest.raises(UserError, match="call after_epoch for every epoch"):
        active.after_epoch(1)


def test_more_epochs_than_the_recipe_has_are_refused(trained: Trained, tmp_path: Path) -> None:
    with opened(trained, tmp_path) as active:
        advance(active, trained, 0, 4)
        with pytest.raises(UserError, match="the recipe has 4 epochs, the loop more"):
            active.after_epoch(4)


def test_a_state_of_another_folder_is_refused(trained: Trained, tmp_path: Path) -> None:
    with opened(trained, tmp_path / "one") as active:
        advance(active, trained, 0, 1)
        state = active.state_dict()
    with opened(trained, tmp_path / "other") as active, pytest.raises(UserError, match="does not hold the images that"):
        active.load_state_dict(state)


def test_the_folder_of_another_recipe_or_loop_is_refused(trained: Trained, tmp_path: Path) -> None:
    before = tree(trained.out)
    with pytest.raises(UserError, match="the loop changed since"):
        opened(trained, trained.out)
    assert {name for name in tree(trained.out) if name != "run.lock"} == set(before)
    opened(trained, tmp_path).close()
    with pytest.raises(UserError, match="holds a run with another recipe"):
        opened(trained, tmp_path, replace(trained.recipe, seed=8))
    with opened(trained, tmp_path) as active:
        advance(active, trained, 0, 1)
    with pytest.raises(UserError, match="the loop changed since"):
        run(trained.recipe, tmp_path)


# several processes


def test_a_process_without_a_group_is_told(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    active = opened(trained, tmp_path / "out")  # as under Lightning, which makes the group later
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="no process group"):
        active.begin(0)


TWO = """
import sys, torch
from torch import distributed
from actgen.integrations.active import ActiveGeneration
from actgen.experiment.build import open_classifier, open_data
from actgen.experiment.config import build_recipe
from pathlib import Path
rank, port, recipe, out, weights = int(sys.argv[1]), *sys.argv[2:]
recipe = build_recipe(Path(recipe))
distributed.init_process_group("gloo", init_method="tcp://127.0.0.1:" + port, rank=rank, world_size=2)
classifier = open_classifier(recipe, open_data(recipe).train)
active = ActiveGeneration.from_recipe(recipe, out, classifier)
for epoch, state in enumerate(torch.load(weights, weights_only=True)):
    active.begin(epoch)
    classifier.load_state_dict(state)
    active.after_epoch(epoch)
    pixels = torch.stack([active.dataset[place][0] for place in range(len(active.dataset))])
    print("seen", epoch, *active.dataset.now, int(pixels.long().sum()))
print("diffusers", "diffusers" in sys.modules)
"""


@pytest.mark.slow
def test_the_first_process_draws_and_the_others_see_it(trained: Trained, tmp_path: Path) -> None:
    torch.save(trained.weights, tmp_path / "weights.pt")
    (tmp_path / "recipe.toml").write_text(to_toml(trained.recipe), encoding="utf-8")
    arguments = ["29517", tmp_path / "recipe.toml", tmp_path / "out", tmp_path / "weights.pt"]
    both = [
        subprocess.Popen([sys.executable, "-c", TWO, str(rank), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    told = [one.communicate(timeout=250)[0].splitlines() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    predictions = [[line for line in lines if line.startswith("seen")] for lines in told]
    assert predictions[0] == predictions[1]
    assert [line.split()[1:4] for line in predictions[0]][:2] == [["0", "1", str(IMAGES // 2)], ["1", "2", str(IMAGES)]]
    assert len(Store(tmp_path / "out" / "store")) == IMAGES
    assert_same_images(trained.out, tmp_path / "out")
