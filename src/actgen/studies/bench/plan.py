"""What to run: recipes x arms x budgets x seeds -> jobs, each a complete recipe with a folder of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...core.assets import find_recipe
from ...core.errors import UserError
from ...experiment.config import Recipe, build_recipe, read_written, to_toml
from .arms import BASE, Settings
from .numbered import settled

QUIET = ("generation.replay=false", "generation.previews=0")
"""What a bench does not keep unless --set says so: what the guides looked at, tens of megabytes a run."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: `recipe` is complete, `name` that of the recipe that it came from, `declared` the keys that the arm changes.

    `budget` is 0 for an arm that generates nothing. `label_set` is that of the recipe; None where the recipe generates no
    labels.
    """

    name: str
    arm: str
    budget: float
    seed: int
    recipe: Recipe
    declared: tuple[str, ...]
    label_set: int | None = None

    def folder(self, out: Path) -> Path:
        """Return where the run lives."""
        own = str(self.seed) if self.label_set is None else f"set-{self.label_set}-seed-{self.seed}"
        return out / "runs" / self.name / self.arm / f"{self.budget:g}" / own

    @property
    def group(self) -> str:
        """What it shares with the runs of other seeds and label sets: recipe, arm and budget."""
        return f"{self.name} {self.arm}" + (f" {self.budget:g}" if self.budget else "")

    def __str__(self) -> str:
        return f"{self.group} {unit_words(self.label_set, self.seed)}"

    def to_line(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps(asdict(self) | {"recipe": to_toml(self.recipe)})

    @staticmethod
    def from_line(line: str) -> Job:
        """The inverse of `to_line`."""
        facts = json.loads(line)
        recipe = read_written(facts["recipe"])
        return Job(**facts | {"recipe": recipe, "declared": tuple(facts["declared"])})


def unit_words(label_set: int | None, seed: int) -> str:
    """Return what tells the runs of an arm apart: "seed 3", "label set 3", or "label set 3 seed 1" where these differ."""
    own = f"label set {label_set}"
    return f"seed {seed}" if label_set is None else own if seed == label_set else f"{own} seed {seed}"


Unit = tuple[int | None, int]
"""A label set, None for that of the recipe, and a seed."""


def units(label_sets: Sequence[int], seeds: Sequence[int]) -> list[Unit]:
    """Return what every arm is run on: each seed; or each label set, its number being its seed unless `seeds` are given."""
    if not label_sets:
        return [(None, seed) for seed in seeds]
    return [(one, seed) for one in label_sets for seed in seeds or (one,)]


def plan_jobs(
    recipes: Mapping[str, Path],
    arms: Mapping[str, Mapping[str, Settings]],
    seeds: Sequence[int],
    budgets: Sequence[float] = (),
    settings: Sequence[str] = (),
    evaluate: str = "test",
    label_sets: Sequence[int] = (),
) -> list[Job]:
    """Return all jobs, the first unit of everything first, so that an unfinished bench can already be compared.

    `arms` holds the arms of every recipe by its name; `budgets` () takes the recipe's own; `settings` hold for all arms. For
    `seeds` and `label_sets` see `units`.
    """
    jobs: dict[str, Job] = {}
    for unit in units(label_sets, seeds):
        for name, path in recipes.items():
            for arm, changes in arms[name].items():
                for budget in budgets or (None,):
                    job = _job(name, path, arm, changes, unit, budget, settings, evaluate)
                    jobs.setdefault(str(job), job)
    return list(jobs.values())


def _job(
    name: str,
    path: Path,
    arm: str,
    changes: Settings,
    unit: Unit,
    budget: float | None,
    settings: Sequence[str],
    evaluate: str,
) -> Job:
    label_set, seed = unit
    flags: dict[str, object] = {
        **changes,
        "seed": seed,
        "label_set": label_set,
        "generation.budget": budget,
        "evaluation.on": evaluate,
    }
    flags = settled(flags, build_recipe(path, settings))
    recipe = build_recipe(path, [*QUIET, *settings], flags)
    if recipe.strategy == BASE:
        recipe = build_recipe(path, [*QUIET, *settings], flags | {"generation.budget": 0.0})
    if label_set is not None and not recipe.labels_per_class:
        raise UserError(
            f"--label-sets: the recipe {name} does not generate its labels. Say how many a class has, for example with "
            "--set labels_per_class=20, or give --seeds."
        )
    return Job(
        name=name,
        arm=arm,
        budget=recipe.generation.budget,
        seed=seed,
        recipe=recipe,
        declared=tuple(sorted(changes)),
        label_set=recipe.label_set if recipe.labels_per_class else None,
    )


def find_recipes(given: Sequence[str]) -> dict[str, Path]:
    """Return name -> file for paths of TOML files and names of shipped recipes."""
    found: dict[str, Path] = {}
    for text in given:
        path = find_recipe(Path(text))
        if path.stem in found:
            raise UserError(f"two recipes are called {path.stem!r}. Rename one: results are told apart by this name.")
        found[path.stem] = path
    return found


def parse_seeds(text: str, option: str = "--seeds") -> list[int]:
    """Read "0:5" (0 to 4), "7", or "0,3,8:10"; `option` is what it was given for."""
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, colon, end = part.partition(":")
            seeds += range(int(first), int(end)) if colon else [int(first)]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0:
        raise UserError(f"{option} {text!r}: give whole numbers from 0 as 0:5 (0 to 4) or 0,3,7.")
    return list(dict.fromkeys(seeds))


def parse_budgets(text: str) -> list[float]:
    """Read "0.1,0.3"."""
    try:
        budgets = [float(part) for part in text.split(",")]
    except ValueError:
        budgets = []
    if not budgets or not all(0 < budget <= 100 for budget in budgets):
        raise UserError(
            f"--budgets {text!r}: give numbers above 0, up to 100, as 0.1,0.3: generated images as a fraction of the real ones."
        )
    return list(dict.fromkeys(budgets))
