"""`attentive` and `attentive+contrastive`: guidance where the class words attend (the paper's "AIG"), and away from what was
generated before.
"""

from __future__ import annotations

from .guided import Guided


class Attentive(Guided):
    """Guidance by the attended part of the image."""

    name = "attentive"
    guides = ("image",)


class AttentiveContrastive(Guided):
    """Attentive guidance, and a text gradient away from what was generated before."""

    name = "attentive+contrastive"
    guides = ("image", "contrastive")
