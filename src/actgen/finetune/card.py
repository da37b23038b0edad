"""The model card of a trained generator: what it was made from, how, and pictures to look at."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ..core.prompts import worded
from ..core.types import Progress
from ..generation.sampler import ImageSampler
from ..generation.strategies.base import make_request

Facts = dict[str, Any]
"""What training.json says of a training, by name: numbers, texts, lists and tables of them."""

STAGES = ("autoencoder", "features", "decoder", "denoiser")
COLUMNS = 12


def write_card(folder: Path, work: Path, facts: Facts) -> None:
    """Write training.json, README.md, loss.png and samples.png into the pipeline folder."""
    (folder / "training.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    plot_losses(work, folder / "loss.png")
    sample_sheet(folder, list(facts["classes"])[:20], int(facts["config"]["seed"])).save(folder / "samples.png")
    (folder / "README.md").write_text(_text(facts), encoding="utf-8")


def plot_losses(work: Path, path: Path, stages: Sequence[str] = STAGES) -> None:
    """Plot the loss of every stage by optimiser step."""
    figure = Figure(figsize=(12, 3), layout="constrained")
    FigureCanvasAgg(figure)
    for number, stage in enumerate(stages, start=1):
        rows = [json.loads(line) for line in (work / stage / "loss.jsonl").read_text(encoding="utf-8").splitlines()]
        axes = figure.add_subplot(1, len(stages), number, title=stage, xlabel="optimiser step", ylabel="loss")
        losses = [row["loss"] for row in rows]
        axes.plot([row["step"] for row in rows], losses, linewidth=0.4, alpha=0.4, color="tab:blue")
        axes.plot([row["step"] for row in rows], _smooth(losses), color="tab:blue")
        axes.set_yscale("log")
    figure.savefig(path, dpi=110)


def _smooth(values: list[float], keep: float = 0.8) -> list[float]:
    smooth: list[float] = []
    for value in values:
        smooth.append(value if not smooth else keep * smooth[-1] + (1 - keep) * value)
    return smooth


def sample_sheet(folder: Path, class_names: list[str], seed: int) -> Image.Image:
    """Generate a row of images of every class with the finished pipeline."""
    return draw_sheet(ImageSampler.from_pretrained(str(folder), preset="tiny"), class_names, seed)


def draw_sheet(
    sampler: ImageSampler,
    class_names: Sequence[str],
    seed: int,
    *,
    columns: int = COLUMNS,
    prompts: Mapping[str, str] | None = None,
) -> Image.Image:
    """Generate a row of images of every class from its prompt, always from the same noise; a broken image stays black."""
    now = Progress(epoch=0, epochs=1)
    requests = [
        make_request("text-only", now, label * columns + column, label, class_names, seed)
        for label in range(len(class_names))
        for column in range(columns)
    ]
    places = {request.key: divmod(number, columns) for number, request in enumerate(requests)}
    size = sampler.adapter.image_size
    sheet = Image.new("RGB", (columns * size, len(class_names) * size))
    for sample in sampler.generate(worded(requests, prompts or {})):
        row, column = places[sample.request.key]
        sheet.paste(sample.image, (column * size, row * size))
    larger = 2 if size <= 64 else 1
    return sheet.resize((larger * sheet.width, larger * sheet.height), Image.Resampling.NEAREST)


def listed(names: Sequence[str], most: int = 30) -> str:
    """Return the first names, and dots if there are more."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _text(facts: Facts) -> str:
    config, seconds = facts["config"], facts["wall_seconds"]
    rows = "\n".join(
        f"| {stage} | {config[stage]['steps']:,} | {config[stage]['batch_size']} | {config[stage]['learning_rate']} "
        f"| {seconds[stage] / 60:.0f} |"
        for stage in STAGES
    )
    return f"""# A generator of the architecture `{config["architecture"]}`

A `StableDiffusionPipeline` ({facts["parameters"] / 1e6:.1f}M parameters, fp16 safetensors) trained from scratch on
{facts["images"]:,} labelled images of {len(facts["classes"])} classes: {listed(facts["classes"])}.

    {facts["command"]}

| stage | steps | batch | peak learning rate | wall minutes |
|---|---|---|---|---|
{rows}

Device: {facts["device"]}; torch {facts["torch"]}; seed {config["seed"]}. Full configuration: `training.json`.

![loss](loss.png)

Text-only samples, a row a class, not chosen:

![samples](samples.png)
"""
