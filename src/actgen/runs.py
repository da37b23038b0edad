"""A recipe becomes a run: open its parts, train, write the summary and the page.

    OUT/recipe.toml  stats.jsonl  summary.json  store/  refused.jsonl  previews/  rounds/  checkpoints/  report.html

Everything that can be wrong with the input is found before the folder is made.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from accelerate import PartialState

from . import agreeing, checkpoint, ranks
from .choosing import Chooser
from .classify.classifier import Classifier, create_classifier
from .classify.mining import CROSS_FIT, HOLDOUT
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
from .recipe import BUNDLED, Recipe, flat, to_toml
from .report.html import write_report
from .seeding import derive
from .spreading import Spread
from .stopping import deferred
from .strategies import STRATEGIES, create_strategy
from .strategies.oversample import Oversample
from .synthesis import Round
from .tracking import parse_trackers, tracking
from .train.background import Background
from .train.crossfit import cross_fit
from .train.loop import fit
from .train.scout import scout
from .train.state import EpochStats, Training
from .unfit import refuse_unfit

Told = Callable[[int, int], None]
Tell = Callable[[Mapping[str, Any] | None], None]
Generators = Callable[[str, Sequence[str], str, Loading], Backbone]
SHOWN = ("test_accuracy", "synthetic_images", "train_seconds", "generation_seconds", "optimizer_steps")
"""What is shown of every finished run."""


def bundled_generator() -> Path:
    """Return the folder of the generator that comes with the package (Fashion-MNIST, 32 pixels)."""
    return Path(str(resources.files("actgen") / "assets" / "fashion-mnist-generator"))


def open_generator(
    name: str, class_names: Sequence[str], device: str = "cpu", loading: Loading | None = None
) -> Backbone:  # fmt: skip
    """Load a generator by recipe name; `bundled` is refused for classes it has never seen, unless a LoRA tells it of them."""
    if name != BUNDLED:
        return Backbone.from_pretrained(name, device=device, loading=loading)
    unknown = [c for c in class_names if c not in FASHION_MNIST_CLASSES]
    if unknown and not (loading and loading.lora):
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
    recipe: Recipe, class_names: Sequence[str], classifier: Classifier, prompts: Mapping[str, str], generators: Generators,
    device: str,
) -> Draws:  # fmt: skip
    """Return who draws in a run: the recipe's generator, checked against the classes, or a copyist if nothing new is drawn."""
    if recipe.strategy == Oversample.name:
        return Copyist(classifier.image_size)
    artist = Artist(generators(recipe.generator, class_names, device, recipe.loading), recipe.drawing)
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
    refuse_unfit(recipe, torch.cuda.device_count())
    data = open_data(recipe) if data is None else data
    real = data.train
    learns, classifier = classifier is None, open_classifier(recipe, real) if classifier is None else classifier
    generation = recipe.generation
    held_out = held_out_images(recipe, real)
    round_ = background = None
    if recipe.strategy != "none":
        device = open_device(recipe)
        round_ = open_round(recipe, out, data, classifier, generators, device)
        background = Background(out, device, to_toml(recipe)) if generation.on else None
    return Training(
        classifier=classifier, options=recipe.training, real=real, folder=out, held_out=held_out, test=data.test,
        evaluated_on=recipe.evaluation.on,
        round=round_, budget=round(generation.budget * len(real.labels)) if round_ is not None else 0,
        until=generation.until, every=generation.every, shift_budget=generation.shift_budget, seed=recipe.seed,
        data_note=data.note, left_out=data.left_out,
        background=background, learns=learns,
    )  # fmt: skip


def open_round(
    recipe: Recipe, out: Path, data: RealData, classifier: Classifier, generators: Generators, device: str
) -> Round:  # fmt: skip
    """Return the round of a run in folder `out` on `data`, as `open_data` returned it, drawing on `device`."""
    strategy, generation = create_strategy(recipe.strategy, curriculum=recipe.generation.curriculum), recipe.generation
    held_out = held_out_images(recipe, data.train)
    artist = open_artist(recipe, data.train.class_names, classifier, data.prompts, generators, device)
    judges = ranks.is_first()  # and writes
    return Round(
        artist=artist if ranks.size() == 1 else Spread(artist), strategy=strategy,
        store=Store(out / "store"), pool=data.train if held_out is None else held_out, mining=recipe.mining, seed=recipe.seed,
        prompts=data.prompts, previews=Previews(out / "previews", generation.previews),
        files=RoundFiles(out / "rounds") if generation.replay else None,
        filters=open_chain(recipe.filters, data.train, data.test, device) if judges else None,
        ledger=Ledger(out, pictures=recipe.filters.keep_refused) if judges else None,
        journal=Journal(out / "checkpoints" / "round", generation.checkpoint_images),
    )  # fmt: skip


def held_out_images(recipe: Recipe, real: ImageSet) -> ImageSet | None:
    """Return the images of `real` that are away from the training until the last round; None if the rounds need none."""
    own = create_strategy(recipe.strategy).mining
    if own is None or recipe.mining.over(own).pool != HOLDOUT:
        return None
    return hold_out(real, recipe.generation.holdout, recipe.seed)[1]


def open_device(recipe: Recipe) -> str:
    """Return the device that rounds are drawn on: that of the training, or `generation.on`; `UserError` if it cannot be."""
    if not (on := recipe.generation.on):
        return str(PartialState().device)
    if (count := PartialState().num_processes) > 1:
        raise UserError(f"generation.on = {on!r} cannot go with a training in {count} processes yet. Leave out --generate-on.")
    return on


def run(
    recipe: Recipe, out: Path, *, data: RealData | None = None, on_epoch: Callable[[EpochStats], None] | None = None,
    on_batch: Told | None = None, on_sample: Told | None = None, generators: Generators = open_generator, page: bool = True,
    track: Sequence[str] = (),
) -> dict[str, Any]:  # fmt: skip
    """Run a recipe in folder `out` to its end and return the summary; a finished run is only read, a stopped one continued.

    `data` and `generators`: see `open_run` (a second process, `generation.on`, opens its own); without `page` no report.html is
    written. Of several processes (`ranks.begin`) all must call this; rank 0 writes the folder. `track` names trackers that are
    told what the run writes (`tracking.py`); it changes nothing else.
    """
    with agreeing.agreed():
        trackers = parse_trackers(track)
    agreeing.refuse_different({"recipe": to_toml(recipe)})
    if (summary := agreeing.of_first(lambda: _finished(recipe, out, page, trackers))) is not None:
        return summary
    with ExitStack() as held:
        with agreeing.agreed():
            home = held.enter_context(agreeing.home(out))
            refuse_in_use(home)  # before a minute goes by with opening
            training = open_run(recipe, home, data, generators)
        with agreeing.agreed():  # nothing is written before all have opened it
            held.enter_context(locked(home))
            checkpoint.write_text(home / "recipe.toml", to_toml(recipe))
            tell = held.enter_context(tracking(home, trackers, flat(recipe)))
        if ranks.size() > 1:  # a signal is answered where all can answer it
            held.enter_context(deferred())
        if training.mining is not None and training.mining.pool == CROSS_FIT:
            training.cross_fitted = cross_fit(training, training.mining)
        if training.needs_scout and training.mining is not None:
            training.scouted = scout(training, training.mining)
        with closing(fit(training, on_batch=on_batch, on_sample=on_sample)) as epochs:  # with all that it has started
            for stats in epochs:
                tell(None)
                if on_epoch is not None:
                    on_epoch(stats)
        return agreeing.of_first(lambda: _finish(recipe, training, page, tell))


def _finished(recipe: Recipe, out: Path, page: bool, trackers: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the summary of a run that is finished; None if it is not."""
    if not (out / "summary.json").exists():
        return None
    _refuse_other_run(recipe, out)
    if page and not (out / "report.html").exists():
        write_report(out)
    summary = _read_summary(out / "summary.json")
    if trackers:
        with locked(out), tracking(out, trackers, flat(recipe)) as tell:
            tell(summary)
    return summary


def _finish(recipe: Recipe, training: Training, page: bool, tell: Tell) -> dict[str, Any]:
    """Write what a run comes to; return the summary."""
    out, summary = training.folder, summarise(recipe, training)
    weights = {name: value.contiguous() for name, value in training.tested.state_dict().items()}
    checkpoint.write_bytes(out / "classifier.safetensors", safetensors.torch.save(weights))
    checkpoint.write_text(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    tell(summary)
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
        "waited_seconds": round(sum(row["waited_seconds"] for row in training.stats), 2),
        "initial_weights": training.initial_weights, "real_images_digest": names_digest(training.real),
        "test_digest": None if training.test is None else names_digest(training.test),
        "peak_memory_gib": round(peak_gib(training.accelerator.device), 3),
    }  # fmt: skip


def _typical_size(images: ImageSet) -> int:
    step = max(1, len(images.labels) // 32)
    return int(statistics.median(min(images.image(i).size) for i in range(0, len(images.labels), step)))


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
