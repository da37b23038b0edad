"""The nouns that pass between the rooms; all frozen.

image -> prediction -> HARD EXAMPLE -> REQUEST (of a PLAN) -> SAMPLE -> SNAPSHOT -> batch
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image
from torch import Tensor

from .rows import ManifestLine


@dataclass(frozen=True, kw_only=True)
class Source:
    """A real image: the split it was taken from, its number there, and its name for ever."""

    split: str
    index: int
    key: str


@dataclass(frozen=True, kw_only=True)
class HardExample:
    """A real image of which the classifier has something to learn: one that it got wrong, or one high in the mined order.

    `loss` is the cross entropy in nats; `probability` the classifier's probability of the true label.
    """

    source: Source
    label: int
    predicted: int
    loss: float
    probability: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training stands: `epoch` (0-based, just finished; -1 before the first) of `epochs`; `accuracy` on the images
    that were looked at, in [0, 1].
    """

    epoch: int
    epochs: int
    accuracy: float | None = None


@dataclass(frozen=True, kw_only=True)
class Request:
    """An image to be generated. With the generator's weights, the sampling settings and what its guides look at (the source
    image, the bank and the classifier of that round) it is enough to generate the same image again.

    `guides` names the guides that are on (`diffusion/guides`); none of them is plain text-to-image. `strength` below 1 starts
    from the source image, noised, and takes that share of the steps (image-to-image); 1 starts from noise.
    """

    key: str
    label: int
    class_name: str
    prompt: str
    seed: int
    strategy: str
    round: int
    source: Source | None = None
    guides: tuple[str, ...] = ()
    strength: float = 1.0

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Request:
        """Return the request of which `data` is the `dataclasses.asdict`."""
        return cls(**{**data, "guides": tuple(data["guides"]), "source": data["source"] and Source(**data["source"])})


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A round before it is generated: with the state of the training it is enough to generate it, or the rest of it.

    `number` is the round; `accuracy` that of the classifier on the images that were looked at, in [0, 1]; `confidences` the
    probability that it gave to the true label of the sources, by key; `images` were in the store, `rejected` in the rejection
    log. `mistaken_for`: the class that it took each source for, by key.
    """

    number: int
    requests: tuple[Request, ...]
    accuracy: float | None
    confidences: Mapping[str, float]
    images: int
    rejected: int = 0
    mistaken_for: Mapping[str, int] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """What tells this plan from others."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Plan:
        """Return the plan of which `data` is the `dataclasses.asdict`."""
        return cls(**{**data, "requests": tuple(map(Request.from_data, data["requests"]))})


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A generated image with what was measured while generating it.

    `latents` [C, h, w] float32; `mask` [h, w] in [0, 1], where the image guide pulled (None without it); `seconds` is this
    image's share of its batch. `regenerated`: why it was generated again in higher precision, "" if it was not. `candidates`:
    how many generated images it was chosen from; `class_margin`: the margin that the generator gives its class, in [-1, 1],
    or its probability by CLIP, in [0, 1], where one was asked. `held`: sha256 of the pixels that are its source's
    (`generation/given_masks.py`), where a mask was given.
    """

    request: Request
    image: Image.Image
    latents: Tensor
    mask: Tensor | None
    seconds: float
    regenerated: str = ""
    candidates: int = 1
    class_margin: float | None = None
    held: str | None = None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """An immutable view of a store: the manifest lines that were committed when it was taken, read when asked for.

    `labels` are those of the lines, known without reading them.
    """

    folder: str
    rows: Sequence[ManifestLine]
    labels: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)
