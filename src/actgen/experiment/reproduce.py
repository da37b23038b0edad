"""`actgen generate --from-manifest`: images of a store once more, from their manifest lines and what their guides looked at.

An image is generated in the batch in which it was first generated. Alone it is the same picture up to rounding (1e-6 in its
latents), which moves a grey level in one image of some dozens. So it is for an image that was chosen from several
(`best_of_n.py`): its batch held candidates of which nothing is kept.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from PIL import Image

from ..core.errors import UserError
from ..core.frozen import frozen
from ..core.lock import locked
from ..core.options import fill
from ..core.rows import ManifestLine, RequestColumns
from ..core.types import Request, Sample, Source
from ..data.datasets.decoding import read_image
from ..data.store.chain import CHAIN
from ..data.store.columns import current
from ..data.store.manifest import Manifest
from ..data.store.rejections import in_order, read_rejections
from ..data.store.store import MANIFEST, Store, refuse_no_store, refuse_other_folder
from ..diffusion.guides import needs_of
from ..diffusion.guides.bank import MemoryBank
from ..diffusion.guides.guide import BANK, CLASSIFIER
from ..diffusion.guides.image import OWN
from ..diffusion.loading import Loading
from ..diffusion.pipeline import PipelineAdapter
from ..generation.batching import Kind, Opener
from ..generation.presets import SamplingConfig
from ..generation.sampler import ImageSampler
from ..generation.sampling_context import SamplingContext
from ..generation.strategies.retry import attempt_of
from .build import open_generator
from .revisit import Revisit

Row = RequestColumns
_LATER = ("strength",)  # not in lines of earlier versions
_LINE = ("key", "file_name", "sha256", "label", "class_name", "prompt", "seed", "strategy", "round", "guides", "source")
_FACTS = ("guidance", "generator", "generator_hash")


@dataclass(frozen=True)
class Regenerated:
    """An image generated again: by how many grey levels it differs at most from the stored one, in how many of its pixels.

    (0, 0) if it is identical; None if it is not and the stored image is gone.
    """

    key: str
    differs: tuple[int, int] | None


def regenerate(
    folder: Path,
    keys: Sequence[str],
    out: Path,
    *,
    data: str | None = None,
    generator: str | None = None,
    masks: str | None = None,
) -> Iterator[Regenerated]:
    """Generate the images `keys` of the store `folder` again into the store `out`, each with its manifest line.

    `data`, `masks` and `generator` say where the run's data and masks and the generator are now, if they have moved. What is
    missing is found before the first image is generated.
    """
    manifest = _open(folder)
    rows, wanted = manifest.rows(), _choose(manifest, keys, folder)
    refuse_other_folder(out)
    if out.resolve() == folder.resolve():
        raise UserError(f"--out {out} is the store itself. Give another folder for the images generated again.")
    adapter = _open_generator(generator, list(wanted.values()))
    run = Revisit(folder.parent, rows, data, masks)
    batches = _batches(adapter, run, in_order(map(current, rows), read_rejections(folder.parent)), wanted)
    for row in [*wanted.values(), *(row for batch in batches for row in batch)]:
        run.check(request_of(row), sampling_of(row))
        run.check_held(request_of(row), sampling_of(row), row.get("held"), adapter.image_size)
    with locked(out):
        store = Store(out)
        for batch in batches:
            for sample in _generate(adapter, batch, run):
                if sample.request.key in wanted:
                    yield _keep(store, sample, wanted[sample.request.key], folder)


def request_of(row: Row) -> Request:
    """Return the request that a manifest line was generated from."""
    try:
        source = None if row["source"] is None else Source(**row["source"])
    except TypeError as error:
        raise UserError(
            f"{row['key']}: its source is {row['source']!r}, not an object with split, index and key. Restore the "
            "line in the manifest."
        ) from error
    return Request(
        key=row["key"],
        label=row["label"],
        class_name=row["class_name"],
        prompt=row["prompt"],
        seed=row["seed"],
        strategy=row["strategy"],
        round=row["round"],
        source=source,
        guides=tuple(row["guides"]),
        strength=float(row.get("strength", 1.0)),
    )


def sampling_of(row: Row) -> SamplingConfig:
    """Return the settings that a manifest line was generated with; those that it does not name have their defaults.

    But the guides of earlier versions, whose lines name no noise, had their own.
    """
    try:
        sampling = fill(SamplingConfig(), _complete(current(row)["guidance"]))
    except UserError as error:
        raise UserError(
            f"the settings of {row['key']} cannot be used: {error} Another version of actgen may have generated it; use "
            f"that one."
        ) from error
    return sampling


def _complete(guidance: Mapping[str, object]) -> Mapping[str, object]:
    """Return a line's settings; before there was a choice, guides had a noise of their own."""
    if not isinstance(guidance, Mapping) or not isinstance(image := guidance.get("image"), Mapping):
        return guidance
    return {**guidance, "image": {"noise": OWN, **image}}


def _open(folder: Path) -> Manifest:
    refuse_no_store(folder, "--from-manifest")
    path = folder / MANIFEST
    manifest = Manifest(path)
    if not len(manifest):
        raise UserError(f"--from-manifest {folder} holds no images. Give a store that does.")
    for row in manifest.rows():
        if missing := [name for name in (*_LINE, *_FACTS) if name not in row]:
            raise UserError(f"{path}: the line of {row['key']} has no {', '.join(missing)}. Restore it or remove it.")
    return manifest


def _choose(manifest: Manifest, keys: Sequence[str], folder: Path) -> dict[str, ManifestLine]:
    if not keys:
        first = next(iter(manifest.keys()))
        raise UserError(
            f"--from-manifest needs the key of an image in {folder}, for example --key {first}; --key may be repeated."
        )
    wanted: dict[str, ManifestLine] = {}
    for key in keys:
        if (row := manifest.row(key)) is None:
            near = difflib.get_close_matches(key, manifest.keys(), 3) or list(manifest.keys())[:3]
            raise UserError(
                f"{folder} holds no image {key!r}. Near that: {', '.join(near)}; {folder / MANIFEST} names all {len(manifest)}."
            )
        wanted[key] = current(row)
    return wanted


def _batches(
    adapter: PipelineAdapter, run: Revisit, generated: Iterable[Row], wanted: Mapping[str, ManifestLine]
) -> list[Sequence[Row]]:
    """Return the batches in which the wanted images were generated: all that was `generated`, in that order, rejected or not.

    Every attempt at what the filters rejected had batches of its own.
    """

    def shared(row: Row) -> str:
        return repr((row["round"], attempt_of(row["key"]), row["guidance"]))

    alike: dict[str, list[Row]] = {shared(row): [] for row in wanted.values()}
    for row in generated:
        if (members := alike.get(shared(row))) is not None:
            members.append(row)
    batches: list[Sequence[Row]] = []
    for members in alike.values():
        batches += [batch for batch in _split(adapter, run, members) if any(row["key"] in wanted for row in batch)]
    return batches


def _split(adapter: PipelineAdapter, run: Revisit, rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Split the lines of a round into batches as `ImageSampler.generate` does: by the guides that act, which the
    bank decides too.
    """
    bank, sampling = MemoryBank(), sampling_of(rows[0])
    for label in run.labels_before(rows[0]["round"]):
        bank.add(label, torch.zeros(1))  # here it only counts that something is there
    opener = Opener(adapter, sampling, bank)
    groups: dict[Kind, list[Row]] = {}
    for row in rows:
        groups.setdefault(opener.kind(request_of(row)), []).append(row)
    for group in groups.values():
        for start in range(0, len(group), sampling.batch_size):
            yield group[start : start + sampling.batch_size]


def _open_generator(given: str | None, rows: Sequence[Row]) -> PipelineAdapter:
    """Open the generator that made the images; `UserError` if its weights are others now."""
    name = given or rows[0]["generator"]
    try:
        classes, device = sorted({row["class_name"] for row in rows}), str(PartialState().device)
        adapter = open_generator(name, classes, device, fill(Loading(), rows[0].get("loading", {})))
    except UserError as error:
        raise UserError(
            f"{error} {rows[0]['key']} was generated by {rows[0]['generator']}; if that has moved, give --generator."
        ) from error
    for row in rows:
        if row["generator_hash"] != adapter.weights_hash:
            raise UserError(
                f"the generator {name} has other weights than the one that made {row['key']}: "
                f"{adapter.weights_hash[:12]} instead of {row['generator_hash'][:12]} (generator_hash). Give that "
                "one with --generator."
            )
    return adapter


def _generate(adapter: PipelineAdapter, batch: Sequence[Row], run: Revisit) -> Iterator[Sample]:
    requests, sampling = [request_of(row) for row in batch], sampling_of(batch[0])
    number = requests[0].round
    needs = frozenset[str]().union(*(needs_of(request, sampling) for request in requests))
    sampler = ImageSampler(adapter, sampling, run.bank(number) if BANK in needs else None, run.masks_for(sampling))
    if CLASSIFIER not in needs:
        yield from sampler.generate(requests, SamplingContext(guide_image=run.guide_image))
        return
    classifier = run.classifier(number)
    with frozen(classifier):
        yield from sampler.generate(requests, SamplingContext(guide_image=run.guide_image, classifier=classifier))


def _keep(store: Store, sample: Sample, row: ManifestLine, folder: Path) -> Regenerated:
    again = store.add(sample, {name: value for name, value in row.items() if name not in (*_LINE, *_LATER, CHAIN)})
    same = again["sha256"] == row["sha256"]
    return Regenerated(row["key"], (0, 0) if same else _difference(sample.image, folder / row["file_name"]))


def _difference(image: Image.Image, path: Path) -> tuple[int, int] | None:
    """Return the largest difference in grey levels and the number of pixels that differ; None if `path` cannot be read."""
    try:
        stored = read_image(path)
    except UserError:
        return None
    if stored.size != image.size:
        return None
    apart = np.abs(np.asarray(stored, dtype=np.int16) - np.asarray(image, dtype=np.int16))
    return int(apart.max()), int((apart.max(axis=2) > 0).sum())
