"""What to run: recipes x arms x budgets x seeds -> jobs, each a complete recipe with a folder of its own."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core.assets import find_recipe
from ...core.errors import UserError
from ...core.options import fill
from ...experiment.config import Recipe, build_recipe, to_toml
from .arms import BASE, Settings

QUIET = ("generation.replay=false", "generation.previews=0")
"""What a bench does not keep unless --set says so: what the guides looked at, tens of megabytes a run."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: `recipe` is complete, `name` that of the recipe that it came from, `declared` the keys that the arm changes.

    `budget` is 0 for an arm that generates nothing.
    """

    name: str
    arm: str
    budget: float
    seed: int
    recipe: Recipe
    declared: tuple[str, ...]

    def folder(self, out: Path) -> Path:
        """Return where the run lives."""
        return out / "runs" / self.name / self.arm / f"{self.budget:g}" / str(self.seed)

    def __str__(self) -> str:
        budget = f" {self.budget:g}" if self.budget else ""
        return f"{self.name} {self.arm}{budget} seed {self.seed}"

    def to_line(self) -> str:
        """Return the job as one line of JSON."""
        return json.dumps(asdict(self) | {"recipe": to_toml(self.recipe)})

    @staticmethod
    def from_line(line: str) -> Job:
        """The inverse of `to_line`."""
        facts = json.loads(line)
        recipe = fill(Recipe(), tomllib.loads(facts["recipe"]))
        return Job(**facts | {"recipe": recipe, "declared": tuple(facts["declared"])})


def plan_jobs(
    recipes: Mapping[str, Path],
    arms: Mapping[str, Mapping[str, Settings]],
    seeds: Sequence[int],
    budgets: Sequence[float] = (),
    settings: Sequence[str] = (),
    evaluate: str = "test",
) -> list[Job]:
    """Return all jobs, the first seed of everything first, so that an unfinished bench can already be compared.

    `arms` holds the arms of every recipe by its name; `budgets` () takes the recipe's own; `settings` hold for all arms.
    """
    jobs: dict[str, Job] = {}
    for seed in seeds:
        for name, path in recipes.items():
            for arm, changes in arms[name].items():
                for budget in budgets or (None,):
                    job = _job(name, path, arm, changes, seed, budget, settings, evaluate)
                    jobs.setdefault(str(job), job)
    return list(jobs.values())


def _job(
    name: str,
    path: Path,
    arm: str,
    changes: Settings,
    seed: int,
    budget: float | None,
    settings: Sequence[str],
    evaluate: str,
) -> Job:
    flags: dict[str, Any] = {**changes, "seed": seed, "generation.budget": budget, "evaluation.on": evaluate}
    recipe = build_recipe(path, [*QUIET, *settings], flags)
    if recipe.strategy == BASE:
        recipe = build_recipe(path, [*QUIET, *settings], flags | {"generation.budget": 0.0})
    return Job(name=name, arm=arm, budget=recipe.generation.budget, seed=seed, recipe=recipe, declared=tuple(sorted(changes)))


def find_recipes(given: Sequence[str]) -> dict[str, Path]:
    """Return name -> file for paths of TOML files and names of shipped recipes."""
    found: dict[str, Path] = {}
    for text in given:
        path = find_recipe(Path(text))
        if path.stem in found:
            raise UserError(f"two recipes are called {path.stem!r}. Rename one: results are told apart by this name.")
        found[path.stem] = path
    return found


def parse_seeds(text: str) -> list[int]:
    """Read "0:5" (0 to 4), "7", or "0,3,8:10"."""
    seeds: list[int] = []
    try:
        for part in text.split(","):
            first, colon, end = part.partition(":")
            seeds += range(int(first), int(end)) if colon else [int(first)]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0:
        raise UserError(f"--seeds {text!r}: give whole numbers from 0 as 0:5 (0 to 4) or 0,3,7.")
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
