"""A recipe becomes a run: open its parts, train, write the summary and the page.

    OUT/recipe.toml  stats.jsonl  summary.json  store/  refused.jsonl  previews/  rounds/  checkpoints/  report.html

Everything that can be wrong with the input is found before the folder is made.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors.torch
from accelerate import PartialState

from . import checkpoint
from .choosing import Chooser
from .classify.classifier import Classifier, create_classifier
from .classify.mining import CROSS_FIT, HOLDOUT, TRAINING, Mining
from .copying import Copyist
from .data.evaluation import choose_images
from .data.idx import FASHION_MNIST_CLASSES
from .data.imageset import ImageSet, Renamed, names_digest
from .data.journal import Journal
from .data.refused import Ledger
from .data.rounds import RoundFiles
from .data.sources import RealData, load_data
from .data.splits import balanced, hold_out
from .data.store import Previews, Store
from .diffuse.backbone import Backbone
from .diffuse.loading import Loading
from .drawing import Artist, Draws
from .errors import UserError, refuse_file
from .filters import open_chain
from .filters.tally import keep_rates
from .lock import is_unused, locked, refuse_in_use
from .memory import peak_gib
from .plain import brief, read_text, visible
from .prompts import class_prompt
from .recipe import BUNDLED, Recipe, to_toml
from .report.html import write_report
from .seeding import derive
from .strategies import STRATEGIES, create_strategy
from .strategies.base import BEFORE, Strategy
from .strategies.oversample import Oversample
from .synthesis import Round
from .train.crossfit import cross_fit
from .train.loop import fit
from .train.schedule import generating_epochs
from .train.scout import scout
from .train.state import EpochStats, Training

Told = Callable[[int, int], None]
Generators = Callable[[str, Sequence[str], str, Loading], Backbone]
SHOWN = ("test_accuracy", "synthetic_images", "train_seconds", "generation_seconds", "optimizer_steps")
"""What is shown of every finished run."""


def bundled_generator() -> Path:
    """Return the folder of the generator that comes with the package (Fashion-MNIST, 32 pixels)."""
    return Path(str(resources.files("actgen") / "assets" / "fashion-mnist-generator"))


def open_generator(
    name: str, class_names: Sequence[str], device: str = "cpu", loading: Loading | None = None
) -> Backbone:  # fmt: skip
    """Load a generator by recipe name; `bundled` is refused for classes it has never seen."""
    if name != BUNDLED:
        return Backbone.from_pretrained(name, device=device, loading=loading)
    unknown = [c for c in class_names if c not in FASHION_MNIST_CLASSES]
    if unknown:
        raise UserError(f"the bundled generator knows Fashion-MNIST only, not {brief(unknown[0])}. Give --generator a "
                        "diffusers folder or id, or make one: actgen finetune --from-scratch tiny --data DATA --out "
                        "FOLDER.")  # fmt: skip
    backbone = Backbone.from_pretrained(str(bundled_generator()), device=device, loading=loading)
    backbone.name = BUNDLED
    return backbone


def open_classifier(recipe: Recipe, real: ImageSet) -> Classifier:
    """Return the classifier of a run on `real`, as it is before the training."""
    return create_classifier(
        recipe.model, len(real.class_names), data_size=_typical_size(real), seed=derive(recipe.seed, "classifier"),
    )  # fmt: skip


def open_artist(
    recipe: Recipe, class_names: Sequence[str], classifier: Classifier, prompts: Mapping[str, str], generators: Generators
) -> Draws:  # fmt: skip
    """Return who draws in a run: the recipe's generator, checked against the classes, or a copyist if nothing new is drawn."""
    if recipe.strategy == Oversample.name:
        return Copyist(classifier.image_size)
    artist = Artist(generators(recipe.generator, class_names, str(PartialState().device), recipe.loading), recipe.drawing)
    if STRATEGIES[recipe.strategy].mining is not None:
        artist.check_guides(class_names, prompts)
    choosing = recipe.choosing.over(create_strategy(recipe.strategy).candidates)
    if choosing.candidates == 1:
        return artist
    return Chooser(artist, choosing, [prompts.get(name, class_prompt(name)) for name in class_names])


def open_data(recipe: Recipe, load: Callable[[str, str], RealData] = load_data) -> RealData:
    """Return the images that a recipe trains and measures on, the classes called as its prompts say."""
    data = load(recipe.data, recipe.on_bad_image)
    names, prompts = recipe.prompts.names(data.train.class_names), recipe.prompts.of(data.train.class_names)
    train = balanced(data.train, recipe.images) if recipe.images else data.train
    data = choose_images(replace(data, train=train), recipe.evaluation, recipe.seed)

    def named(images: ImageSet) -> ImageSet:
        return images if names == tuple(images.class_names) else Renamed(images, names)

    return replace(data, train=named(data.train), test=None if data.test is None else named(data.test), prompts=prompts)


def open_run(
    recipe: Recipe, out: Path, data: RealData | None = None, generators: Generators = open_generator,
    classifier: Classifier | None = None,
) -> Training:  # fmt: skip
    """Open all parts of a run; nothing is written yet. `UserError` if `out` holds another run.

    `data` is what `open_data` returned and `generators` opens a generator, if the caller keeps these for many runs. A
    `classifier` is one that another loop trains; without, it is the recipe's and `fit` does.
    """
    _refuse_other_run(recipe, out)
    strategy = create_strategy(recipe.strategy, curriculum=recipe.generation.curriculum)
    _refuse_no_rounds(recipe)
    data = open_data(recipe) if data is None else data
    real = data.train
    learns, classifier = classifier is None, open_classifier(recipe, real) if classifier is None else classifier
    generation = recipe.generation
    mining = recipe.mining.over(strategy.mining) if strategy.mining else None
    _refuse_choice(recipe, strategy, mining)
    held_out = held_out_images(recipe, real)
    round_ = None
    if recipe.strategy != "none":
        round_ = Round(
            artist=open_artist(recipe, real.class_names, classifier, data.prompts, generators), strategy=strategy,
            store=Store(out / "store"), pool=real if held_out is None else held_out, mining=recipe.mining, seed=recipe.seed,
            prompts=data.prompts, previews=Previews(out / "previews", generation.previews),
            files=RoundFiles(out / "rounds") if generation.replay else None,
            filters=open_chain(recipe.filters, real, data.test, str(PartialState().device)),
            ledger=Ledger(out, pictures=recipe.filters.keep_refused),
            journal=Journal(out / "checkpoints" / "round", generation.checkpoint_images),
        )  # fmt: skip
    return Training(
        classifier=classifier, options=recipe.training, real=real, folder=out, held_out=held_out, test=data.test,
        evaluated_on=recipe.evaluation.on,
        round=round_, budget=round(generation.budget * len(real.labels)) if round_ is not None else 0,
        until=generation.until, every=generation.every, shift_budget=generation.shift_budget, seed=recipe.seed,
        data_note=data.note, left_out=data.left_out, learns=learns,
    )  # fmt: skip


def held_out_images(recipe: Recipe, real: ImageSet) -> ImageSet | None:
    """Return the images of `real` that are away from the training until the last round; None if the rounds need none."""
    own = create_strategy(recipe.strategy).mining
    if own is None or recipe.mining.over(own).pool != HOLDOUT:
        return None
    return hold_out(real, recipe.generation.holdout, recipe.seed)[1]


def run(
    recipe: Recipe, out: Path, *, data: RealData | None = None, on_epoch: Callable[[EpochStats], None] | None = None,
    on_batch: Told | None = None, on_sample: Told | None = None, generators: Generators = open_generator, page: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Run a recipe in folder `out` to its end and return the summary; a finished run is only read, a stopped one continued.

    `data` and `generators`: see `open_run`; without `page` no report.html is written.
    """
    finished = out / "summary.json"
    if finished.exists():
        _refuse_other_run(recipe, out)
        if page and not (out / "report.html").exists():
            write_report(out)
        return _read_summary(finished)
    refuse_in_use(out)  # before a minute goes by with opening
    training = open_run(recipe, out, data, generators)
    with locked(out):
        checkpoint.write_text(out / "recipe.toml", to_toml(recipe))
        if training.mining is not None and training.mining.pool == CROSS_FIT:
            training.cross_fitted = cross_fit(training, training.mining)
        if training.needs_scout and training.mining is not None:
            training.scouted = scout(training, training.mining)
        for stats in fit(training, on_batch=on_batch, on_sample=on_sample):
            if on_epoch is not None:
                on_epoch(stats)
        summary = summarise(recipe, training)
        weights = {name: value.contiguous() for name, value in training.tested.state_dict().items()}
        checkpoint.write_bytes(out / "classifier.safetensors", safetensors.torch.save(weights))
        checkpoint.write_text(finished, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
        if page:
            write_report(out)
    return summary


def _read_summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(read_text(path))
        if summary.keys() >= {"strategy", *SHOWN}:
            return dict(summary)
        reason = "lacks what a finished run measured"
    except (ValueError, RecursionError, AttributeError):
        reason = "is not the JSON object that a finished run wrote"
    raise UserError(f"{path} {reason}. Put it back, or remove it: the same command writes it again.")


def summarise(recipe: Recipe, training: Training) -> dict[str, Any]:
    """Return what a finished run measured; accuracies in percent, times in seconds."""
    last = training.stats[-1]
    facts = training.round.artist.facts if training.round is not None else {}
    chain = training.round.filters if training.round is not None else None
    return {
        "strategy": recipe.strategy, "model": recipe.model.name, "data": recipe.data, "seed": recipe.seed,
        "data_note": training.data_note, "left_out_images": len(training.left_out),
        "left_out_first": training.left_out[0] if training.left_out else None,
        "generator": facts.get("generator") or None, "generator_hash": facts.get("generator_hash") or None,
        "epochs": recipe.training.epochs, "test_accuracy": last["test_accuracy"],
        "validation_accuracy": last["validation_accuracy"], "per_class": last["per_class"],
        "real_images": training.total_real, "synthetic_images": len(training.snapshot),
        "manifest_chain": training.round.store.manifest.chain if training.round is not None else None,
        "optimizer_steps": last["optimizer_steps"],
        "filters": chain and keep_rates((row["filters"] for row in training.stats if row["filters"]), chain.names),
        "train_seconds": round(sum(row["train_seconds"] for row in training.stats), 2),
        "generation_seconds": round(sum(row["generation_seconds"] for row in training.stats), 2),
        "initial_weights": training.initial_weights, "real_images_digest": names_digest(training.real),
        "test_digest": None if training.test is None else names_digest(training.test),
        "peak_memory_gib": round(peak_gib(training.accelerator.device), 3),
    }  # fmt: skip


def _typical_size(images: ImageSet) -> int:
    step = max(1, len(images.labels) // 32)
    return int(statistics.median(min(images.image(i).size) for i in range(0, len(images.labels), step)))


def _refuse_choice(recipe: Recipe, strategy: Strategy, mining: Mining | None) -> None:
    """Raise `UserError` where there would be nothing to choose from, or nobody to ask."""
    if recipe.choosing.over(strategy.candidates).candidates == 1:
        return
    if strategy.name == Oversample.name:
        raise UserError(f"choosing.candidates: {strategy.name} draws nothing to choose from. Leave it out.")
    if strategy.when == BEFORE and (mining is None or mining.pool != TRAINING):
        pool = f", with mining.pool = {mining.pool}," if mining else ""
        raise UserError(f"choosing.candidates: {strategy.name}{pool} draws before the training, when no classifier can be "
                        "asked. Give choosing.candidates=1, or mining.pool=training to a strategy that mines.")  # fmt: skip


def _refuse_no_rounds(recipe: Recipe) -> None:
    epochs, generation = recipe.training.epochs, recipe.generation
    if recipe.strategy != "none" and generation.budget > 0 and generating_epochs(epochs, generation.until) == 0:
        raise UserError(f"training.epochs = {epochs} with generation.until = {generation.until:g} leaves no epoch after which "
                        "images are drawn (never after the last). Give more epochs, a larger generation.until, or "
                        "--budget 0.")  # fmt: skip


def _refuse_other_run(recipe: Recipe, out: Path) -> None:
    refuse_file(out)
    held = out / "recipe.toml"
    if held.exists() and (text := held.read_text(encoding="utf-8", errors="replace")) != to_toml(recipe):
        _refuse_missing_generator(recipe, out, text)
        raise UserError(f"--out {out} holds a run with another recipe (see recipe.toml there). Choose another --out, or give "
                        "the same settings to continue it.")  # fmt: skip
    if not held.exists() and not is_unused(out):
        raise UserError(f"--out {out} is not empty and holds no run. Give a new or empty folder.")


def _refuse_missing_generator(recipe: Recipe, out: Path, held: str) -> None:
    """Raise `UserError` if a run's generator folder is gone: the preset that follows from it then makes another recipe."""
    name = recipe.generator
    is_path = name.startswith(("/", ".", "~")) or name.count("/") != 1  # an id of the hub has one
    if name != BUNDLED and is_path and f"generator = {json.dumps(name)}\n" in held and not Path(name).exists():
        raise UserError(f"the generator {visible(name)} of the run in {out} is not there any more. Put it back to continue.")
