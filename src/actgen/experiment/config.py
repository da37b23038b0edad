"""A run is one complete file: a dataclass of the parts, in TOML and back; unknown keys are refused."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated

import tomli_w
from pydantic import AfterValidator, Field

from ..classifiers.classifier import Model
from ..classifiers.mining import Mining
from ..core.assets import BUNDLED, find_recipe
from ..core.errors import UserError
from ..core.options import LARGEST_WHOLE, Choices, Text, fill, options
from ..core.prompts import Prompts
from ..core.text import brief, read_text, visible
from ..data.datasets.bad_images import ON_BAD_IMAGE
from ..data.datasets.evaluation import Evaluation
from ..data.datasets.extra import Extra
from ..data.datasets.reading import Reading
from ..diffusion.guides.image import GIVEN
from ..diffusion.loading import Loading
from ..diffusion.solvers import AUTO
from ..generation.best_of_n import Selection
from ..generation.filters.options import Filters
from ..generation.preset_choice import TINY, preset_for
from ..generation.presets import PRESETS, SamplingConfig
from ..training.options import TrainingOptions
from .renamed_keys import current_name, renamed

TRACKING = "tracking"  # the key of a recipe file that is no part of the recipe


_DEVICE = r"(cpu|cuda:(0|[1-9]\d{0,2}))?"


def _device(name: str) -> str:
    if not re.fullmatch(_DEVICE, name):
        raise ValueError(": allowed are cpu, cuda:0, cuda:1, ..., or nothing for the process that trains.")
    return name


@options("generation")
class Generation:
    """How many images are generated, and when.

    `curriculum`: fewer unguided and more adversarial images as the epochs pass (the released code), or all guides for every
    image (the paper). `replay` costs disk: the classifier's weights a round and a latent a guided image (SD 1.x at 512 pixels:
    64 KiB). `shift_budget`: classes whose generated images are mostly rejected, or do not lower the loss on the images that are
    looked at, get fewer from round to round (`strategies/class_budgets.py`).
    """

    budget: Annotated[float, Field(ge=0, le=100, description="Generated images as a fraction of the real training images.")] = (
        0.3
    )
    until: Annotated[float, Field(ge=0, le=1, description="Generate in this first fraction of the epochs.")] = 0.5
    every: Annotated[int, Field(ge=1, le=10**6, description="Generate after so many epochs each.")] = 1
    holdout: Annotated[
        float,
        Field(
            ge=0.001,
            le=0.9,
            description="Fraction of the training images held out to find hard examples, and given back after the last round.",
        ),
    ] = 0.1
    preset: Annotated[
        str,
        Choices(tuple(PRESETS)),
        Field(description="Where [sampling] starts from; not given, or auto: as the generator needs."),
    ] = "tiny"
    curriculum: Annotated[bool, Field(description="Change the mix of guides as the epochs pass.")] = True
    previews: Annotated[int, Field(ge=0, le=10**6, description="Guides and masks kept a round, for the page.")] = 4
    replay: Annotated[
        bool,
        Field(description="Keep in rounds/ what `actgen generate --from-manifest` needs to generate every image again."),
    ] = True
    shift_budget: Annotated[bool, Field(description="Give fewer images to classes that they do not help.")] = False
    checkpoint_images: Annotated[
        int, Field(ge=1, le=10**6, description="After a stop at most so many (but a whole batch) are generated again.")
    ] = 64
    on: Annotated[
        Text,
        AfterValidator(_device),
        Field(
            description="Generate in a second process on this device, cpu or cuda:N, while the next epoch trains "
            "(docs/background.md); empty: in turns."
        ),
    ] = ""


@options("")
class Recipe:
    """Everything that a run depends on besides the data and the generator's weights."""

    data: Annotated[
        Text,
        Field(
            description="The images: fashion-mnist-mini, idx:DIR, cifar10:DIR, cifar100:DIR, eurosat:DIR, imagenet:DIR, "
            "hf:NAME or hf:FOLDER, or a folder of class folders (with or without train/ and test/ or val/)."
        ),
    ] = "fashion-mnist-mini"
    generator: Annotated[Text, Field(description="What generates: bundled, a diffusers folder, or a hub id.")] = BUNDLED
    strategy: Annotated[Text, Field(description="What is generated: none, text-only, actgen, ...: see docs/strategies.md.")] = (
        "actgen"
    )
    seed: Annotated[int, Field(ge=0, le=LARGEST_WHOLE, description="Everything random follows from it.")] = 0
    masks: Annotated[
        Text,
        Field(
            description="Where the training images show their objects, for sampling.image.mask = given: a folder of mask "
            "images, a .npy file, or foreground (not black)."
        ),
    ] = ""
    on_bad_image: Annotated[
        str, Choices(ON_BAD_IMAGE), Field(description="Image files that cannot be read: refuse the data, or skip and count.")
    ] = "refuse"
    reading: Reading = field(default_factory=Reading)
    mining: Mining = field(default_factory=Mining)
    images: Annotated[
        int,
        Field(
            ge=0,
            le=10**9,
            description="Train on so many of the training images only, as evenly over the classes as can be and the same for "
            "every seed; 0: all.",
        ),
    ] = 0
    labels_per_class: Annotated[
        int, Field(ge=0, le=10**9, description="Train on so many images of each class only, chosen by lot; 0: all.")
    ] = 0
    label_set: Annotated[int, Field(ge=0, le=LARGEST_WHOLE, description="The seed of that lot.")] = 0
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
        given = self.labels_per_class
        if given == 1:
            raise UserError("labels_per_class = 1: allowed is 2 to 1,000,000,000 (one image may be held out), or 0 for all.")
        if given and self.images:
            raise UserError(
                f"labels_per_class = {given} and images = {self.images} both say how many images to train on. Leave out one."
            )
        if self.label_set and not given:
            raise UserError(
                f"label_set = {self.label_set} chooses nothing without labels_per_class. Give how many labels a class has, for "
                "example labels_per_class = 20."
            )


def build_recipe(path: Path | None = None, settings: Sequence[str] = (), flags: Mapping[str, object] | None = None) -> Recipe:
    """Return the recipe of a TOML file, changed by `a.b=c` settings, changed by command-line flags (dotted keys).

    `path` may be the name of a shipped recipe; `prompts` in it or in the settings may be the name of a TOML file. With `masks`,
    `sampling.image.mask` starts as "given". `tracking` is no part of a recipe: see `read_tracking`.
    """
    return build_from(_tree(path, settings, flags or {}))


def build_from(tree: dict[str, object]) -> Recipe:
    """Return the recipe of a tree of settings with today's names."""
    tree.pop(TRACKING, None)
    if isinstance(prompts := tree.get("prompts"), str):
        tree["prompts"] = _read(Path(prompts), "prompts =")
    generation = tree.get("generation", {})
    preset = generation.get("preset") if isinstance(generation, dict) else None
    if preset in (None, AUTO):
        generator = tree.get("generator", BUNDLED)
        preset = suggested_preset(generator if isinstance(generator, str) else BUNDLED)
        if isinstance(generation, dict):
            generation.pop("preset", None)
    chosen = Generation(preset=preset, curriculum=preset != "paper")
    sampling = PRESETS[chosen.preset]
    if tree.get("masks"):
        sampling = dataclasses.replace(sampling, image=dataclasses.replace(sampling.image, mask=GIVEN))
    return fill(Recipe(sampling=sampling, generation=chosen), tree)


def read_written(text: str) -> Recipe:
    """Return the recipe that a run wrote out, of an earlier version too; `UserError` or ValueError if it is none."""
    return build_from(renamed(tomllib.loads(text), warn=False))


def read_recipe_of(run: Path) -> Recipe:
    """Return the recipe of the run in a folder, of an earlier version too."""
    return build_from(renamed(_read(run / "recipe.toml", "the recipe"), warn=False))


def read_tracking(path: Path | None = None, settings: Sequence[str] = ()) -> str:
    """Return the trackers that a recipe file or the settings name, "" if none.

    They are no part of the recipe: a run is the same, and can be continued, with and without them.
    """
    text = _tree(path, settings, {}).get(TRACKING, "")
    if not isinstance(text, str):
        raise UserError(f'{TRACKING} = {brief(text)}: write trackers as a text, for example {TRACKING} = "tensorboard,wandb".')
    return text


def _tree(path: Path | None, settings: Sequence[str], flags: Mapping[str, object]) -> dict[str, object]:
    """Return what a file, the settings and the flags say, the later ones over the earlier ones."""
    tree = {} if path is None else renamed(_read(find_recipe(path)))
    said: dict[str, str] = {}
    for setting in settings:
        key, equals, text = (part.strip() for part in setting.partition("="))
        if not equals:
            raise UserError(f"--set {brief(setting)}: write it as a.b=value, for example training.batch_size=32.")
        name = current_name(key)
        if said.setdefault(name, key) != key:
            raise UserError(f"--set {key} and --set {said[name]} are the same setting by its old and new name. Leave one out.")
        _put(tree, name, _renamed_value(key, parse_value(text)))
    for key, value in flags.items():
        if value is not None:
            _put(tree, current_name(key), _renamed_value(key, value))
    return tree


def _renamed_value(key: str, value: object) -> object:
    """Return the value of a setting, today's names in it where it is a table."""
    given: dict[str, object] = {}
    _put(given, key, value)
    part: object = renamed(given)
    for name in current_name(key).split("."):
        assert isinstance(part, Mapping)  # as it was put there
        part = part[name]
    return part


def suggested_preset(generator: str) -> str:
    """Return the preset for a generator by recipe name."""
    return TINY if generator == BUNDLED else preset_for(generator)


def to_toml(recipe: Recipe) -> str:
    """Return the complete recipe as TOML, defaults written out; the inverse of `build_recipe`."""
    return tomli_w.dumps(dataclasses.asdict(recipe))


def flat(tree: object, where: str = "") -> dict[str, object]:
    """Return a recipe, a part of one, or a tree of settings as dotted keys and values; the opposite of `fill`."""
    parts: Mapping[str, object] = tree if isinstance(tree, Mapping) else vars(tree)
    found: dict[str, object] = {}
    for key, value in parts.items():
        nested = dataclasses.is_dataclass(value) or isinstance(value, Mapping)
        found |= flat(value, f"{where}{key}.") if nested else {where + key: value}
    return found


def _read(path: Path, what: str = "--recipe") -> dict[str, object]:
    try:
        return tomllib.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not TOML, not UTF-8, a number of too many digits
        reason = "is nested too deeply" if isinstance(error, RecursionError) else visible(str(error))
        raise UserError(
            f"{what} {visible(str(path))}: {reason}. Give a TOML file; `actgen train --dry-run` prints a complete one."
        ) from error


def parse_value(text: str) -> object:
    """Return the TOML value that `text` is, or else the text itself."""
    try:
        read = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return read["value"] if len(read) == 1 else text


def _put(tree: dict[str, object], key: str, value: object) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        part = tree.setdefault(parent, {})
        if not isinstance(part, dict):
            raise UserError(f"{brief(key)}: {brief(parent)} is a single value, it has no parts.")
        tree = part
    tree[last] = value
