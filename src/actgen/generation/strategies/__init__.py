"""Hard example -> request. A strategy is looked up by name in `STRATEGIES`; `register_strategy` adds one."""

from __future__ import annotations

from ...core.errors import UserError, refuse_unknown
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


def register_strategy(strategy: type[Strategy]) -> None:
    """Let recipes name `strategy`, a class that is called without arguments (a `Guided` one with `curriculum`).

    Call it before the recipe is run: `register_strategy(Mine)`, then `Recipe(strategy=Mine.name, ...)`. A class of a built-in
    strategy's kind may inherit from it. `UserError` if the name is taken.
    """
    name = str(strategy.name)
    if name in STRATEGIES:
        raise UserError(
            f"there is a strategy called {name} already. Give yours another name; taken are {', '.join(STRATEGIES)}."
        )
    STRATEGIES[name] = strategy


def create_strategy(name: str, *, curriculum: bool = True) -> Strategy:
    """Return the strategy called `name`; `UserError` that lists the names if there is none. `curriculum`: see `guided.py`."""
    refuse_unknown("--strategy", name, STRATEGIES)
    part = STRATEGIES[name]
    return part(curriculum) if issubclass(part, Guided) else part()
