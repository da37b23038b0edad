"""An artist around another one: what it does not say itself is as the other says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from ..core.types import Request
from .sampler import Draws, Refusal

A = TypeVar("A", bound=Draws)


class Wrapped(Draws, Generic[A]):
    """Has the settings, the memory and the generator of `artist`; its refusals are its own."""

    def __init__(self, artist: A) -> None:
        self.artist = artist
        self.drawing, self.bank = artist.drawing, artist.bank
        self.refused: list[Refusal] = []

    @property
    def batch_size(self) -> int:
        """How many are drawn at a time."""
        return self.artist.batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.artist.batch_size = value

    @property
    def together(self) -> int:
        """How many requests come with one yield, at most."""
        return self.artist.together

    @property
    def facts(self) -> dict[str, Any]:
        """The generator's columns of the manifest."""
        return self.artist.facts

    def groups(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Return the requests that may share a batch."""
        return self.artist.groups(requests)
