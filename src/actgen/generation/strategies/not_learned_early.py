"""`not-learned-early`: faithful variants of the training images that early epochs do not learn (TADA, arXiv 2505.21574).

Deviations: they call an image not learned by its output in an early epoch, and cluster per class, once; here an image is not
learned early if its running loss is among the highest 35 percent, seen anew in each round. They generate before a
second training from scratch; here the rounds belong to one training, as for every other strategy. Their image-to-image strength
is kept low; here it is 0.4 of the schedule.
"""

from __future__ import annotations

from ...classifiers.mining import TRAINING, Mining
from .real_guidance import RealGuidance


class NotLearnedEarly(RealGuidance):
    """Image-to-image of the training images with the highest running loss."""

    name = "not-learned-early"
    mining = Mining(pool=TRAINING, by="loss", share=0.35)
    strength = 0.4
