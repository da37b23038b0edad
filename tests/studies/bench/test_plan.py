"""From what is written on the command line to jobs: each complete, each in its own folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from actgen.core.errors import UserError
from actgen.experiment.config import build_recipe, flat, to_toml
from actgen.studies.bench.arms import ARMS, CONTROLS, control_of, find_arms, parse_arm, read_arms
from actgen.studies.bench.plan import Job, find_recipes, parse_budgets, parse_seeds, plan_jobs

ALL = ("none", "text-only", "actgen")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "mini.toml"
    path.write_text("[training]\nepochs = 4\n[generation]\nbudget = 0.2\n", encoding="utf-8")
    return path


def plan(recipe: Path, *arms: str, **more: object) -> list[Job]:
    options: dict[str, object] = {"seeds": [0, 1], "budgets": [0.1, 0.3], **more}
    return plan_jobs({"mini": recipe}, {"mini": find_arms(arms, {})}, **options)  # type: ignore[arg-type]


def test_arms_that_draw_nothing_run_once_a_seed(recipe: Path) -> None:
    jobs = plan(recipe, *ALL)
    assert [(job.seed, job.arm, job.budget) for job in jobs if job.seed == 0] == [
        (0, "none", 0.0),
        (0, "text-only", 0.1),
        (0, "text-only", 0.3),
        (0, "actgen", 0.1),
        (0, "actgen", 0.3),
    ]
    assert [job.seed for job in jobs] == [0] * 5 + [1] * 5
    assert len({job.folder(Path("out")) for job in jobs}) == len(jobs)
    assert jobs[2].folder(Path("out")) == Path("out/runs/mini/text-only/0.3/0")


def test_without_budgets_it_is_that_of_the_recipe(recipe: Path) -> None:
    assert {job.budget for job in plan(recipe, "actgen", budgets=())} == {0.2}


def test_a_job_is_the_recipe_changed_by_its_arm(recipe: Path) -> None:
    (job,) = plan(recipe, "actgen", seeds=[3], budgets=[0.3], settings=["training.batch_size=32"], evaluate="validation")
    plain = flat(build_recipe(recipe))
    changed = {key: value for key, value in flat(job.recipe).items() if value != plain[key]}
    assert changed == {
        "seed": 3,
        "training.batch_size": 32,
        "generation.budget": 0.3,
        "evaluation.on": "validation",
        "generation.replay": False,
        "generation.previews": 0,
    }
    assert job.declared == ("strategy",)


def test_what_a_bench_does_not_keep_can_be_kept(recipe: Path) -> None:
    (job,) = plan(recipe, "actgen", seeds=[3], budgets=[0.3], settings=["generation.replay=true"])
    assert job.recipe.generation.replay


def test_a_job_survives_being_a_line(recipe: Path) -> None:
    for job in plan(recipe, *ALL):
        assert "\n" not in job.to_line()
        assert Job.from_line(job.to_line()) == job


@pytest.mark.parametrize("arm", list(ARMS))
def test_every_arm_of_the_table_makes_a_recipe(recipe: Path, arm: str) -> None:
    (job,) = plan(recipe, arm, seeds=[0], budgets=[0.3])
    assert job.recipe.strategy == ARMS[arm]["strategy"]
    assert to_toml(job.recipe) != to_toml(replace(job.recipe, seed=1))
    assert (job.budget == 0) == (arm == "none" or arm in CONTROLS)


def test_arms_of_ones_own(recipe: Path) -> None:
    recipe.with_name("mini.arms.toml").write_text(
        '[arms.far]\nstrategy = "actgen"\n[arms.far.sampling.image]\nstrength = 0.1\n[arms.plain]\n'
        '"training.augment.flip" = false\n',
        encoding="utf-8",
    )
    own = {**read_arms(recipe), **dict([parse_arm("near:strategy=actgen, sampling.image.strength=0.9")])}
    assert own == {
        "far": {"strategy": "actgen", "sampling.image.strength": 0.1},
        "plain": {"training.augment.flip": False},
        "near": {"strategy": "actgen", "sampling.image.strength": 0.9},
    }
    jobs = plan_jobs({"mini": recipe}, {"mini": find_arms(["far", "near"], own)}, [0])
    assert [job.recipe.sampling.image.strength for job in jobs] == [0.1, 0.9]
    assert jobs[0].declared == ("sampling.image.strength", "strategy")


def test_a_strategy_on_top_of_a_control(recipe: Path) -> None:
    (job,) = plan(recipe, "attentive+contrastive+mixup-cutmix", seeds=[0], budgets=[0.3])
    assert (job.recipe.strategy, job.budget, job.recipe.training.mixing.cutmix) == ("attentive+contrastive", 0.3, 1.0)
    assert set(job.declared) == {"strategy", *CONTROLS["mixup-cutmix"]}
    assert control_of(job.arm) == "mixup-cutmix"
    assert not any(map(control_of, ("attentive+contrastive", "none+focal", "focal+focal", "focal", "actgen+x")))
    with pytest.raises(UserError, match=r"'none\+focal' is unknown; .*such as actgen\+randaugment"):
        find_arms(["none+focal"], {})


def test_arms_with_a_number_in_their_name(recipe: Path) -> None:
    (more,) = plan(recipe, "more-real:30", seeds=[5])
    assert (more.arm, more.recipe.extra.real, more.recipe.strategy, more.budget) == ("more-real-30", 30, "none", 0)
    assert more.declared == ("extra.real", "strategy")
    (both,) = plan(recipe, "more-real-30+mixup-cutmix", seeds=[5])
    assert (both.recipe.extra.real, both.recipe.training.mixing.cutmix) == (30, 1.0)
    longer = plan(recipe, "none-long-2.5", "none-long-1.1+focal", seeds=[5])
    assert [job.recipe.training.epochs for job in longer] == [10, 4]  # of 4
    assert "training.epochs" in longer[0].declared


@pytest.mark.parametrize("arm", ["more-real-0", "more-real:x", "more-real-", "none-long-1", "none-long-101", "none-long:0.5"])
def test_numbers_of_arms_that_cannot_be(arm: str) -> None:
    with pytest.raises(UserError, match=r"--arms: .*(from 1|above 1)"):
        find_arms([arm], {})


def test_an_arm_of_ones_own_on_top_of_a_control() -> None:
    own = {"far": {"strategy": "actgen", "sampling.image.strength": 0.1}}
    assert find_arms(["far+focal"], own) == {"far+focal": {**CONTROLS["focal"], **own["far"]}}
    assert find_arms(["many+focal"], {"many": {"selection.samples_per_request": 4}}) == {
        "many+focal": {"training.loss.name": "focal", "selection.samples_per_request": 4}  # with the recipe's strategy
    }
    with pytest.raises(UserError, match=r"has training\.loss\.name twice, of soft and of focal"):
        find_arms(["soft+focal"], {"soft": {"training.loss.name": "cross-entropy"}})
    assert control_of("far+focal") == "focal"
    with pytest.raises(UserError, match=r"'near\+focal' is unknown"):
        find_arms(["near+focal"], own)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("far", "NAME:a.b=c"),
        ("far:", "NAME:a.b=c"),
        ("far:strategy", "NAME:a.b=c"),
        ("../x:strategy=none", "be a folder"),
        ("x:seed=3", "sets seed"),
        ("x:label_set=3", "sets label_set"),
        ("x:generation.budget=1", "--budgets"),
        ("x:evaluation.on=test", "--evaluate"),
    ],
)
def test_arms_that_cannot_be(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_arm(text)


@pytest.mark.parametrize("text", ["[arms", "strategy = 1", "arms = 3", "[arms]\nx = 3"])
def test_files_of_arms_that_are_none(recipe: Path, text: str) -> None:
    recipe.with_name("mini.arms.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"mini\.arms\.toml"):
        read_arms(recipe)


def test_an_unknown_arm_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UserError, match=r"'best' is unknown; allowed: none, .*actgen.*focal"):
        find_arms(["none", "best"], {})


@pytest.mark.parametrize(("text", "seeds"), [("0:5", [0, 1, 2, 3, 4]), ("7", [7]), ("0,3,8:10", [0, 3, 8, 9]), ("1,1", [1])])
def test_seeds(text: str, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3:3", "-1", "0:2:4", "1.5"])
def test_seeds_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--seeds"):
        parse_seeds(text)


def test_label_sets_are_their_own_seeds_unless_seeds_are_given(recipe: Path) -> None:
    few = {"settings": ["labels_per_class=5"], "budgets": [0.3], "label_sets": [0, 3]}
    jobs = plan(recipe, "none", "actgen", seeds=[], **few)
    assert [(job.label_set, job.seed, job.arm) for job in jobs] == [(n, n, arm) for n in (0, 3) for arm in ("none", "actgen")]
    assert all((job.recipe.label_set, job.recipe.seed) == (job.label_set, job.seed) for job in jobs)
    assert str(jobs[-1]) == "mini actgen 0.3 label set 3"
    both = plan(recipe, "none", seeds=[0, 1], **few)
    assert [(job.label_set, job.seed) for job in both] == [(0, 0), (0, 1), (3, 0), (3, 1)]
    assert len({job.folder(Path("out")) for job in (*jobs, *both)}) == 7  # both have `none` on label set 0 with seed 0
    assert all(Job.from_line(job.to_line()) == job for job in both)


def test_label_sets_of_a_recipe_that_draws_none_are_refused(recipe: Path) -> None:
    with pytest.raises(UserError, match=r"--label-sets: the recipe mini does not generate its labels\. .*labels_per_class=20"):
        plan(recipe, "none", seeds=[], label_sets=[0])


def test_budgets() -> None:
    assert parse_budgets("0.1,0.3,1.0") == [0.1, 0.3, 1.0]
    for text in ("", "0", "-1", "nan", "x", "101"):
        with pytest.raises(UserError, match="--budgets"):
            parse_budgets(text)


def test_recipes_are_files_or_shipped_and_told_apart(recipe: Path, tmp_path: Path) -> None:
    assert find_recipes([str(recipe)]) == {"mini": recipe}
    assert find_recipes(["fashion-mnist-2000"]).keys() == {"fashion-mnist-2000"}
    with pytest.raises(UserError, match="no shipped recipe of that name"):
        find_recipes(["nowhere"])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mini.toml").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="two recipes are called 'mini'"):
        find_recipes([str(recipe), str(tmp_path / "other" / "mini.toml")])
