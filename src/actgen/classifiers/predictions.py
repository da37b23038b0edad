"""image -> prediction: what a classifier says about a set of images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import UserError
from ..core.frozen import frozen
from ..core.memory import is_out_of_memory
from ..core.parallel import ranks
from ..data.datasets.imageset import ImageSet, to_pixels
from .classifier import Classifier


@dataclass(frozen=True)
class Predictions:
    """`logits_NK` and `labels_N` of a set of images, in its order.

    `running_N`: the images' running losses in a training, NaN for those it has not seen, where there are any.
    """

    logits_NK: Tensor
    labels_N: Tensor
    running_N: Tensor | None = None

    @property
    def losses_N(self) -> Tensor:
        """Cross entropies in nats; of images in a training their running losses."""
        losses = F.cross_entropy(self.logits_NK, self.labels_N, reduction="none")
        return losses if self.running_N is None else torch.where(self.running_N.isnan(), losses, self.running_N)

    @property
    def predicted_N(self) -> Tensor:
        """Top-1 classes."""
        return self.logits_NK.argmax(dim=1)

    @property
    def right_N(self) -> npt.NDArray[np.bool_]:
        """Whether the class of each image was recognised."""
        right: npt.NDArray[np.bool_] = (self.predicted_N == self.labels_N).numpy()
        return right

    @property
    def accuracy(self) -> float:
        """Top-1 accuracy in [0, 1]."""
        return float((self.predicted_N == self.labels_N).float().mean())

    def class_accuracy(self) -> list[float]:
        """Top-1 accuracy of every class in [0, 1]; NaN for a class without images."""
        right = (self.predicted_N == self.labels_N).double()
        classes = self.logits_NK.shape[1]
        counts = torch.bincount(self.labels_N, minlength=classes)
        return (torch.bincount(self.labels_N, weights=right, minlength=classes) / counts).tolist()


@torch.no_grad()
def predict_pixels(classifier: Classifier, pixels_NCHW: Tensor, batch_size: int = 250) -> Tensor:
    """uint8 images [N, 3, S, S] -> logits [N, K] on the CPU; the classifier's modes come back as found.

    A batch that does not fit into memory is halved.
    """
    return _in_batches(classifier, classifier, pixels_NCHW, batch_size)


@torch.no_grad()
def describe_pixels(classifier: Classifier, pixels_NCHW: Tensor, batch_size: int = 250) -> Tensor:
    """uint8 images [N, 3, S, S] -> what the last layer sees of them, [N, D] on the CPU; as `predict_pixels`."""
    return _in_batches(classifier, classifier.features, pixels_NCHW, batch_size)


def _in_batches(classifier: Classifier, look: Callable[[Tensor], Tensor], pixels_NCHW: Tensor, batch_size: int) -> Tensor:
    parts: list[Tensor] = []
    with frozen(classifier):
        while (done := sum(map(len, parts))) < len(pixels_NCHW):
            batch = pixels_NCHW[done : done + batch_size].to(classifier.mean.device)
            try:
                parts.append(look(batch.float() / 255).float().cpu())
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or batch_size == 1:
                    raise
                batch_size = max(1, len(batch) // 2)
    return torch.cat(parts)


def predict(classifier: Classifier, images: ImageSet, batch_size: int = 250) -> Predictions:
    """Return the classifier's predictions for `images`, fitted to its input size.

    In a run of several processes each takes some of the batches, and all must call this.
    """
    total = len(images.labels)
    if not total:
        raise UserError("there is no image to look at: give one held-out image or more.")

    def logits(start: int) -> Tensor:
        rows = range(start, min(start + batch_size, total))
        return predict_pixels(classifier, to_pixels(images, classifier.image_size, rows, classifier.view))

    parts = ranks.spread(range(0, total, batch_size), logits)
    return Predictions(torch.cat(parts), torch.tensor(list(images.labels)))


def predict_together(classifier: Classifier, pixels_NCHW: Tensor, batch_size: int = 250) -> Tensor:
    """As `predict_pixels`; in a run of several processes each takes some of the batches, and all must call this."""
    if ranks.size() == 1:
        return predict_pixels(classifier, pixels_NCHW, batch_size)
    return torch.cat(ranks.spread(pixels_NCHW.split(batch_size), lambda batch: predict_pixels(classifier, batch, batch_size)))
