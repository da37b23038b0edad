"""A recipe becomes the parts of a run: data, classifier, generator, round, training. Nothing is written yet."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from accelerate import PartialState

from ..classifiers.classifier import Classifier, create_classifier
from ..classifiers.mining import HOLDOUT, TRAINING, Mining
from ..classifiers.zero_shot import ZeroShot
from ..core.assets import BUNDLED, bundled_generator
from ..core.class_words import class_prompt
from ..core.device import EXACT
from ..core.errors import UserError, refuse_file
from ..core.lock import is_unused
from ..core.parallel import ranks
from ..core.prompts import Wording
from ..core.rng import derive
from ..core.text import brief, visible
from ..data.datasets.evaluation import choose_images
from ..data.datasets.extra import with_extra
from ..data.datasets.idx import FASHION_MNIST_CLASSES
from ..data.datasets.imageset import ImageSet, Renamed
from ..data.datasets.masks import Masks, open_masks
from ..data.datasets.reading import Reading
from ..data.datasets.sources import RealData, load_data
from ..data.datasets.splits import balanced, hold_out, labelled
from ..data.store.journal import Journal
from ..data.store.rejections import NoRejectionLog, RejectionLog
from ..data.store.rounds import NoRoundFiles, RoundFiles
from ..data.store.store import Previews, Store
from ..diffusion.loading import Loading
from ..diffusion.pipeline import PipelineAdapter
from ..generation.best_of_n import BestOfN
from ..generation.copy_sampler import CopySampler
from ..generation.filters import open_chain
from ..generation.filters.chain import Chain
from ..generation.images_server import ImagesServer, ServedSampler, is_server
from ..generation.round import Round
from ..generation.sampler import ImageSampler, Sampler
from ..generation.spread import Spread
from ..generation.strategies import STRATEGIES, create_strategy
from ..generation.strategies.class_budgets import ClassBudgets
from ..generation.strategies.oversample import Oversample
from ..generation.strategies.text_only import TextOnly
from ..generation.told_apart import check_prompts
from ..training.budget import ImageBudget
from ..training.learner import Learner
from ..training.parallel.background import Background
from ..training.training import Training
from .compatibility import check_compatible
from .config import Recipe, flat, read_written, to_toml

MOST_DIFFERING = 4  # settings that a message names
Generators = Callable[[str, Sequence[str], str, Loading], PipelineAdapter]


def open_generator(
    name: str, class_names: Sequence[str], device: str = "cpu", loading: Loading | None = None
) -> PipelineAdapter:
    """Load a generator by recipe name; `bundled` is refused for classes it has never seen, unless a LoRA tells it of them."""
    if is_server(name):
        raise UserError(
            f"--generator {visible(name)} is an images server, which generates by text alone, and not the same again. Take "
            "--strategy text-only, or a generator that is a folder or hub id."
        )
    if name != BUNDLED:
        return PipelineAdapter.from_pretrained(name, device=device, loading=loading)
    unknown = [c for c in class_names if c not in FASHION_MNIST_CLASSES]
    if unknown and not (loading and loading.lora):
        raise UserError(
            f"the bundled generator knows Fashion-MNIST only, not {brief(unknown[0])}. Give --generator a "
            "diffusers folder or id, or make one: actgen finetune --from-scratch tiny --data DATA --out "
            "FOLDER."
        )
    adapter = PipelineAdapter.from_pretrained(str(bundled_generator()), device=device, loading=loading)
    adapter.name = BUNDLED
    return adapter


def open_classifier(recipe: Recipe, real: ImageSet) -> Classifier:
    """Return the classifier of a run on `real`, as it is before the training."""
    classifier = create_classifier(
        recipe.model,
        len(real.class_names),
        data_size=_typical_size(real),
        seed=derive(recipe.seed, "classifier"),
    )
    return classifier.double() if recipe.training.precision == EXACT else classifier


def open_sampler(
    recipe: Recipe,
    class_names: Sequence[str],
    classifier: Classifier,
    prompts: Mapping[str, str],
    generators: Generators,
    device: str,
    masks: Masks | None = None,
    variants: Wording | None = None,
) -> Sampler:
    """Return who generates in a run: the recipe's generator, checked against the classes, or a copy sampler if nothing new is
    generated.

    `prompts`: the usual one of each class; `variants`: all of them, where there are several.
    """
    if recipe.strategy == Oversample.name:
        return CopySampler(classifier.image_size)
    if is_server(recipe.generator) and recipe.strategy == TextOnly.name and recipe.selection.samples_per_request <= 1:
        return open_served(recipe)
    sampler = ImageSampler(generators(recipe.generator, class_names, device, recipe.loading), recipe.sampling, masks=masks)
    told = {name: (text,) if isinstance(text, str) else text for name, text in (variants or prompts).items()}
    check_prompts(sampler.adapter, {name: told.get(name, (class_prompt(name),)) for name in class_names})
    if STRATEGIES[recipe.strategy].mining is not None:
        sampler.check_guides(class_names, variants or prompts)
    selection = recipe.selection.over(create_strategy(recipe.strategy).candidates)
    if selection.samples_per_request == 1:
        return sampler
    clip = ZeroShot(selection.clip, class_names, device, prompts=prompts, given="selection.clip =") if selection.clip else None
    return BestOfN(sampler, selection, [prompts.get(name, class_prompt(name)) for name in class_names], clip, class_names)


def open_served(recipe: Recipe) -> ServedSampler:
    """Return who asks the recipe's images server."""
    return ServedSampler(ImagesServer(recipe.generator), recipe.sampling, recipe.loading.image_size)


def open_data(recipe: Recipe, load: Callable[[str, str, Reading], RealData] = load_data) -> RealData:
    """Return the images that a recipe trains and measures on, the classes called as its prompts say."""
    data = load(recipe.data, recipe.on_bad_image, recipe.reading)
    whole, classes = data.train, data.train.class_names
    names, prompts, variants = recipe.prompts.names(classes), recipe.prompts.of(classes), recipe.prompts.variants(classes)
    train = _training_images(recipe, whole)
    data = choose_images(replace(data, train=train, all_keys=whole.keys), recipe.evaluation, recipe.seed)

    def named(images: ImageSet) -> ImageSet:
        return images if names == tuple(images.class_names) else Renamed(images, names)

    data = with_extra(data, whole, recipe.extra, recipe.seed)
    test, rest = (None if images is None else named(images) for images in (data.test, data.rest))
    return replace(data, train=named(data.train), test=test, rest=rest, prompts=prompts, variants=variants)


def open_data_for(recipe: Recipe, out: Path) -> RealData:
    """Return the images of a recipe that can run in folder `out`; `UserError` before they are read if it cannot."""
    refuse_other_run(recipe, out)
    check_compatible(recipe, torch.cuda.device_count())
    return open_data(recipe)


def _training_images(recipe: Recipe, images: ImageSet) -> ImageSet:
    """Return the images of the training split that a recipe has the labels of."""
    if recipe.labels_per_class:
        return labelled(images, recipe.labels_per_class, recipe.label_set)
    return balanced(images, recipe.images) if recipe.images else images


def open_run(
    recipe: Recipe,
    out: Path,
    data: RealData | None = None,
    generators: Generators = open_generator,
    classifier: Classifier | None = None,
) -> Training:
    """Open all parts of a run; nothing is written yet. `UserError` if `out` holds another run.

    `data` is what `open_data` returned and `generators` opens a generator, if the caller keeps these for many runs. A
    `classifier` is one that another loop trains; without, it is the recipe's and `fit` does.
    """
    refuse_other_run(recipe, out)
    check_compatible(recipe, torch.cuda.device_count())
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
        learner=Learner(
            classifier=classifier,
            options=recipe.training,
            learns=learns,
            watched=len(real.labels) if round_ is not None and _watches(round_.mines) else 0,
        ),
        budget=ImageBudget() if round_ is None else open_budget(recipe, data, round_, later=background is not None),
        real=real,
        folder=out,
        held_out=held_out,
        test=data.test,
        evaluated_on=recipe.evaluation.on,
        round=round_,
        extra=data.extra,
        teacher=open_teacher(recipe, data) if learns else None,
        seed=recipe.seed,
        data_note=data.note,
        left_out=data.left_out,
        background=background,
    )


def open_budget(recipe: Recipe, data: RealData, round_: Round, *, later: bool) -> ImageBudget:
    """Return the image budget of a run on `data`, as `open_data` returned it; `later`: see `ImageBudget`."""
    generation = recipe.generation
    return ImageBudget(
        total=round(generation.budget * (len(data.train.labels) - data.extra)),
        epochs=recipe.training.epochs,
        until=generation.until,
        every=generation.every,
        when=round_.strategy.when,
        later=later,
        class_budgets=ClassBudgets(len(data.train.class_names)) if generation.shift_budget else None,
    )


def _watches(mining: Mining | None) -> bool:
    """Whether the rounds ask how the training images fare while they are trained on."""
    return mining is not None and mining.pool == TRAINING


def open_teacher(recipe: Recipe, data: RealData) -> ZeroShot | None:
    """Return who gives soft labels to the real images; None if nobody does."""
    clip = recipe.training.distil.clip
    if not clip:
        return None
    device, names = str(PartialState().device), data.train.class_names
    return ZeroShot(clip, names, device, prompts=data.prompts, given="training.distil.teacher = clip:")


def open_round(recipe: Recipe, out: Path, data: RealData, classifier: Classifier, generators: Generators, device: str) -> Round:
    """Return the round of a run in folder `out` on `data`, as `open_data` returned it, generating on `device`."""
    strategy, generation = create_strategy(recipe.strategy, curriculum=recipe.generation.curriculum), recipe.generation
    held_out = held_out_images(recipe, data.train)
    masks = open_masks(recipe.masks, data.train, data.all_keys) if recipe.masks else None
    sampler = open_sampler(recipe, data.train.class_names, classifier, data.prompts, generators, device, masks, data.variants)
    judges = ranks.is_first()  # and writes
    return Round(
        sampler=sampler if ranks.size() == 1 else Spread(sampler),
        strategy=strategy,
        store=Store(out / "store"),
        pool=data.train if held_out is None else held_out,
        mining=settled_mining(recipe, data.train) or recipe.mining,
        seed=recipe.seed,
        prompts=data.variants or data.prompts,
        previews=Previews(out / "previews", generation.previews),
        files=RoundFiles(out / "rounds") if generation.replay else NoRoundFiles(),
        filters=open_chain(recipe.filters, data.train, data.test, device, data.prompts) if judges else Chain.empty(),
        rejections=RejectionLog(out, pictures=recipe.filters.keep_rejected) if judges else NoRejectionLog(),
        journal=Journal(out / "checkpoints" / "round", generation.checkpoint_images),
    )


def held_out_images(recipe: Recipe, real: ImageSet) -> ImageSet | None:
    """Return the images of `real` that are away from the training until the last round; None if the rounds need none."""
    mining = settled_mining(recipe, real)
    if mining is None or mining.pool != HOLDOUT:
        return None
    return hold_out(real, recipe.generation.holdout, recipe.seed)[1]


def settled_mining(recipe: Recipe, real: ImageSet) -> Mining | None:
    """Return how a run on these images mines: as the recipe and its strategy say, from the pool that the images can afford.

    None if the strategy does without.
    """
    own = create_strategy(recipe.strategy).mining
    if own is None:
        return None
    return recipe.mining.over(own, round(recipe.generation.holdout * len(real.labels)))


def open_device(recipe: Recipe) -> str:
    """Return the device that rounds are generated on: that of the training, or `generation.on`; `UserError` if it cannot be."""
    if not (on := recipe.generation.on):
        return str(PartialState().device)
    if (count := PartialState().num_processes) > 1:
        raise UserError(f"generation.on = {on!r} cannot go with a training in {count} processes yet. Leave out --generate-on.")
    return on


def _typical_size(images: ImageSet) -> int:
    step = max(1, len(images.labels) // 32)
    return int(statistics.median(min(images.image(i).size) for i in range(0, len(images.labels), step)))


def refuse_other_run(recipe: Recipe, out: Path) -> None:
    """Raise `UserError` if `out` holds another run, or something else."""
    refuse_file(out)
    held = out / "recipe.toml"
    if held.exists() and (text := held.read_text(encoding="utf-8", errors="replace")) != to_toml(recipe):
        if _is_earlier(text, recipe):
            if (out / "summary.json").exists():
                return
            raise UserError(
                f"--out {out} holds a run that an earlier version of actgen has begun. Finish it with that one, or choose "
                "another --out; finished runs of that version can be read."
            )
        _refuse_missing_generator(recipe, out, text)
        raise UserError(
            f"--out {out} holds a run with another recipe (see recipe.toml there{_differing(text, recipe)}). Choose another "
            "--out, or give the same settings to continue it."
        )
    if not held.exists() and not is_unused(out):
        raise UserError(f"--out {out} is not empty and holds no run. Give a new or empty folder.")


def _differing(held: str, recipe: Recipe) -> str:
    """Return some of the settings that a run's recipe has otherwise, to be read after "see recipe.toml there"."""
    try:
        there, here = flat(read_written(held)), flat(recipe)
    except ValueError:  # `UserError` too
        return ""
    other = [f"{key} = {brief(value)}" for key, value in there.items() if here.get(key) != value]
    return f": {', '.join(other[:MOST_DIFFERING])}{' and more' if len(other) > MOST_DIFFERING else ''}" if other else ""


def _is_earlier(held: str, recipe: Recipe) -> bool:
    """Whether a run's recipe says the same by the names of an earlier version."""
    try:
        return read_written(held) == recipe
    except ValueError:  # `UserError` too
        return False


def _refuse_missing_generator(recipe: Recipe, out: Path, held: str) -> None:
    """Raise `UserError` if a run's generator folder is gone: the preset that follows from it then makes another recipe."""
    name = recipe.generator
    is_path = name.startswith(("/", ".", "~")) or name.count("/") != 1  # an id of the hub has one
    if name != BUNDLED and is_path and f"generator = {json.dumps(name)}\n" in held and not Path(name).exists():
        raise UserError(f"the generator {visible(name)} of the run in {out} is not there any more. Put it back to continue.")
