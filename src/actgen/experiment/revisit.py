"""A run's folder opened again at one of its rounds: what the guides of that round looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from accelerate import PartialState
from PIL import Image

from ..classifiers.classifier import Classifier
from ..core.errors import UserError
from ..core.rows import ManifestLine
from ..core.types import Request
from ..data.datasets.imageset import ImageSet
from ..data.datasets.masks import Masks, open_masks
from ..data.datasets.sources import RealData
from ..data.store.rounds import RoundFiles
from ..diffusion.guides import needs_of
from ..diffusion.guides.bank import MemoryBank
from ..diffusion.guides.guide import BANK, CLASSIFIER, SOURCE
from ..diffusion.guides.image import GIVEN
from ..generation.given_masks import Held
from ..generation.presets import SamplingConfig
from .build import open_classifier, open_data
from .config import Recipe, read_recipe_of


class Revisit:
    """The real images of the run in `folder`, and the classifier and the bank of each round; opened when first needed.

    `rows` are the lines of the run's store; `data` and `masks` say where the real images and their masks are now, if they have
    moved. A source is found by
    its key among all training images, of which the held-out ones are a part.
    """

    def __init__(self, folder: Path, rows: Sequence[ManifestLine], data: str | None = None, masks: str | None = None) -> None:
        self.folder, self.rows, self.data, self.moved_masks = folder, rows, data, masks
        self.files = RoundFiles(folder / "rounds")

    def check(self, request: Request, sampling: SamplingConfig) -> None:
        """Raise `UserError` if something is missing that the request's guides look at."""
        needs = needs_of(request, sampling)
        if (request.guides or needs) and not (self.folder / "recipe.toml").is_file():
            raise UserError(
                f"{request.key} was generated with guides, which look at what its run kept, but {self.folder} holds no "
                "recipe.toml. Give the store inside the folder of the run."
            )
        if SOURCE in needs:
            self._index(request)
        if CLASSIFIER in needs:
            _refuse_missing(self.files.classifier_path(request.round), request)
        if BANK in needs:
            for number in self._rounds_before(request.round):
                _refuse_missing(self.files.latents_path(number), request)

    def check_held(self, request: Request, sampling: SamplingConfig, held: str | None, size: int) -> None:
        """Raise `UserError` if a mask is not the one that was given then; `held` is what the request's line says of it."""
        masks = self.masks_for(sampling)
        if held is None or masks is None or request.source is None:
            return
        image = self.guide_image(request)
        if Held.of(image, masks.of(request.source.key, image), size, sampling.image.keep).digest != held:
            raise UserError(
                f"the mask of {request.source.key} is not the one that {request.key} was generated with (`held` in its "
                "line). Put it back, or say with --masks where the masks of the run are now."
            )

    def masks_for(self, sampling: SamplingConfig) -> Masks | None:
        """Return the run's masks if generated images of these settings need them."""
        return self._masks if sampling.image.mask == GIVEN else None

    @cached_property
    def _masks(self) -> Masks:
        return open_masks(self.moved_masks or self.recipe.masks, self.real, self._data.all_keys)

    def guide_image(self, request: Request) -> Image.Image:
        """Return the real image that a request names."""
        return self.real.image(self._index(request))

    def bank(self, number: int) -> MemoryBank:
        """Return the bank as round `number` found it."""
        bank = MemoryBank()
        for earlier, keys in self._rounds_before(number).items():
            found = []
            for key, label, latents in self.files.latents(earlier):
                bank.add(label, latents)
                found.append(key)
            if found != keys:
                raise UserError(
                    f"{self.files.latents_path(earlier)} holds other images than the store names for that round. "
                    "Put back the file that belongs to this run."
                )
        return bank

    def labels_before(self, number: int) -> list[int]:
        """Return the labels of all that entered the bank before round `number`."""
        return [row["label"] for row in self.rows if row["round"] < number and row["guides"]]

    def classifier(self, number: int) -> Classifier:
        """Return the opponent of round `number`."""
        untrained = replace(self.recipe, model=replace(self.recipe.model, pretrained=False, checkpoint=""))
        classifier = open_classifier(untrained, self.real)
        try:
            classifier.load_state_dict(self.files.classifier(number))
        except RuntimeError as error:
            raise UserError(
                f"{self.files.classifier_path(number)} does not fit {self.recipe.model.name} for the classes of "
                f"{self._spec}. Put back the file and the data that belong to this run."
            ) from error
        return classifier.to(PartialState().device)

    @cached_property
    def recipe(self) -> Recipe:
        """The run's recipe."""
        return read_recipe_of(self.folder)

    @property
    def real(self) -> ImageSet:
        """The run's training images."""
        return self._data.train

    @cached_property
    def _data(self) -> RealData:
        try:
            return open_data(replace(self.recipe, data=self._spec))
        except UserError as error:
            raise UserError(f"{error} The run was trained on these; if they have moved, give --data.") from error

    @property
    def _spec(self) -> str:
        return self.recipe.data if self.data is None else self.data

    @cached_property
    def _indices(self) -> dict[str, int]:
        return {key: index for index, key in enumerate(self.real.keys)}

    def _index(self, request: Request) -> int:
        assert request.source is not None
        index, names = self._indices.get(request.source.key), self.real.class_names
        if index is None or names[self.real.labels[index]] != request.class_name:
            raise UserError(
                f"{request.key} was guided by the image {request.source.key} of class {request.class_name}, which "
                f"is not in {self._spec}. Give the data that the run was trained on with --data."
            )
        return index

    def _rounds_before(self, number: int) -> dict[int, list[str]]:
        """Return the keys of the guided images of every earlier round that had some, in the order of the bank."""
        before: dict[int, list[str]] = {}
        for row in self.rows:
            if row["round"] < number and row["guides"]:
                before.setdefault(row["round"], []).append(row["key"])
        return before


def _refuse_missing(path: Path, request: Request) -> None:
    if not path.is_file():
        raise UserError(
            f"{path} is missing: the guides of {request.key} looked at what it keeps. Runs with generation.replay "
            "= false and older ones have no such files; of these, generate images without guides again, or run the "
            "training again with generation.replay = true and another --out."
        )
