"""Features of Inception v3 as FID takes them, by torch-fidelity: for figures that others can be compared with."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import PartialState
from torch import Tensor

from ...core.errors import UserError
from ...core.text import first_line
from ...data.datasets.imageset import ImageSet, to_pixels

LARGEST = 299  # what the network sees
_TOGETHER = 32


class Inception:
    """The network and its published weights, which torch-fidelity downloads once."""

    def __init__(self, image_size: int) -> None:
        self.image_size = min(image_size, LARGEST)
        self._network = _open()

    @torch.no_grad()
    def look(self, images: ImageSet) -> Tensor:
        """Return the features [N, 2048] of images, all as squares of one size, whatever they were generated in."""
        total, device = len(images.labels), PartialState().device
        parts = []
        for start in range(0, total, _TOGETHER):
            rows = range(start, min(start + _TOGETHER, total))
            parts.append(self._network(to_pixels(images, self.image_size, rows).to(device))[0].float().cpu())
        return torch.cat(parts)


def _open() -> Any:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3
        from torch_fidelity.utils import create_feature_extractor
    except ImportError as error:
        raise UserError(
            "--fid inception needs torch-fidelity: pip install 'actgen[probe]'. Or leave it out: the Frechet "
            "distance in the classifier's own features is always there."
        ) from error
    try:  # first in the way that runs nothing: torch-fidelity itself would run whatever is in the file
        torch.hub.load_state_dict_from_url(
            URL_INCEPTION_V3, progress=False, check_hash=True, map_location="cpu", weights_only=True
        )
        return create_feature_extractor(
            "inception-v3-compat", ["2048"], cuda=PartialState().device.type == "cuda", verbose=False
        )
    except Exception as error:  # what a network that is not there raises has no end
        raise UserError(
            f"--fid inception: the weights of Inception v3 could not be had ({type(error).__name__}: "
            f"{first_line(error)}). Download {URL_INCEPTION_V3} on a machine with a network and put it into "
            f"{torch.hub.get_dir()}/checkpoints, or leave --fid out."
        ) from error
