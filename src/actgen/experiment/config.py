"""A run is one complete file: a dataclass of the parts, in TOML and back; unknown keys are refused."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import tomli_w

from ..classifiers.classifier import Model
from ..classifiers.mining import Mining
from ..core.assets import BUNDLED, find_recipe
from ..core.errors import UserError, refuse_outside
from ..core.prompts import Prompts
from ..core.text import LONGEST, brief, is_storable, read_text, shown, visible
from ..data.datasets.bad_images import ON_BAD_IMAGE
from ..data.datasets.evaluation import Evaluation
from ..data.datasets.extra import Extra
from ..diffusion.guides.image import GIVEN
from ..diffusion.loading import Loading
from ..generation.best_of_n import Selection
from ..generation.filters.options import Filters
from ..generation.presets import PRESETS, SamplingConfig
from ..training.options import EPOCH_LENGTHS, PRECISIONS, TrainingOptions

TRACKING = "tracking"  # the key of a recipe file that is no part of the recipe


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How many images, when. `budget`: generated images as a fraction of the real training images; `until`: generate in this
    first fraction of the epochs, after each `every`th of them; `holdout`: fraction of the training images held out to find
    hard examples and given back after the last round; `preset`: where `[sampling]` starts from; `curriculum`: fewer unguided
    and more adversarial generated images as the epochs pass (the released code), or all guides for every image (the paper);
    `previews`: guides and masks kept a round; `replay`: keep in `rounds/` what the guides looked at, so that every image can
    be generated again (`actgen generate --from-manifest`); costs disk: the classifier's weights a round and a latent a guided
    image (SD 1.x at 512 pixels: 64 KiB); `shift_budget`: classes whose generated images are mostly refused, or do not lower
    the loss on the images that are looked at, get fewer from round to round (`strategies/class_budgets.py`);
    `checkpoint_images`: after a stop at most so many images are generated again (but a whole batch); `on`: generate in a
    second process on this device, "cpu" or "cuda:N", while the next epoch trains (docs/background.md).
    """

    budget: float = 0.3
    until: float = 0.5
    every: int = 1
    holdout: float = 0.1
    preset: str = "tiny"
    curriculum: bool = True
    previews: int = 4
    replay: bool = True
    shift_budget: bool = False
    checkpoint_images: int = 64
    on: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a run depends on besides the data and the generator's weights.

    `images`: train on so many of the training images only, as evenly over the classes as can be and the same for every seed;
    0 for all. `labels_per_class`: train on so many of each class only, drawn by lot with the seed `label_set`; 0 for all.
    `masks`: a folder, a .npy file or "foreground": where the training images show their objects (`datasets/masks.py`), for
    `sampling.image.mask` "given". `on_bad_image`: "refuse" data that hold an image file which cannot be used, or "skip" the
    file and count it.
    """

    data: str = "fashion-mnist-mini"
    generator: str = BUNDLED
    strategy: str = "actgen"
    seed: int = 0
    masks: str = ""
    on_bad_image: str = "refuse"
    mining: Mining = field(default_factory=Mining)
    images: int = 0
    labels_per_class: int = 0
    label_set: int = 0
    prompts: Prompts = field(default_factory=Prompts)
    model: Model = field(default_factory=Model)
    evaluation: Evaluation = field(default_factory=Evaluation)
    extra: Extra = field(default_factory=Extra)
    training: TrainingOptions = field(default_factory=TrainingOptions)
    generation: Generation = field(default_factory=Generation)
    selection: Selection = field(default_factory=Selection)
    loading: Loading = field(default_factory=Loading)
    sampling: SamplingConfig = field(default_factory=lambda: PRESETS["tiny"])
    filters: Filters = field(default_factory=Filters)

    def __post_init__(self) -> None:
        _check_ranges(self)


def build_recipe(path: Path | None = None, settings: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> Recipe:
    """Return the recipe of a TOML file, changed by `a.b=c` settings, changed by command-line flags (dotted keys).

    `path` may be the name of a shipped recipe; `prompts` in it or in the settings may be the name of a TOML file. With `masks`,
    `sampling.image.mask` starts as "given". `tracking` is no part of a recipe: see `read_tracking`.
    """
    tree = _tree(path, settings, flags or {})
    tree.pop(TRACKING, None)
    if isinstance(tree.get("prompts"), str):
        tree["prompts"] = _read(Path(tree["prompts"]), "prompts =")
    generation = tree.get("generation", {})
    preset = generation.get("preset") if isinstance(generation, dict) else None
    if preset is None:
        generator = tree.get("generator", BUNDLED)
        preset = suggested_preset(generator if isinstance(generator, str) else BUNDLED)
    if not isinstance(preset, str) or preset not in PRESETS:
        raise UserError(f"generation.preset = {brief(preset)} is unknown; allowed: {', '.join(PRESETS)}.")
    sampling = PRESETS[preset]
    if tree.get("masks"):
        sampling = dataclasses.replace(sampling, image=dataclasses.replace(sampling.image, mask=GIVEN))
    start = Recipe(sampling=sampling, generation=Generation(preset=preset, curriculum=preset != "paper"))
    recipe: Recipe = fill(start, tree, "")
    return recipe


def read_tracking(path: Path | None = None, settings: Sequence[str] = ()) -> str:
    """Return the trackers that a recipe file or the settings name, "" if none.

    They are no part of the recipe: a run is the same, and can be continued, with and without them.
    """
    text = _tree(path, settings, {}).get(TRACKING, "")
    if not isinstance(text, str):
        raise UserError(f'{TRACKING} = {brief(text)}: write trackers as a text, for example {TRACKING} = "tensorboard,wandb".')
    return text


def _tree(path: Path | None, settings: Sequence[str], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file, the settings and the flags say, the later ones over the earlier ones."""
    tree: dict[str, Any] = {}
    if path is not None:
        tree = _read(find_recipe(path))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f"--set {brief(setting)}: write it as a.b=value, for example training.batch_size=32.")
        _put(tree, key.strip(), parse_value(text.strip()))
    for key, value in flags.items():
        if value is not None:
            _put(tree, key, value)
    return tree


def suggested_preset(generator: str) -> str:
    """Return the preset for a generator: "tiny" for those that `finetune --from-scratch tiny` made, else "default"."""
    if generator == BUNDLED:
        return "tiny"
    try:
        facts = json.loads(read_text(Path(generator) / "training.json"))
        return "tiny" if facts["config"]["architecture"] == "tiny" else "default"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "default"


def to_toml(recipe: Recipe) -> str:
    """Return the complete recipe as TOML, defaults written out; the inverse of `build_recipe`."""
    return tomli_w.dumps(dataclasses.asdict(recipe))


def flat(tree: Any, where: str = "") -> dict[str, Any]:
    """Return a recipe, a part of one, or a tree of settings as dotted keys and values; the opposite of `fill`."""
    parts = vars(tree) if dataclasses.is_dataclass(tree) else tree
    found: dict[str, Any] = {}
    for key, value in parts.items():
        nested = dataclasses.is_dataclass(value) or isinstance(value, Mapping)
        found |= flat(value, f"{where}{key}.") if nested else {where + key: value}
    return found


def _read(path: Path, what: str = "--recipe") -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not TOML, not UTF-8, a number of too many digits
        reason = "is nested too deeply" if isinstance(error, RecursionError) else visible(str(error))
        raise UserError(
            f"{what} {visible(str(path))}: {reason}. Give a TOML file; `actgen train --dry-run` prints a complete one."
        ) from error


def parse_value(text: str) -> Any:
    """Return the TOML value that `text` is, or else the text itself."""
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return read["value"] if len(read) == 1 else text


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise UserError(f"{brief(key)}: {brief(parent)} is a single value, it has no parts.")
    tree[last] = value


def fill(part: Any, tree: Mapping[str, Any], where: str) -> Any:
    """Return the dataclass `part` changed by `tree`; `UserError` for a key or type that it has not, named from `where` on."""
    hints = get_type_hints(type(part))
    changes: dict[str, Any] = {}
    for key, value in tree.items():
        name = where + key
        if key not in hints:
            near = difflib.get_close_matches(key[:LONGEST], hints, 1)
            hint = f" Did you mean {where}{near[0]}?" if near else f" Allowed: {', '.join(where + k for k in hints)}."
            raise UserError(f"unknown key {shown(name)}.{hint}")
        old = getattr(part, key)
        if dataclasses.is_dataclass(old):
            if not isinstance(value, Mapping):
                raise UserError(f"{name} = {brief(value)}: it has parts; write them as [{name}] or {name}.KEY=value.")
            changes[key] = fill(old, value, name + ".")
        else:
            changes[key] = _typed(value, hints[key], name)
    return dataclasses.replace(part, **changes)


def _typed(value: Any, kind: Any, name: str) -> Any:
    if get_origin(kind) is dict:
        of = get_args(kind)[1]
        if of is str and (not isinstance(value, Mapping) or not all(isinstance(part, str) for part in value.values())):
            raise UserError(f'{name}: it is a table of names and texts; write it as [{name}] with lines "name" = "text".')
        if not isinstance(value, Mapping):
            raise UserError(f'{name}: it is a table of names and lists; write it as [{name}] with lines "name" = ["text"].')
        return {key: _typed(part, of, f"{name}.{shown(key)}") for key, part in value.items()}
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise UserError(f'{name} = {brief(value)} is not a list of texts; write it as ["text", "text"].')
        return tuple(_typed(part, str, name) for part in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_WHOLE:
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise UserError(f"{name} = {brief(value)} is not {'a whole number' if kind is int else kind.__name__}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} is not a number." if math.isnan(value) else f"{name} = {value} is not a finite number.")
    if isinstance(value, int) and abs(value) > _LARGEST_WHOLE:
        raise UserError(f"{name} = {brief(value)} is too large a number.")
    if isinstance(value, str) and not is_storable(value):
        raise UserError(f"{name} = {brief(value)} cannot be written in a recipe, which holds UTF-8 text. Rename what it names.")
    return value


_LARGEST_WHOLE = 2**62
_MOST_LABELS = 10**9
_DEVICE = r"(cpu|cuda:(0|[1-9]\d{0,2}))?"
_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, _LARGEST_WHOLE),
    "images": (0, 1e9),
    "label_set": (0, _LARGEST_WHOLE),
    "model.image_size": (0, 4096),
    "model.drop_path": (0, 0.9),
    "evaluation.fraction": (0.001, 0.9),
    "evaluation.most": (1, 1e9),
    "training.epochs": (1, 1e6),
    "training.batch_size": (2, 1e6),
    "training.learning_rate": (1e-12, 1e3),
    "training.weight_decay": (0, 10),
    "training.warmup": (0, 0.9),
    "training.label_smoothing": (0, 0.99),
    "training.test_every": (1, 1e6),
    "training.workers": (0, 256),
    "training.keep_checkpoints": (1, 1000),
    "training.min_learning_rate": (0, 1e3),
    "training.warmup_epochs": (0, 1e6),
    "training.clip_norm": (0, 1e9),
    "training.ema_decay": (0, 0.999999),
    "training.optimizer.momentum": (0, 0.9999),
    "training.optimizer.beta1": (0, 0.9999),
    "training.optimizer.beta2": (0, 0.999999),
    "training.optimizer.eps": (0, 1),
    "training.loss.gamma": (0, 100),
    "training.mixing.mixup": (0, 100),
    "training.mixing.cutmix": (0, 100),
    "training.mixing.probability": (0, 1),
    "training.augment.shift": (0, 512),
    "training.augment.erase": (0, 1),
    "training.augment.randaugment": (0, 10),
    "training.augment.magnitude": (0, 30),
    "training.augment.crop": (0.01, 1),
    "generation.budget": (0, 100),
    "generation.until": (0, 1),
    "generation.every": (1, 1e6),
    "generation.holdout": (0.001, 0.9),
    "generation.previews": (0, 1e6),
    "generation.checkpoint_images": (1, 1e6),
    "sampling.num_inference_steps": (1, 1000),
    "sampling.guidance_scale": (0, 100),
    "sampling.guidance_start": (0, 1),
    "sampling.guidance_stop": (0, 1),
    "sampling.eta": (0, 1),
    "sampling.attention_resolution": (0, 1024),
    "sampling.batch_size": (1, 4096),
    "sampling.image.strength": (0, 1),
    "sampling.image.mask_stop": (0, 1),
    "sampling.text.until": (0, 1),
    "sampling.text.step_size": (0, 100),
    "sampling.text.margin": (0, 1e9),
    "sampling.text.feature_margin": (0, 2),
    "sampling.text.adversarial_weight": (0, 1e6),
}


def _check_ranges(recipe: Recipe) -> None:
    for key, (low, high) in _RANGES.items():
        value: Any = recipe
        for part in key.split("."):
            value = getattr(value, part)
        refuse_outside(f"{key} =", value, low, high)
    for key, allowed in (("epoch_length", EPOCH_LENGTHS), ("precision", PRECISIONS)):
        if (value := getattr(recipe.training, key)) not in allowed:
            raise UserError(f"training.{key} = {brief(value)}: allowed are {', '.join(allowed)}.")
    if recipe.training.warmup_fraction > 0.9:
        raise UserError(
            f"training.warmup_epochs = {recipe.training.warmup_epochs:g} of {recipe.training.epochs} epochs leaves "
            "too little after the warm-up: allowed is up to nine tenths of the epochs."
        )
    _check_labels(recipe)
    if not re.fullmatch(_DEVICE, recipe.generation.on):
        raise UserError(
            f"generation.on = {brief(recipe.generation.on)}: allowed are cpu, cuda:0, cuda:1, ..., or nothing for "
            "the process that trains."
        )
    if recipe.on_bad_image not in ON_BAD_IMAGE:
        raise UserError(f"on_bad_image = {brief(recipe.on_bad_image)}: allowed are {', '.join(ON_BAD_IMAGE)}.")


def _check_labels(recipe: Recipe) -> None:
    given = recipe.labels_per_class
    if given and not 2 <= given <= _MOST_LABELS:
        raise UserError(
            f"labels_per_class = {given}: allowed is 2 to {_MOST_LABELS:,} (one image may be held out), or 0 for all."
        )
    if given and recipe.images:
        raise UserError(
            f"labels_per_class = {given} and images = {recipe.images} both say how many images to train on. Leave out one."
        )
    if recipe.label_set and not given:
        raise UserError(
            f"label_set = {recipe.label_set} generates nothing without labels_per_class. Give how many labels a class "
            "has, for example labels_per_class = 20."
        )
