"""`image-guided`: misclassified images generated anew, guided by the whole image (the paper's "IG": equation (1), mask 1)."""

from __future__ import annotations

from .guided import Guided


class ImageGuided(Guided):
    """Guidance by the whole image."""

    name = "image-guided"
    guides = ("whole-image",)
