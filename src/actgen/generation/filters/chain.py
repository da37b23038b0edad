"""The filters one after the other, and what they look at from round to round."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from ...classifiers.classifier import Classifier
from ...classifiers.zero_shot import ZeroShot
from ...core.types import Sample, Snapshot
from ...data.store.stored import read_stored
from .base import KEPT, Filter, FilterVerdict, FilterView
from .clip import ClipConsistency
from .consistency import Consistency, loaded, moved
from .duplicates import Duplicates
from .options import Filters
from .thumbnails import Album, describe, thumbnails


class Chain:
    """Judges samples: the first rejection wins. Call `begin` at the start of a round, `keep` for every sample that was stored.

    It remembers the averaged classifier and the descriptions of what is stored, each only if a filter asks for it. `kept` is
    the number of images in the store once all that was let through is there.
    """

    def __init__(self, options: Filters, filters: Sequence[Filter]) -> None:
        self.options, self.filters = options, tuple(filters)
        self._averages = any(isinstance(one, Consistency) for one in filters)
        self._remembers = any(isinstance(one, Duplicates) for one in filters)
        self._average: dict[str, Tensor] = {}
        self._stored: dict[int, Album] = {}
        self._predictions = 0  # images of the store that are described in `_stored`
        self._view: FilterView | None = None
        self.kept = 0

    @classmethod
    def empty(cls) -> Chain:
        """Return a chain that lets everything through."""
        return cls(Filters(retries=0), ())

    @property
    def names(self) -> list[str]:
        """The filters' names in their order."""
        return [one.name for one in self.filters]

    @property
    def judges(self) -> dict[str, ZeroShot]:
        """The CLIP models that filters ask, by the setting that names them."""
        clips = [one.clip for one in self.filters if isinstance(one, ClipConsistency)]
        return {"filters.clip": clips[-1]} if clips else {}

    def begin(self, classifier: Classifier, snapshot: Snapshot) -> None:
        """A round begins or goes on, with this classifier and this store."""
        self.kept = len(snapshot)
        if self._averages:
            self._average = moved(self._average, classifier.state_dict(), self.options.average)
        if self._remembers:
            self._catch_up(snapshot)
        self._view = FilterView(loaded(classifier, self._average) if self._averages else classifier, self._stored)

    def judge(self, sample: Sample) -> FilterVerdict:
        """Return the first rejection, or `KEPT`."""
        assert self._view is not None, "begin comes first"
        for one in self.filters:
            if not (verdict := one.judge(sample, self._view)).kept:
                return verdict
        return KEPT

    def keep(self, sample: Sample) -> None:
        """Remember a sample that is stored."""
        self.kept += 1
        if self._remembers:
            self._put(sample.request.label, sample.request.key, sample.image)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a later round looks at and does not find in the store: the averaged weights."""
        return dict(self._average)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned."""
        self._average = dict(state)
        self._stored.clear()
        self._predictions = 0

    def _catch_up(self, snapshot: Snapshot) -> None:
        """Describe what was stored before this process began, or since it was set back."""
        if self._predictions > len(snapshot):
            self._stored.clear()
            self._predictions = 0
        for row in snapshot.rows[self._predictions :]:
            self._put(int(row["label"]), str(row["key"]), read_stored(snapshot.folder, row))

    def _put(self, label: int, key: str, image: Image.Image) -> None:
        self._stored.setdefault(label, Album()).add([key], describe(thumbnails([image])))
        self._predictions += 1
