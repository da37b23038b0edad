"""`class-conditional`: balanced offline generation (Azizi et al. 2023, "Synthetic Data from Diffusion Models Improves ImageNet
Classification"): all images before the training starts.

Deviations: they fine-tune the generator on the training set first; here that is a command of its own (`actgen finetune`), whose
result is given as the generator. They generate a multiple of the training set and tune the guidance scale by the accuracy of a
classifier trained on the generated images alone; here the budget and `[sampling]` say both.
"""

from __future__ import annotations

from .base import BEFORE
from .text_only import TextOnly


class ClassConditional(TextOnly):
    """Generates every class equally often, without guides, all before the first epoch."""

    name = "class-conditional"
    when = BEFORE
    candidates = 1
