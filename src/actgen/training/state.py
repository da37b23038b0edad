"""How far a run is: all that a stopped run takes up again, from its checkpoint or from what its folder keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..classifiers.predictions import Predictions
from ..core.types import Snapshot
from .distil import Taught
from .stages import Begun, PendingRound, Proxy, ProxyModel, Within


@dataclass(kw_only=True)
class RunState:
    """The epochs that are over (`stats`, a row each) and what is under way.

    Of the epoch under way: `within` is set when it was stopped while it trained, `trained` (its part of the statistics) when it
    has trained and been tested, `begun` when its round has begun. `before`: the seconds of a round before the first epoch.
    `pending`: the round that a second process generates now. `snapshot`: the generated images that are trained on.

    `cross_fitted`, `proxy`, `taught`: what was made before the training to choose what is generated, and by a teacher;
    `proxies` what that took, by name. `predictions`: the last look at the images that are tested on.
    """

    stats: list[dict[str, Any]] = field(default_factory=list)
    within: Within | None = None
    trained: dict[str, Any] | None = None
    begun: Begun | None = None
    before: float | None = None
    pending: PendingRound | None = None
    proxies: dict[str, Proxy] = field(default_factory=dict)
    predictions: Predictions | None = None
    cross_fitted: Predictions | None = None
    proxy: ProxyModel | None = None
    taught: Taught | None = None
    snapshot: Snapshot = field(default_factory=lambda: Snapshot(folder=".", rows=(), labels=()))

    @property
    def start(self) -> int:
        """The next epoch."""
        return len(self.stats)
