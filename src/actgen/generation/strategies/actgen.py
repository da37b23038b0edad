"""`actgen`: variants of what the classifier gets wrong (Active Generation for Image Classification, ECCV 2024): all guides."""

from __future__ import annotations

from .guided import Guided


class ActGen(Guided):
    """Generates misclassified images anew, guided by them, by what was generated before and by the classifier."""

    name = "actgen"
    guides = ("image", "contrastive", "adversarial")
