"""What is declared before the test: recipes, arms, budgets, label sets, the few primary contrasts, and the open test images.

    recipes = ["fashion-mnist-few-50"]
    label_sets = "0:16"
    alpha = 0.05                        # over all primary contrasts together, by Holm
    settings = ["training.epochs=60"]   # for all arms; may be left out

    [test_images]
    seed = 7                            # cuts the test images in halves
    open = "first half"                 # or "second half"; the other one is held back for the final look

    [[runs]]                            # as many as needed; without recipes of all
    recipes = ["fashion-mnist-few-50"]
    arms = ["none", "text-only", "selective"]
    budgets = [0.3, 1]                  # without, that of the recipe

    [[primary]]
    recipe = "fashion-mnist-few-50"
    arm = "selective"
    budget = 1
    against = "none"                    # with against_budget, if it generates

    [arms.NAME]                         # arms of one's own, as in RECIPE.arms.toml

A copy lies in the bench's folder as protocol.toml, beside the results that it governs.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...classifiers.correctness import Right, pack_right
from ...core.errors import UserError, refuse_outside, refuse_unknown
from ...core.rng import permutation
from ...core.text import brief, read_text
from ...experiment.config import flat
from .arms import BASE, Settings, find_arms, read_arms
from .paired import Cell
from .plan import Job, find_recipes, parse_seeds, plan_jobs
from .rows import Row, kind, right_of

PROTOCOL = "protocol.toml"
HALVES = ("first half", "second half")


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """A question that is asked of the test images: how much more does `arm` reach than `against`?"""

    recipe: str
    arm: str
    budget: float = 0.0
    against: str = BASE
    against_budget: float = 0.0

    @property
    def cells(self) -> tuple[Cell, Cell]:
        """What is compared with what."""
        return (self.recipe, self.arm, self.budget), (self.recipe, self.against, self.against_budget)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Arms at budgets, of all recipes or of some."""

    arms: tuple[str, ...]
    budgets: tuple[float, ...] = ()
    recipes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """A protocol as read; `text` is the file's own."""

    recipes: tuple[str, ...]
    label_sets: tuple[int, ...]
    runs: tuple[Runs, ...]
    primary: tuple[Contrast, ...]
    alpha: float
    split_seed: int
    open: str
    settings: tuple[str, ...] = ()
    arms: Mapping[str, Settings] = field(default_factory=dict)
    text: str = ""

    @property
    def sha256(self) -> str:
        """The hash of the file."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def jobs(self) -> list[Job]:
        """Return all runs, those of the first label set first; `UserError` for an unknown arm, recipe or primary contrast."""
        files, jobs = find_recipes(self.recipes), dict[str, Job]()
        for some in self.runs:
            chosen = {name: path for name, path in files.items() if not some.recipes or name in some.recipes}
            arms = {name: find_arms(some.arms, {**read_arms(path), **self.arms}) for name, path in chosen.items()}
            planned = plan_jobs(chosen, arms, (), some.budgets, self.settings, "test", self.label_sets)
            jobs |= {str(job): job for job in planned}
        known = {(job.name, job.arm, job.budget) for job in jobs.values()}
        for cell in (cell for contrast in self.primary for cell in contrast.cells):
            if cell not in known:
                raise UserError(
                    f"the primary contrasts name {' '.join(map(str, cell))}, which no [[runs]] of the protocol "
                    "makes. Add it there, or name one that is."
                )
        return sorted(jobs.values(), key=lambda job: self.label_sets.index(job.recipe.label_set))

    @property
    def named(self) -> set[Cell]:
        """What the primary contrasts name; all else is exploratory."""
        return {cell for contrast in self.primary for cell in contrast.cells}

    def shown_images(self, images: int, final: bool) -> Right:
        """Return which of N test images may be looked at, [N]: the open half, or in the final look the half held back."""
        order = permutation(images, self.split_seed, "test halves")
        first = self.open == HALVES[0]
        half = order[: images // 2] if first != final else order[images // 2 :]
        shown = np.zeros(images, dtype=np.bool_)
        shown[half] = True
        return shown

    def shown(self, row: Row, final: bool) -> Row:
        """Return a row with what it says of the shown images alone."""
        right = right_of(row)
        if right is None or kind(row) != "test":
            raise UserError(
                f"{row['recipe']} {row['arm']}: the row does not say which test images were right, so a half "
                f"cannot be held back. Only runs of this version can be beside a {PROTOCOL}."
            )
        seen = right[self.shown_images(len(right), final)]
        return {**row, "test_accuracy": 100 * float(seen.mean()), "right": pack_right(seen), "by_epoch": [], "per_class": {}}


def read_protocol(path: Path) -> Protocol:
    """Return the protocol in a file; `UserError` if it is none."""
    try:
        text = read_text(path)
        tree = tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"--protocol {path}: {error}. Give a TOML file as docs/bench.md describes.") from error
    try:
        return _protocol(tree, text)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise UserError(f"--protocol {path}: {what}. docs/bench.md shows a complete one.") from error


def _protocol(tree: Mapping[str, Any], text: str) -> Protocol:
    allowed = {"recipes", "label_sets", "runs", "primary", "alpha", "settings", "test_images", "arms"}
    for key in tree:
        refuse_unknown("key", key, allowed)
    images = tree["test_images"]
    refuse_unknown("test_images.open =", images["open"], HALVES)
    refuse_outside("alpha =", float(tree["alpha"]), 1e-6, 0.5)
    recipes = _texts(tree["recipes"], "recipes")
    primary = tuple(
        Contrast(**{**one, "budget": float(one.get("budget", 0)), "against_budget": float(one.get("against_budget", 0))})
        for one in tree["primary"]
    )
    runs = tuple(
        Runs(
            arms=_texts(one["arms"], "arms"),
            budgets=tuple(map(float, one.get("budgets", ()))),
            recipes=_texts(one.get("recipes", []), "recipes"),
        )
        for one in tree["runs"]
    )
    names = find_recipes(recipes)
    for name in (name for one in runs for name in one.recipes):
        refuse_unknown("runs.recipes =", name, names)
    return Protocol(
        recipes=recipes,
        label_sets=tuple(parse_seeds(str(tree["label_sets"]), "label_sets =")),
        runs=runs,
        primary=primary,
        alpha=float(tree["alpha"]),
        split_seed=int(images["seed"]),
        open=images["open"],
        settings=_texts(tree.get("settings", []), "settings"),
        text=text,
        arms={name: flat(table) for name, table in tree.get("arms", {}).items()},
    )


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(one, str) for one in value):
        raise UserError(f'{name} = {brief(value)}: write a list of texts, as ["one", "two"].')
    return tuple(value)
