"""Hugging Face datasets: `hf:NAME` of the hub, or `hf:FOLDER` that `save_to_disk` wrote or that `imagefolder` reads.

Options follow as in an address: `hf:NAME?config=C&train=SPLIT&test=SPLIT&image=COLUMN&label=COLUMN`; what is not given is
found.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, overload

from PIL import Image, ImageOps

from ...core.class_words import class_words
from ...core.errors import UserError
from .decoding import to_rgb
from .names import printable

OPTIONS = ("config", "train", "test", "image", "label")
LAYOUT = (
    "Give hf:NAME of the hub or hf:FOLDER (of Dataset.save_to_disk, or an imagefolder), with ?image=COLUMN&label=COLUMN where "
    "they are not found."
)
_TEST_SPLITS = ("test", "validation", "valid", "val")
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

    def image(self, index: int) -> Image.Image:
        """Return image `index` in RGB, upright; `UserError` if it cannot be decoded."""
        try:
            image = self.dataset[index][self.column]
            if not isinstance(image, Image.Image):
                raise ValueError("it is empty")
            return to_rgb(ImageOps.exif_transpose(image))
        except Exception as error:  # Pillow's decoders raise many types on broken files
            raise UserError(f"cannot read the image {self.keys[index]}: {error}. Repair or remove it.") from error


def read_hub(text: str) -> tuple[HubImages, HubImages | None]:
    """Return the training and the test images of `NAME?OPTIONS`; None if there is no test split.

    Class names are those of a ClassLabel column, or the texts or numbers of another one, sorted. Keys are `train/NUMBER` and
    `test/NUMBER`. Raises UserError that names splits or columns where they cannot be found.
    """
    name, options = _parsed(text)
    splits = _opened(name, options.get("config"))
    train = options.get("train") or "train"
    test = options.get("test") or next((split for split in _TEST_SPLITS if split in splits), None)
    for split in (train, test):
        if split is not None and split not in splits:
            raise UserError(f"hf:{text}: there is no split {split!r}, only {_listed(splits)}. Give ?train=SPLIT&test=SPLIT.")
    names = _names(text, splits[train], _label(text, splits[train], options.get("label")))
    images = [
        None if split is None else _images(text, splits[split], kind, options, names)
        for split, kind in ((train, "train"), (test, "test"))
    ]
    assert images[0] is not None
    return images[0], images[1]


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


def _images(text: str, dataset: HubTable, kind: str, options: Mapping[str, str], names: Sequence[str]) -> HubImages:
    image, label = _image(text, dataset, options.get("image")), _label(text, dataset, options.get("label"))
    return HubImages(
        dataset=dataset,
        column=image,
        labels=_labels(text, dataset, label, names),
        class_names=tuple(map(class_words, names)),
        keys=tuple(f"{kind}/{number}" for number in range(len(dataset))),
    )


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


def _labels(text: str, dataset: HubTable, column: str, names: Sequence[str]) -> tuple[int, ...]:
    values = list(dataset[column])
    if getattr(dataset.features[column], "names", None):
        labels = values
    else:
        number = {name: label for label, name in enumerate(names)}
        labels = [number.get(str(value), -1) for value in values]
    if bad := [place for place, label in enumerate(labels) if label is None or not 0 <= label < len(names)]:
        raise UserError(
            f"hf:{text}: {len(bad)} images have a label that is no class of the training images (first: number "
            f"{bad[0]}, {values[bad[0]]!r}). Leave them out, or give ?label=COLUMN or ?test=SPLIT."
        )
    return tuple(labels)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
