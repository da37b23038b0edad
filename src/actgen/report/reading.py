"""A folder on disk -> frozen records. Reading is tolerant: what is missing or broken is left out, and counted.

Two kinds of folder are known: a run (`stats.jsonl`, `summary.json`, `store/`, `previews/`) and a demo, whose
`summary.json` has "arms" and which holds one run folder per arm in `arms/`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..classifiers.correctness import Right, unpack_right
from ..core.errors import UserError
from ..data.datasets.evaluation import KINDS
from ..data.store.columns import current, existing
from .samples import SampleRow, Samples, class_of, index
from .values import Record, as_count, as_number, as_object, as_percents, as_text, read_object, read_objects, read_text

BASELINE = "baseline"
"""Folder in a run's folder: the same training on real images only (`actgen train --baseline`)."""
REAL_ONLY = "none"
"""The strategy that generates nothing: the arm that others are compared with."""


@dataclass(frozen=True, kw_only=True)
class ReadEpoch:
    """One line of `stats.jsonl`; accuracies in percent, None where not measured; seconds of this epoch.

    `accuracy` is of the test images, or of the validation images in a run that looks at these (`Summary.measured`).

    `mined_pool` names the images of `holdout_accuracy`; "" in lines of earlier versions, and where nothing was looked at.
    """

    epoch: int
    accuracy: float | None
    holdout_accuracy: float | None
    mined_pool: str
    per_class: Mapping[str, float]
    real_images: int
    synthetic_images: int
    optimizer_steps: int
    train_seconds: float
    generation_seconds: float


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The end of a run; accuracies in percent, times in seconds.

    `measured` names the images of `accuracy`: "test" or "validation". `right_N`: which of them were recognised, where the run
    has kept it.
    """

    facts: Mapping[str, str]
    measured: str
    accuracy: float | None
    right_N: Right | None
    per_class: Mapping[str, float]
    real_images: int | None
    synthetic_images: int | None
    optimizer_steps: int | None
    train_seconds: float
    generation_seconds: float
    filters: Record
    left_out_images: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunView:
    """All that a report shows of one run, and the folder that it lies in. `finished`: whether the run wrote its summary."""

    folder: Path
    finished: bool
    name: str
    recipe: str
    epochs: tuple[ReadEpoch, ...]
    summary: Summary
    samples: Samples
    rejected: Samples
    previews: Mapping[str, Path]
    unread: int


def read_run(folder: Path, name: str | None = None, result: Record | None = None, *, pictures: bool = True) -> RunView:
    """Read the run in `folder`; entries of `result` (a demo's arm) win over those of the run's own summary.

    Without `pictures` manifest and rejections are not read: a verdict needs neither.
    """
    own = current({**read_object(_own(folder, "summary.json")), **(result or {})})
    stats = read_objects(_own(folder, "stats.jsonl"))
    rows = {row.epoch: row for row in map(_epoch, filter(None, stats))}  # a resumed run may repeat an epoch: last wins
    epochs = tuple(rows[epoch] for epoch in sorted(rows))
    previews = {path.stem: path for path in sorted((folder / "previews").glob("*.png")) if _inside(path, folder)}
    samples = _samples(folder, previews) if pictures else index(Path(os.devnull), _nothing, bool)
    rejected = _rejected(folder) if pictures else samples
    return RunView(
        folder=folder,
        finished=(folder / "summary.json").exists() or result is not None,
        name=name or as_text(own.get("strategy")) or folder.resolve().name,
        recipe=read_text(_own(folder, "recipe.toml")),
        epochs=epochs,
        summary=_summary(own, epochs, next((kind for kind, value in map(_measured, stats) if value is not None), KINDS[0])),
        samples=samples,
        rejected=rejected,
        previews=previews,
        unread=sum(not record for record in stats) + samples.unread + rejected.unread,
    )


def read_arms(folder: Path, *, pictures: bool = True) -> tuple[RunView, ...]:
    """Read every arm of a demo, the real-only arm first; a run is a demo of one arm, or of two if it has its baseline.

    `pictures`: see `read_run`.
    """
    if not any((folder / known).exists() for known in ("summary.json", "stats.jsonl", "arms")):
        raise UserError(
            f"No run in {str(folder)!r}: it has neither summary.json nor stats.jsonl nor arms/. "
            "Give the folder that `actgen` wrote for a run or a demo."
        )
    summary = read_object(_own(folder, "summary.json"))
    shared = {fact: summary[fact] for fact in ("seed", "data", "generator") if fact in summary}
    named = as_object(summary.get("arms")) or {path.name: {} for path in sorted(folder.glob("arms/*/"))}
    named = {arm: named[arm] for arm in named if arm and _inside(folder / "arms" / arm, folder / "arms")}
    if not named:
        return _with_baseline(folder, pictures)
    order = sorted(named, key=lambda arm: arm != REAL_ONLY)
    return tuple(read_run(folder / "arms" / arm, arm, {**shared, **as_object(named[arm])}, pictures=pictures) for arm in order)


def _with_baseline(folder: Path, pictures: bool) -> tuple[RunView, ...]:
    """Read a run and, before it, the real-only run in its folder `baseline` if there is a finished one."""
    run, beside = read_run(folder, pictures=pictures), folder / BASELINE
    if run.name == REAL_ONLY or not _inside(beside, folder) or not (beside / "summary.json").is_file():
        return (run,)
    return read_run(beside, pictures=pictures), run


def real_only(arms: Sequence[RunView]) -> RunView | None:
    """Return the arm without generated images, if there is one."""
    return next((arm for arm in arms if arm.name == REAL_ONLY), None)


def lead(arms: Sequence[RunView]) -> RunView:
    """Return the arm that the report is about: actgen, or else the last one."""
    return next((arm for arm in arms if arm.name == "actgen"), arms[-1])


def _epoch(record: Record) -> ReadEpoch:
    return ReadEpoch(
        epoch=as_count(record.get("epoch")) or 0,
        accuracy=_measured(record)[1],
        holdout_accuracy=as_number(record.get("holdout_accuracy")),
        mined_pool="" if record.get("mined_pool") is None else as_text(record["mined_pool"]),
        per_class=as_percents(record.get("per_class")),
        real_images=as_count(record.get("real_images")) or 0,
        synthetic_images=as_count(record.get("synthetic_images")) or 0,
        optimizer_steps=as_count(record.get("optimizer_steps")) or 0,
        train_seconds=as_number(record.get("train_seconds")) or 0.0,
        generation_seconds=as_number(record.get("generation_seconds")) or 0.0,
    )


def _summary(record: Record, epochs: tuple[ReadEpoch, ...], kind: str) -> Summary:
    """Fill what `record` lacks from the epochs: a run that was interrupted has no summary yet."""
    seen = [row for row in epochs if row.accuracy is not None]
    classes = [row.per_class for row in epochs if row.per_class]
    known = any(f"{kind}_accuracy" in record for kind in KINDS)
    measured, accuracy = _measured(record) if known else (kind, None)
    train = as_number(record.get("train_seconds"))
    generation = as_number(record.get("generation_seconds"))
    names = ("strategy", "model", "data", "generator", "generator_hash", "seed", "epochs")
    return Summary(
        facts={name: as_text(record[name]) for name in names if record.get(name) is not None},
        measured=measured,
        accuracy=seen[-1].accuracy if accuracy is None and seen and not known else accuracy,
        right_N=_right(record.get("right")),
        per_class=as_percents(record.get("per_class")) or (classes[-1] if classes else {}),
        real_images=as_count(record.get("real_images", epochs[-1].real_images if epochs else None)),
        synthetic_images=as_count(record.get("synthetic_images", epochs[-1].synthetic_images if epochs else None)),
        optimizer_steps=as_count(record.get("optimizer_steps", epochs[-1].optimizer_steps if epochs else None)),
        train_seconds=sum(row.train_seconds for row in epochs) if train is None else train,
        generation_seconds=sum(row.generation_seconds for row in epochs) if generation is None else generation,
        filters=as_object(record.get("filters")),
        left_out_images=as_count(record.get("left_out_images")),
    )


def _measured(record: Record) -> tuple[str, float | None]:
    """Return what a line's accuracy was measured on, and the accuracy."""
    found = {kind: as_number(record.get(f"{kind}_accuracy")) for kind in KINDS}
    return next(((kind, value) for kind, value in found.items() if value is not None), (KINDS[0], None))


def _right(text: object) -> Right | None:
    try:
        return None if text is None else unpack_right(as_text(text))
    except UserError:
        return None


def _samples(folder: Path, previews: Mapping[str, Path]) -> Samples:
    """Return the images of a run's store; `kept` where the guide is there to be shown."""
    store = folder / "store"
    return index(
        _own(folder, "store/metadata.jsonl"),
        lambda record: _sample(record, store / as_text(record.get("file_name")), store, previews),
        lambda key: f"{key}-guide" in previews,
    )


def _rejected(folder: Path) -> Samples:
    """Return the rejected images of a run; `kept` where the picture is there."""
    aside = existing(folder, "set_aside/rejected")
    pictures = {path.stem for path in aside.glob("*.png")}
    return index(
        _own(folder, existing(folder, "rejected.jsonl").name),
        lambda record: _sample(record, aside / f"{as_text(record.get('key'))}.png", aside, {}),
        pictures.__contains__,
    )


def _nothing(record: Record) -> SampleRow:
    return _sample(record, Path(os.devnull), Path(os.devnull), {})


def _sample(record: Record, image: Path, inside: Path, previews: Mapping[str, Path]) -> SampleRow:
    key = as_text(record.get("key"))
    return SampleRow(
        key=key,
        class_name=class_of(record),
        strategy=as_text(record.get("strategy")),
        round=as_count(record.get("round")),
        guided=bool(record.get("guides")),
        image=image if _inside(image, inside) and image.is_file() else None,
        guide=previews.get(f"{key}-guide"),
        mask=previews.get(f"{key}-mask"),
        guide_probability=as_number(record.get("guide_probability")),
        guide_predicted=as_text(record.get("guide_predicted")),
        probability=as_number(record.get("probability")),
        predicted=as_text(record.get("predicted")),
        margin=as_number(record.get("margin")),
        reason=as_text(record.get("reason")),
    )


def _own(folder: Path, name: str) -> Path:
    """Return a file of a run; for a link that leads out of the run an empty one."""
    path = folder / name
    return path if _inside(path, folder) else Path(os.devnull)


def _inside(path: Path, folder: Path) -> bool:
    """Whether `path` lies in `folder` when its links are followed: a page shows nothing from elsewhere."""
    try:
        path.exists()  # OSError for a name that is too long
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, or a loop of links
        return False
