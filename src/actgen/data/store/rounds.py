"""What the guides of each round looked at, kept in a run's folder so that every image can be generated again.

    FOLDER/NUMBER-classifier.safetensors   the classifier's weights as the opponent of the round's adversarial images
    FOLDER/NUMBER-latents.safetensors      the final latents of the round's guided images, by key

A round that has no such images has no such file. The bank of a round is what the latents of all rounds before it leave in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ...core import files
from ...core.errors import UserError
from ...core.types import Sample

_ORDER = "labels"  # {key: label} in the order of the bank; one entry only: several would be written in any order


@dataclass(frozen=True)
class Remembered:
    """A guided image as the bank is given it: `latents` [C, h, w] float32."""

    key: str
    label: int
    latents: Tensor

    @classmethod
    def of(cls, sample: Sample) -> Remembered:
        """Return what is to be remembered of a sample."""
        return cls(sample.request.key, sample.request.label, sample.latents)


class RoundFiles:
    """The folder `rounds` of a run; the only writer of its files, each of which is written whole or not at all."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def classifier_path(self, number: int) -> Path:
        """Return where the weights of round `number` are, if it had an opponent."""
        return self.folder / f"{number:04d}-classifier.safetensors"

    def latents_path(self, number: int) -> Path:
        """Return where the latents of round `number` are, if it drew guided images."""
        return self.folder / f"{number:04d}-latents.safetensors"

    def keep_classifier(self, number: int, classifier: nn.Module) -> None:
        """Write the weights against which round `number` generates."""
        weights = {name: _plain(value) for name, value in classifier.state_dict().items()}
        files.write_bytes(self.classifier_path(number), save(weights))

    def keep_latents(self, number: int, remembered: Sequence[Remembered]) -> None:
        """Write the latents that round `number` leaves in the bank, in this order."""
        latents = {one.key: _plain(one.latents.float()) for one in remembered}
        labels = json.dumps({one.key: one.label for one in remembered})
        files.write_bytes(self.latents_path(number), save(latents, {_ORDER: labels}))

    def forget_from(self, number: int) -> None:
        """Remove what was kept of round `number` and of all after it, since these will be generated again."""
        for path in sorted(self.folder.glob("[0-9]*-*.safetensors")):
            if int(path.name.partition("-")[0]) >= number:
                path.unlink()

    def classifier(self, number: int) -> dict[str, Tensor]:
        """Return the weights of round `number`; `UserError` if they cannot be read."""
        path = self.classifier_path(number)
        try:
            weights: dict[str, Tensor] = load_file(path)
        except (OSError, SafetensorError) as error:
            raise _unreadable(path, error) from error
        return weights

    def latents(self, number: int) -> Iterator[tuple[str, int, Tensor]]:
        """Yield key, label and latents of the guided images of round `number` in the order of the bank."""
        path = self.latents_path(number)
        try:
            with safe_open(path, framework="pt") as file:
                for key, label in json.loads(file.metadata()[_ORDER]).items():
                    yield key, int(label), file.get_tensor(key)
        except (OSError, SafetensorError, AttributeError, TypeError, KeyError, ValueError, RecursionError) as error:
            raise _unreadable(path, error) from error


class NoRoundFiles(RoundFiles):
    """Keeps nothing: the guided images of such a run cannot be generated again."""

    def __init__(self) -> None:
        super().__init__("")

    def keep_classifier(self, number: int, classifier: nn.Module) -> None:
        """Let it pass."""

    def keep_latents(self, number: int, remembered: Sequence[Remembered]) -> None:
        """Let them pass."""

    def forget_from(self, number: int) -> None:
        """There is nothing."""


def _plain(tensor: Tensor) -> Tensor:
    """Return a copy of its own, in the order in which safetensors writes."""
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} cannot be read ({str(error).partition(chr(10))[0]}). Put the file back as the run wrote it.")
