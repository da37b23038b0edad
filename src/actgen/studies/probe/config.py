"""What is asked of a probe, and what its numbers depend on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...experiment.config import to_toml
from .candidates import ProbeCandidate
from .judge import WEIGHTS, JudgeTraining, digest

FORMAT = 1  # of the measures: those of another are measured again


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is asked: which candidates, on which data, measured how.

    `count`: generated images a candidate, evenly over the classes. `classifier`: folder of a finished run; None: `learner`
    trains one. `clip`: folder or id of a CLIP model, "" for none. `inception`: FID too. `train`: train a classifier on the
    generated images alone.
    """

    data: str
    candidates: tuple[ProbeCandidate, ...]
    learner: JudgeTraining
    count: int = 200
    seed: int = 0
    classifier: Path | None = None
    clip: str = ""
    inception: bool = False
    train: bool = False
    on_bad_image: str = "refuse"

    @cached_property
    def judge(self) -> str:
        """Which classifier looks at the generated images: a digest of its weights, or of how it is trained."""
        return short_digest(self._learning if self.classifier is None else digest(self.classifier / WEIGHTS))

    @property
    def _learning(self) -> str:
        return f"{to_toml(self.learner.recipe)}{self.learner.epochs_given}"

    @cached_property
    def how(self) -> dict[str, object]:
        """What numbers depend on beside the generated images and the data."""
        return {
            "format": FORMAT,
            "count": self.count,
            "seed": self.seed,
            "classifier": str(self.classifier or ""),
            "judge": self.judge,
            "clip": self.clip,
            "inception": self.inception,
            "train": self.train,
            "learning": short_digest(self._learning),
        }

    @property
    def facts(self) -> dict[str, object]:
        """Everything that was asked, as in probe.json."""
        return {"data": self.data, "on_bad_image": self.on_bad_image, **self.how, "candidates": self.recipes}

    @property
    def recipes(self) -> dict[str, str]:
        """The recipes of the candidates by name, as TOML."""
        return {one.name: one.toml for one in self.candidates}


def short_digest(*parts: object) -> str:
    """Return 16 hexadecimal digits that tell these parts from others."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
