"""From what a user writes (`--data SPEC`) to checked real images: the one place that knows where data comes from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ...core.errors import UserError
from ...core.text import brief, visible
from . import cifar, eurosat, imagenet
from .account import Account
from .bad_images import BadImages
from .folder import FolderImages, check_images, from_part
from .hub import HubImages, check_hub, read_hub
from .idx import LAYOUT, read_idx_split
from .imageset import ArrayImages, ImageSet
from .layout import SplitPart, find_parts
from .names import kept, printable
from .reading import USUAL_READING, Reading
from .split_words import TEST, TRAIN, VALIDATION
from .tree import look_through

BUNDLED = "fashion-mnist-mini"
ALLOWED = (
    f"Allowed: {BUNDLED} (bundled), idx:DIR (MNIST's format), cifar10:DIR, cifar100:DIR, eurosat:DIR, imagenet:DIR, hf:NAME "
    "(Hugging Face), or the path of a folder of class folders."
)
_ASSETS = Path(__file__).parents[2] / "core" / "assets"


@dataclass(frozen=True)
class RealData:
    """Real images as given: `test` is None when the source has no split of its own. `spec` is what the user wrote.

    `validation`: the source's own validation images, where it has these beside test images. `note`: what there is to know about
    them; `notes`: what was decided when they were read; `unused`: files that are no images of the set, with the reasons.
    `prompts`: what a generator is told of a class, by name, where that is not the
    usual; `variants`: all that are dealt to requests, where there are several. `left_out`: the files of both splits that could
    not be used, with the reasons. `all_keys`: those of the whole training split, in its order, where `train` is a part of it.
    The last `extra` of `train` are beyond those of the recipe, and `rest` is what it leaves of the training split
    (`datasets/extra.py`).
    """

    spec: str
    train: ImageSet
    test: ImageSet | None
    note: str = ""
    prompts: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    all_keys: Sequence[str] = ()
    extra: int = 0
    rest: ImageSet | None = None
    validation: ImageSet | None = None
    notes: tuple[str, ...] = ()
    unused: Mapping[Path, str] = field(default_factory=dict)


def load_data(spec: str, on_bad_image: str = "refuse", reading: Reading = USUAL_READING) -> RealData:
    """Return the real data that `spec` names: "fashion-mnist-mini", PREFIX:DIR with a prefix of `READERS`, "hf:NAME" (see
    `hub.read_hub`), or the path of a folder.

    A folder has one of the layouts of `layout.py`, which `reading` chooses among. Every image file is read once (see
    `check_images`), but of ImageNet.
    Raises UserError for anything that cannot be trained on; with `on_bad_image` "skip", image files that cannot be used are
    left out instead, as long as enough remain of every class.
    """
    account = Account(BadImages(on_bad_image))
    bad = account.bad
    try:
        loaded = _load(spec, account, reading)
        _check_classes(spec, loaded.train)
        if not spec.startswith("imagenet:"):  # over a million files, known to be whole
            loaded = _checked(loaded, account)
        train, test = loaded.train, loaded.test
    except OSError as error:
        where = printable(str(error.filename or spec))
        raise UserError(
            f"cannot read {where}: {error.strerror}. Check that it exists and that you may read it, or give other data."
        ) from error
    if bad.found:
        _check_left(spec, train, test, bad)
    note = eurosat.NOTE if spec.startswith("eurosat:") else ""
    return RealData(
        spec,
        train,
        test,
        note=note,
        left_out=tuple(bad.found),
        validation=loaded.validation,
        notes=tuple(account.notes),
        unused=account.unused,
    )


@dataclass(frozen=True)
class _Loaded:
    train: ImageSet
    test: ImageSet | None = None
    validation: ImageSet | None = None


def _checked(loaded: _Loaded, account: Account) -> _Loaded:
    """Return the images without those that cannot be read; deep grey is of the same bits in every split."""

    def checked(images: ImageSet | None) -> ImageSet | None:
        if isinstance(images, FolderImages):
            return check_images(images, account.bad)
        return check_hub(images, account.bad) if isinstance(images, HubImages) else images

    train = checked(loaded.train)
    assert train is not None
    found = _Loaded(train, checked(loaded.test), checked(loaded.validation))
    deep = [part.limits for part in vars(found).values() if isinstance(part, FolderImages) and part.limits.highest]
    if not deep:
        return found
    limits = max(deep, key=lambda one: one.bits)
    account.notes.append(f"deep grey is read as {limits.bits} bits: its largest value is {max(one.highest for one in deep)}")

    def same(images: ImageSet | None) -> ImageSet | None:
        return replace(images, limits=limits) if isinstance(images, FolderImages) else images

    train = same(found.train)
    assert train is not None
    return _Loaded(train, same(found.test), same(found.validation))


def _check_left(spec: str, train: ImageSet, test: ImageSet | None, bad: BadImages) -> None:
    """Check again what is left when bad files are out."""
    try:
        _check_classes(spec, train)
        if test is not None and not test.labels:
            raise UserError(f"{printable(spec)} has no test images left.")
    except UserError as error:
        raise UserError(f"{len(bad.found)} image files were left out, and {error}\nThe first: {bad.found[0]}") from error


def _load(spec: str, account: Account, reading: Reading) -> _Loaded:
    prefix, colon, rest = spec.partition(":")
    if (spec == BUNDLED or (colon and prefix in ("hf", *READERS))) and reading != USUAL_READING:
        raise UserError(
            f"{visible(spec)} has a format of its own: [reading] (--layout, --follow-links, ...) is for folders. Leave it out."
        )
    if spec == BUNDLED:
        return _Loaded(*_load_bundled(_ASSETS / BUNDLED))
    if colon and prefix == "hf":
        return _Loaded(*read_hub(rest, account))
    if colon and prefix in READERS:
        reader = READERS[prefix]
        return _Loaded(*reader.read(_folder(spec, rest, reader.layout)))
    return _load_folder(_folder(spec, spec), account, reading)


def _folder(spec: str, text: str, layout: str = ALLOWED) -> Path:
    path = Path(text).expanduser() if text.startswith("~/") else Path(text)
    if text.strip() and path.is_dir():
        return path
    if text.strip() and path.exists():
        raise UserError(f"{printable(spec)} is a file, not a folder. Unpack it first if it is an archive.\n{layout}")
    what = "data set and no folder" if layout is ALLOWED else "folder"
    raise UserError(f"there is no {what} called {brief(kept(text))}.\n{layout}")


def _load_bundled(folder: Path) -> tuple[ArrayImages, ArrayImages]:
    """Read the bundled IDX folder; a training image is known by its index in the full data set."""
    train, test = _load_idx(folder)
    indices = (folder / "train_indices.txt").read_text(encoding="utf-8").split()
    return replace(train, keys=tuple(f"train/{index}" for index in indices)), test


def _load_idx(folder: Path) -> tuple[ArrayImages, ArrayImages]:
    train, test = read_idx_split(folder, "train"), read_idx_split(folder, "test")
    if (highest := max(test.labels)) >= len(train.class_names):
        raise UserError(
            f"{printable(folder)}: the test labels go up to {highest}, but training has only the classes "
            f"0 to {len(train.class_names) - 1}. Give files of one data set."
        )
    return train, replace(test, class_names=train.class_names)


@dataclass(frozen=True)
class Reader:
    """A format: what reads a folder of it (training images, test images or None), and what to say where there is none."""

    read: Callable[[Path], tuple[ImageSet, ImageSet | None]]
    layout: str


READERS: dict[str, Reader] = {
    "idx": Reader(_load_idx, LAYOUT),
    **{name: Reader(partial(cifar.read_cifar, version=version), version.layout) for name, version in cifar.VERSIONS.items()},
    "eurosat": Reader(eurosat.read_eurosat, eurosat.LAYOUT),
    "imagenet": Reader(imagenet.read_imagenet, imagenet.LAYOUT),
}


def register_reader(prefix: str, reader: Reader) -> None:
    """Let `--data PREFIX:DIR` be read by `reader.read(DIR)`, which returns the training images and the test images or None.

    Call it before the recipe is run: `register_reader("mine", Reader(read_mine, "mine:DIR is a folder with ..."))`.
    `UserError` if the prefix is taken or is not lower-case letters, digits and hyphens.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]+", prefix):
        raise UserError(f"{brief(prefix)!r} cannot be a prefix. Give two or more lower-case letters, digits or hyphens.")
    if prefix in (taken := (*READERS, "hf")):
        raise UserError(f"there is a reader called {prefix} already. Give yours another name; taken are {', '.join(taken)}.")
    READERS[prefix] = reader


def _load_folder(root: Path, account: Account, reading: Reading) -> _Loaded:
    found = look_through(root, account, follow_links=reading.follow_links)
    if found.is_empty and any(root.glob("*-ubyte*")):
        raise UserError(f"{printable(root)} has no class folders, but files in MNIST's format: give idx:{printable(root)}.")
    parts = find_parts(found, reading, account)
    if VALIDATION in parts and TEST not in parts:  # what there is to measure on
        parts[TEST] = parts.pop(VALIDATION)
        account.notes.append(f"{visible(parts[TEST].name)} is measured on, since there is no test split")
    names = sorted({*parts[TRAIN].classes.values()})
    train = from_part(parts[TRAIN], TRAIN, names, reading.limits)
    test, validation = (
        from_part(_matched(parts[TRAIN], parts[kind], names, account), kind, names, reading.limits) if kind in parts else None
        for kind in (TEST, VALIDATION)
    )
    return _Loaded(train, test, validation)


def _matched(train: SplitPart, part: SplitPart, names: Sequence[str], account: Account) -> SplitPart:
    """Return a split with the classes called as in training; those without an image are noted.

    `UserError` for a class that training does not have, and for no image at all.
    """
    folded = {name.casefold(): name for name in names}
    if len(folded) < len(names):
        folded = {name: name for name in names}
    called = {name: folded.get(name.casefold(), name) for name in set(part.classes.values()) if name not in names}
    if any(now == name for name, now in called.items()):
        raise UserError(
            f"{printable(train.base)} and {printable(part.base)} must have the same class folders; "
            + _difference(names, sorted({*part.classes.values(), *part.empty}), visible(part.name))
        )
    if not part.classes:
        raise UserError(f"{printable(part.base)} has no images. Add some, or remove the folder.")
    account.notes += [
        f"{visible(part.name)}: {visible(name)} is taken for the class {visible(now)}" for name, now in called.items()
    ]
    classes = {path: called.get(name, name) for path, name in part.classes.items()}
    if missing := sorted(set(names) - set(classes.values())):
        account.notes.append(f"{visible(part.name)} has no images of {_listed(missing)}: it is scored on the other classes")
    return replace(part, classes=classes)


def _difference(train: Sequence[str], test: Sequence[str], test_name: str) -> str:
    """Say which classes only one side has, at most five of each."""
    sides = [("missing from", set(train) - set(test)), ("only in", set(test) - set(train))]
    parts = [f"{where} {test_name}: {_listed(sorted(names))}" for where, names in sides if names]
    return "; ".join(parts) + "."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(visible, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _check_classes(spec: str, images: ImageSet) -> None:
    """Raise UserError unless there are two classes or more, with two training images or more in each."""
    names, labels = images.class_names, list(images.labels)
    if len(names) < 2:
        raise UserError(
            f"{printable(spec)} has only one class, {visible(names[0])}. A classifier needs two or more: "
            "add a folder for another class."
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"{printable(spec)} has more than one class called {_listed(twice)}. Give each a name of its own.")
    counts = [0] * len(names)
    for label in labels:
        counts[label] += 1
    if few := [name for name, count in zip(names, counts, strict=True) if count < 2]:
        raise UserError(
            f"{printable(spec)} has fewer than 2 training images of: {_listed(few)}. "
            "Each class needs 2 or more (one is held out): add images or remove the class."
        )
