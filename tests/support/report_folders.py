"""A small run and a small demo on disk, in the formats that actgen writes, with class names out to cause trouble."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = (
    "ankle boot",
    '<script>alert("x")</script>',
    "T-shirt/top & 'more'",
    "cat 🐈 $x_1$",
    "\u200fחתול\u202e abc",
    "</style><img src=x onerror=alert(1)>",
)


def draw(path: Path, seed: int, side: int = 32) -> None:
    """Write a PNG of a soft blob on a gradient."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side] / side
    centre, colours = rng.uniform(0.3, 0.7, 2), rng.uniform(0, 255, (3, 3))
    blob = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) * 18)[..., None]
    pixels = (1 - blob) * (x[..., None] * colours[0] + (1 - x[..., None]) * colours[1]) + blob * colours[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    with Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)) as image:
        image.save(path)


def per_class(accuracy: float, step: float) -> dict[str, float]:
    return {name: accuracy + step * (place - 2.5) for place, name in enumerate(CLASSES)}


def lines(path: Path, records: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def change_summary(folder: Path, **changes: object) -> None:
    """Change entries of a run's summary."""
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def epoch(number: int, end: float, synthetic: int, measured: str) -> dict[str, object]:
    accuracy = end - 22 * 0.55**number if number != 3 else None  # one epoch without a measurement
    return {
        "epoch": number,
        "train_loss": 2.0 / (number + 1),
        f"{measured}_accuracy": accuracy,
        "holdout_accuracy": accuracy,
        "per_class": None if accuracy is None else per_class(accuracy, 4.0 - number),
        "real_images": 1800,
        "synthetic_images": synthetic * number,
        "optimizer_steps": 60 * (number + 1),
        "learning_rate": 0.1,
        "train_seconds": 21.5,
        "generation_seconds": 3.0 * synthetic,
    }


def sample(number: int, guided: bool, sourced: bool) -> dict[str, object]:
    label = number % len(CLASSES)
    return {
        "key": f"r{number:03d}",
        "file_name": f"images/r{number:03d}.png",
        "sha256": "0" * 64,
        "label": label,
        "class_name": CLASSES[label],
        "prompt": f"a photo of a {CLASSES[label]}",
        "seed": number,
        "strategy": "actgen" if sourced else "text-only",
        "guides": ["image", "contrastive"] if guided else [],
        "guidance": {},
        "source": {"split": "holdout", "key": f"train/{number}", "index": number} if sourced else None,
        "round": number // 8 + 1,
        "generator": "tiny",
        "generator_hash": "abc",
        "classifier_accuracy": 80.0,
        "guide_probability": 0.04 * (number % 8) if sourced else None,
        "probability": min(1.0, 0.2 + 0.05 * (number % 17)),
        "predicted": CLASSES[label] if number % 3 else CLASSES[label - 1],
        "margin": (0.1 if number % 3 else -0.1) * (1 + number % 5),
        "guide_predicted": CLASSES[label - 2] if sourced else None,
        "seconds": 0.4,
    }


def totals(end: float, synthetic: int, epochs: int = 8, measured: str = "test") -> dict[str, object]:
    return {
        "test_accuracy": None,
        f"{measured}_accuracy": end,
        "per_class": per_class(end, 3.0 if synthetic else 2.0),
        "synthetic_images": synthetic * epochs,
        "real_images": 1800,
        "optimizer_steps": 60 * epochs,
        "train_seconds": 21.5 * epochs,
        "generation_seconds": 3.0 * synthetic * epochs,
    }


def make_run(folder: Path, strategy: str = "actgen", end: float = 84.1, samples: int = 40, measured: str = "test") -> Path:
    """Write a run; every fourth sample is generated from text only (actgen keeps its source), every fifth lacks a preview."""
    synthetic = 5 if samples else 0
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.toml").write_text('[data]\nname = "fashion" # <b>not bold</b> & not markup\n', encoding="utf-8")
    lines(folder / "stats.jsonl", [epoch(number, end, synthetic, measured) for number in range(8)])
    summary: dict[str, object] = {
        "strategy": strategy,
        "model": "resnet18",
        "data": "fashion-mnist, 1 800 images",
        "generator": "tiny",
    }
    summary |= {"generator_hash": "abc", "seed": 0, "epochs": 8}
    (folder / "summary.json").write_text(json.dumps(summary | totals(end, synthetic, measured=measured)), encoding="utf-8")
    sourced = strategy == "actgen"
    records = [sample(number, guided=sourced and number % 4 != 3, sourced=sourced) for number in range(samples)]
    lines(folder / "store" / "metadata.jsonl", records)
    for number, record in enumerate(records):
        draw(folder / "store" / str(record["file_name"]), number)
        if record["guides"] and number % 5:
            draw(folder / "previews" / f"{record['key']}-guide.png", number + 1000)
        if record["guides"] and number % 5 and number % 7:
            draw(folder / "previews" / f"{record['key']}-mask.png", number + 2000, side=8)
    return folder


def make_demo(folder: Path, actgen: float = 84.1, none: float = 83.5, text_only: float = 83.9, measured: str = "test") -> Path:
    """Write a demo of three arms with the given test accuracies."""
    ends = {"none": none, "text-only": text_only, "actgen": actgen}
    for arm, end in ends.items():
        make_run(folder / "arms" / arm, arm, end, samples=0 if arm == "none" else 40, measured=measured)
    arms = {arm: totals(end, 0 if arm == "none" else 5, measured=measured) for arm, end in ends.items()}
    summary = {"arms": arms, "seed": 0, "data": "fashion-mnist, 1 800 images", "generator": "tiny"}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder
