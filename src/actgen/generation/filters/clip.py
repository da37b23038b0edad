"""Label consistency by CLIP (Radford et al. 2021), for those who have such a model: zero-shot over the class prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...classifiers.zero_shot import ZeroShot
from ...core.types import Sample
from .base import KEPT, FilterVerdict, FilterView


class ClipConsistency:
    """Refuses a picture whose class is not among the first `top_k` of CLIP's; `model` as `ZeroShot` takes it."""

    name = "clip"

    def __init__(
        self, model: str, top_k: int, class_names: Sequence[str], device: str = "cpu", prompts: Mapping[str, str] | None = None
    ) -> None:
        self.top_k, self.clip = top_k, ZeroShot(model, class_names, device, prompts=prompts, given="filters.clip =")

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        """Ask CLIP which prompt fits."""
        probabilities = self.clip.probabilities([sample.image])[0]
        own = float(probabilities[sample.request.label])
        rank = 1 + int((probabilities > own).sum())
        if rank <= self.top_k:
            return KEPT
        return FilterVerdict(
            filter=self.name, reason=f"{sample.request.class_name} is CLIP's choice {rank} ({own:.3f})", score=round(own, 6)
        )
