"""Hugging Face datasets: `hf:NAME` of the hub, or `hf:FOLDER` that `save_to_disk` wrote or that `imagefolder` reads.

Options follow as in an address: `hf:NAME?config=C&train=SPLIT&test=SPLIT&image=COLUMN&label=COLUMN`; what is not given is
found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, overload

from PIL import Image, ImageOps

from ...core.class_words import class_words
from ...core.errors import UserError
from .account import Account
from .bad_images import BadImages
from .decoding import to_rgb
from .names import printable
from .split_words import TEST, TRAIN, VALIDATION, pure_split

OPTIONS = ("config", "train", "test", "image", "label")
LAYOUT = (
    "Give hf:NAME of the hub or hf:FOLDER (of Dataset.save_to_disk, or an imagefolder), with ?image=COLUMN&label=COLUMN where "
    "they are not found."
)
_LABELS = ("label", "labels", "fine_label", "class", "target")


class HubTable(Protocol):
    """What is used of a `datasets.Dataset`: its rows by number and its columns by name."""

    @property
    def features(self) -> Mapping[str, object]: ...  # noqa: D102
    def __len__(self) -> int: ...
    @overload
    def __getitem__(self, key: int) -> Mapping[str, object]: ...
    @overload
    def __getitem__(self, key: str) -> Sequence[Any]: ...


@dataclass(frozen=True)
class HubImages:
    """Images of a `datasets.Dataset`, decoded when asked for."""

    dataset: HubTable
    column: str
    labels: tuple[int, ...]
    class_names: tuple[str, ...]
    keys: tuple[str, ...]
    rows: tuple[int, ...] | None = None

    def part(self, indices: Sequence[int]) -> HubImages:
        """Return some of the images."""
        rows = range(len(self.labels)) if self.rows is None else self.rows
        return replace(
            self,
            labels=tuple(self.labels[index] for index in indices),
            keys=tuple(self.keys[index] for index in indices),
            rows=tuple(rows[index] for index in indices),
        )

    def image(self, index: int) -> Image.Image:
        """Return image `index` in RGB, upright; `UserError` if it cannot be decoded."""
        try:
            image = self.dataset[index if self.rows is None else self.rows[index]][self.column]
            if not isinstance(image, Image.Image):
                raise ValueError("it is empty")
            return to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # Pillow's decoders raise many types on broken files
            raise UserError(f"cannot read the image {self.keys[index]}: {error}. Repair or remove it.") from error


def read_hub(text: str, account: Account | None = None) -> tuple[HubImages, HubImages | None, HubImages | None]:
    """Return the training, the test and the validation images of `NAME?OPTIONS`; None for a split that there is not.

    Without a test split the validation images are the test images. Class names are those of a ClassLabel column, or the texts
    or numbers of another one, sorted. Keys are `train/NUMBER`, `test/NUMBER` and `validation/NUMBER`. Raises UserError that
    names splits or columns where they cannot be found.
    """
    name, options = _parsed(text)
    splits, account = _opened(name, options.get("config")), account or Account()
    train = options.get("train") or ("train" if "train" in splits else _split_of(splits, TRAIN) or "train")
    others = {split: kind for split in splits if split != train and (kind := pure_split(split))}
    test = options.get("test") or next((split for split, kind in others.items() if kind == TEST), None)
    test = test or next((split for split in others if others[split] == VALIDATION), None)
    own = [split for split, kind in others.items() if kind == VALIDATION and split != test]
    validation = own[0] if own and not options.get("test") else None
    for split in (train, test):
        if split is not None and split not in splits:
            raise UserError(f"hf:{text}: there is no split {split!r}, only {_listed(splits)}. Give ?train=SPLIT&test=SPLIT.")
    if unused := [split for split in splits if split not in (train, test, validation)]:
        account.notes.append(f"splits that are not used: {_listed(unused)}")
    names = _names(text, splits[train], _label(text, splits[train], options.get("label")))

    def images(split: str | None, kind: str) -> HubImages | None:
        return None if split is None else _images(text, splits[split], kind, options, names, account)

    trained = images(train, TRAIN)
    assert trained is not None
    return trained, images(test, TEST), images(validation, VALIDATION)


def _split_of(splits: Mapping[str, Any], kind: str) -> str | None:
    return next((split for split in splits if pure_split(split) == kind), None)


def check_hub(images: HubImages, bad: BadImages, most: int = 100_000) -> HubImages:
    """Decode every image and return those that can be read; a `UserError` names the first bad one unless these are left out.

    More than `most` images are checked only where bad ones are left out.
    """
    if len(images.labels) > most and not bad.skips:
        return images
    good, problems = list[int](), list[str]()
    for index in range(len(images.labels)):
        try:
            images.image(index)
            good.append(index)
        except UserError as error:
            problems.append(str(error))
    bad.meet(problems)
    return images.part(good) if problems else images


def _parsed(text: str) -> tuple[str, dict[str, str]]:
    name, _, query = text.partition("?")
    options = dict(part.partition("=")[::2] for part in query.split("&") if part)
    if unknown := [key for key in options if key not in OPTIONS]:
        raise UserError(
            f"hf:{text}: unknown option {unknown[0]!r}; allowed are {', '.join(OPTIONS)}, as in hf:NAME?label=fine_label."
        )
    if not name.strip():
        raise UserError(f"hf:{text} names no data set. {LAYOUT}")
    return name, options


def _opened(name: str, config: str | None) -> Mapping[str, HubTable]:
    """Return the splits of a data set by name."""
    try:
        import datasets
        from PIL import EpsImagePlugin

        EpsImagePlugin.gs_binary = False  # datasets decodes whatever Pillow can, and this would run another program
    except ImportError as error:
        raise UserError("hf: needs the package datasets: pip install 'actgen[datasets]'.") from error
    folder = Path(name).expanduser() if name.startswith("~/") else Path(name)
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            found = datasets.load_from_disk(str(folder))
        elif folder.is_dir():
            found = datasets.load_dataset("imagefolder", data_dir=str(folder))
        else:
            found = datasets.load_dataset(name, config)
    except Exception as error:  # what a hub that is not there, or a folder of another kind, raises has no end
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"hf:{printable(name)} cannot be loaded ({type(error).__name__}: {reason[:300]}).\n{LAYOUT}") from error
    return found if isinstance(found, Mapping) else {"train": found}


def _images(
    text: str, dataset: HubTable, kind: str, options: Mapping[str, str], names: Sequence[str], account: Account
) -> HubImages:
    image, label = _image(text, dataset, options.get("image")), _label(text, dataset, options.get("label"))
    labels = _labels(text, dataset, label, names, account.bad)
    images = HubImages(
        dataset=dataset,
        column=image,
        labels=labels,
        class_names=tuple(map(class_words, names)),
        keys=tuple(f"{kind}/{number}" for number in range(len(dataset))),
    )
    if missing := sorted(name for number, name in enumerate(images.class_names) if number not in labels):
        account.notes.append(f"{kind} has no images of {_listed(missing)}: it is scored on the other classes")
    return images if -1 not in labels else images.part([place for place, label in enumerate(labels) if label >= 0])


def _image(text: str, dataset: HubTable, wanted: str | None) -> str:
    import datasets

    found = [name for name, feature in dataset.features.items() if isinstance(feature, datasets.Image)]
    return _only(text, "image", dataset, found, wanted)


def _label(text: str, dataset: HubTable, wanted: str | None) -> str:
    import datasets

    if wanted is not None:
        return _only(text, "label", dataset, list(dataset.features), wanted)
    found = [name for name, feature in dataset.features.items() if isinstance(feature, datasets.ClassLabel)]
    return _only(text, "label", dataset, found or [name for name in _LABELS if name in dataset.features][:1], None)


def _only(text: str, what: str, dataset: HubTable, found: Sequence[str], wanted: str | None) -> str:
    if wanted is not None and wanted in found:
        return wanted
    if wanted is None and len(found) == 1:
        return found[0]
    reason = f"the {what} column cannot be {wanted!r}." if wanted else f"which column is the {what}?"
    raise UserError(f"hf:{text}: {reason} The columns are {_listed(dataset.features)}. Give ?{what}=COLUMN.")


def _names(text: str, dataset: HubTable, column: str) -> tuple[str, ...]:
    if names := getattr(dataset.features[column], "names", None):
        return tuple(names)
    try:
        return tuple(str(value) for value in sorted({value for value in dataset[column] if value is not None}))
    except TypeError as error:  # lists, pictures
        raise UserError(f"hf:{text}: the column {column!r} does not hold one label an image. Give ?label=COLUMN.") from error


def _labels(text: str, dataset: HubTable, column: str, names: Sequence[str], bad: BadImages) -> tuple[int, ...]:
    """Return the labels of a split; -1 for an image without one, where bad images are left out."""
    values = list(dataset[column])
    if getattr(dataset.features[column], "names", None):
        labels = values
    else:
        number = {name: label for label, name in enumerate(names)}
        labels = [number.get(str(value), -1) for value in values]
    odd = [place for place, label in enumerate(labels) if label is None or not 0 <= label < len(names)]
    if odd and not bad.skips:
        raise UserError(
            f"hf:{text}: {len(odd)} images have a label that is no class of the training images (first: number "
            f"{odd[0]}, {values[odd[0]]!r}). --on-bad-image skip leaves them out; or give ?label=COLUMN or ?test=SPLIT."
        )
    bad.meet([f"number {place} has the label {values[place]!r}, which is no class of the training images" for place in odd])
    known = set(odd)
    return tuple(-1 if place in known else label for place, label in enumerate(labels))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
