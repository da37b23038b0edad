"""Results as a bench writes them, made up: three arms that differ in nothing but what they generate."""

from __future__ import annotations

from typing import cast

from actgen.studies.bench.rows import BenchRow

GAINS = {"none": (0.0, 0.0, 0.0), "text-only": (0.3, -0.1, 0.4), "actgen": (0.9, 1.1, 0.7)}
BASE = (87.0, 86.5, 87.4)


def make_row(arm: str, seed: int, budget: float = 0.3, **changes: object) -> BenchRow:
    budget = 0.0 if arm == "none" else budget
    images = round(2000 * budget)
    accuracy = round(BASE[seed] + GAINS.get(arm, GAINS["actgen"])[seed], 2)
    row = {
        "recipe": "mini",
        "arm": arm,
        "seed": seed,
        "budget": budget,
        "test_accuracy": accuracy,
        "synthetic_images": images,
        "optimizer_steps": 960,
        "train_seconds": 40.0 + seed,
        "generation_seconds": 0.05 * images,
        "real_images": 2000,
        "generator_hash": "g" if images else None,
        "initial_weights": f"w{seed}",
        "real_images_digest": "r",
        "test_digest": "t",
        "by_epoch": [60.0, None, 80.0, accuracy],
        "version": "0.1.0",
        "options": {"data": "fashion-mnist-mini", "training.epochs": 30, "training.label_smoothing": 0.1},
        "declared": ["strategy"],
    } | changes
    return cast(BenchRow, row)


def make_rows(seeds: int = 3, budgets: tuple[float, ...] = (0.3,)) -> list[BenchRow]:
    arms = [("none", 0.0), *((arm, budget) for arm in ("text-only", "actgen") for budget in budgets)]
    return [make_row(arm, seed, budget) for seed in range(seeds) for arm, budget in arms]
