"""Hard example -> request. A strategy is looked up by name in `STRATEGIES`."""

from __future__ import annotations

from ...core.errors import refuse_unknown
from .actgen import ActGen
from .attentive import Attentive, AttentiveContrastive
from .base import Strategy
from .class_conditional import ClassConditional
from .curriculum import Curriculum
from .deliberate_practice import DeliberatePractice
from .guided import Guided
from .image_guided import ImageGuided
from .none import RealOnly
from .not_learned_early import NotLearnedEarly
from .oversample import Oversample
from .real_guidance import RealGuidance
from .selective import Selective
from .text_only import TextOnly

STRATEGIES: dict[str, type[Strategy]] = {
    "none": RealOnly,
    "oversample": Oversample,
    "text-only": TextOnly,
    "class-conditional": ClassConditional,
    "real-guidance": RealGuidance,
    "image-guided": ImageGuided,
    "attentive": Attentive,
    "attentive+contrastive": AttentiveContrastive,
    "actgen": ActGen,
    "deliberate-practice": DeliberatePractice,
    "not-learned-early": NotLearnedEarly,
    "curriculum": Curriculum,
    "selective": Selective,
}


def create_strategy(name: str, *, curriculum: bool = True) -> Strategy:
    """Return the strategy called `name`; `UserError` that lists the names if there is none. `curriculum`: see `guided.py`."""
    refuse_unknown("--strategy", name, STRATEGIES)
    part = STRATEGIES[name]
    return part(curriculum) if issubclass(part, Guided) else part()
