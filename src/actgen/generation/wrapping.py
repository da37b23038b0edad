"""A sampler around another one: what it does not say itself is as the other says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from ..core.types import Request
from .sampler import FailedRequest, Sampler

A = TypeVar("A", bound=Sampler)


class Wrapped(Sampler, Generic[A]):
    """Has the settings, the memory and the generator of `sampler`; its refusals are its own."""

    def __init__(self, sampler: A) -> None:
        self.sampler = sampler
        self.sampling, self.bank = sampler.sampling, sampler.bank
        self.failed: list[FailedRequest] = []

    @property
    def batch_size(self) -> int:
        """How many are generated at a time."""
        return self.sampler.batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self.sampler.batch_size = value

    @property
    def together(self) -> int:
        """How many requests come with one yield, at most."""
        return self.sampler.together

    @property
    def facts(self) -> dict[str, Any]:
        """The generator's columns of the manifest."""
        return self.sampler.facts

    def groups(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Return the requests that may share a batch."""
        return self.sampler.groups(requests)
