"""A finished run -> one row; rows on disk, one line of JSON a run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NotRequired, TypedDict

from ...classifiers.correctness import Right, unpack_right
from ...core import files
from ...core.errors import UserError
from ...core.rows import RunSummary
from ...data.datasets.evaluation import KINDS, TEST
from ...experiment.config import flat
from .arms import ARMS
from .plan import Job


class BenchRow(TypedDict):
    """A run as in results.jsonl; accuracies in percent, times in seconds, `budget` as a fraction of the real training images.

    It has one of the two accuracies. What older versions did not write is not required.
    """

    recipe: str
    arm: str
    seed: int
    budget: float
    label_set: NotRequired[int | None]
    test_accuracy: NotRequired[float]
    validation_accuracy: NotRequired[float]
    synthetic_images: int
    optimizer_steps: int
    train_seconds: float
    generation_seconds: float
    peak_memory_gib: NotRequired[float]
    real_images: NotRequired[int]
    epochs: NotRequired[int]
    extra_images: NotRequired[int]
    teacher_seconds: NotRequired[float]
    waited_seconds: NotRequired[float]
    seconds: NotRequired[dict[str, float]]
    generator_hash: NotRequired[str | None]
    judge_hashes: NotRequired[dict[str, str]]
    initial_weights: NotRequired[str]
    real_images_digest: NotRequired[str]
    test_digest: NotRequired[str | None]
    per_class: NotRequired[dict[str, float] | None]
    proxy_steps: NotRequired[int]
    commit: NotRequired[str]
    recipe_sha256: NotRequired[str]
    right: NotRequired[str | None]
    by_epoch: NotRequired[list[float | None]]
    settings: NotRequired[dict[str, object]]
    options: NotRequired[dict[str, object]]
    declared: NotRequired[list[str]]
    version: NotRequired[str]
    device: NotRequired[str]


Row = BenchRow

RESULT, RESULTS = "result.json", "results.jsonl"
NEEDED = ("recipe", "arm", "seed", "budget", "synthetic_images", "optimizer_steps", "train_seconds", "generation_seconds")
_MEASURED = (
    "synthetic_images",
    "optimizer_steps",
    "train_seconds",
    "generation_seconds",
    "peak_memory_gib",
    "real_images",
    "epochs",
    "extra_images",
    "teacher_seconds",
    "generator_hash",
    "judge_hashes",
    "initial_weights",
    "real_images_digest",
    "test_digest",
    "per_class",
    "proxy_steps",
    "commit",
    "recipe_sha256",
    "right",
)
SHARED = ("data", "generator", "model.", "training.", "evaluation.")
"""Settings, or how their keys begin, that the arms of a comparison must share unless an arm declares to change them."""


def make_row(
    job: Job, summary: RunSummary, stats: Iterable[Mapping[str, object]], facts: Mapping[str, object]
) -> dict[str, object]:
    """Return the row of a run from its summary and epochs; `facts` say where and with what it ran."""
    measured: Mapping[str, object] = summary
    accuracy = f"{job.recipe.evaluation.on}_accuracy"
    return {
        "recipe": job.name,
        "arm": job.arm,
        "label_set": job.label_set,
        "seed": job.seed,
        "budget": job.budget,
        accuracy: measured[accuracy],
        **{key: measured[key] for key in _MEASURED},
        "waited_seconds": summary.get("waited_seconds", 0.0),
        "seconds": phases(summary),
        "by_epoch": [row[accuracy] for row in stats],
        **facts,
        "settings": flat(job.recipe),
        "declared": list(job.declared),
    }


def phases(summary: RunSummary) -> dict[str, float]:
    """Return the seconds of a run by phase. What a proxy model took is in a summary's `generation_seconds`, and here a
    proxy's."""
    generation = summary["generation_seconds"] - summary["scout_seconds"]
    return {
        "training": summary["train_seconds"],
        "proxy": summary["proxy_seconds"],
        "generation": round(max(0.0, generation), 2),
        "evaluation": summary["evaluation_seconds"],
    }


def options(row: Row) -> Mapping[str, object]:
    """Return the settings that the arms of a comparison must share, by dotted key, unless an arm declares to change them."""
    if "settings" not in row:  # as older versions wrote them
        return row.get("options", {})
    return {key: value for key, value in row["settings"].items() if key.startswith(SHARED)}


def right_of(row: Row) -> Right | None:
    """Return which of the images that accuracy was measured on were recognised, [N]; None in rows of older versions."""
    text = row.get("right")
    return None if text is None else unpack_right(text)


def kind(row: Row) -> str:
    """Return what a row's accuracy was measured on: "test" or "validation"."""
    return next(name for name in KINDS if f"{name}_accuracy" in row)


def accuracy(row: Row) -> float:
    """Return a row's accuracy in percent."""
    return float(row["test_accuracy"] if kind(row) == TEST else row["validation_accuracy"])


def order(row: Row) -> tuple[object, ...]:
    """Return the place of a row in results.jsonl."""
    names = list(ARMS)
    arm = row["arm"]
    return row["recipe"], names.index(arm) if arm in names else len(names), arm, row["budget"], *unit(row)


def unit(row: Row) -> tuple[int, int]:
    """Return what runs of different arms are paired by: label set (-1 where the recipe generates no labels) and seed."""
    label_set = row.get("label_set")
    return -1 if label_set is None else label_set, row["seed"]


def of_label_sets(rows: Iterable[Row]) -> bool:
    """Whether the runs have generated their labelled images, so that label sets and not seeds are what repeats."""
    return any(row.get("label_set") is not None for row in rows)


def gather(out: Path) -> list[Row]:
    """Return the rows of all finished runs in a bench's folder."""
    paths = (out / "runs").glob(f"*/*/*/*/{RESULT}")
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON lines in their order, whole or not at all; a file that says the same already is left as it is."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in sorted(rows, key=order))
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
        files.write_text(path, text)


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a results.jsonl; `UserError` if it is none."""
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"{path}: {error}. Give a {RESULTS} that `actgen bench` wrote.") from error
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or any(key not in row for key in NEEDED) or not any(f"{k}_accuracy" in row for k in KINDS):
            raise UserError(f"{path}, line {number}: not a run; it needs {', '.join(NEEDED)} and test_accuracy.")
    if not rows:
        raise UserError(f"{path} is empty. Give a {RESULTS} that `actgen bench` wrote.")
    return rows
