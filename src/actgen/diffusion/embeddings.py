"""Textual inversion (Gal et al. 2022): files of learnt words are added to a pipeline's tokenizer and text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..core.errors import UserError
from ..core.text import brief, first_line

_WEBUI = "emb_params"  # one unnamed word: it is called by its file
_XL = {"clip_l": "", "clip_g": "_2"}


class HasText(Protocol):
    """The part of a pipeline that learns a word."""

    def load_textual_inversion(self, weights: dict[str, Tensor], **more: object) -> None:
        """Add a word."""
        ...


def load_embeddings(pipeline: HasText, path: str) -> list[str]:
    """Add the words of a .safetensors file to a pipeline and return them; `UserError` for a file that does not fit it."""
    words = _words(Path(path).expanduser(), path)
    for word, suffix, tensor in words:
        parts = {f"{name}": getattr(pipeline, f"{name}{suffix}", None) for name in ("tokenizer", "text_encoder")}
        try:
            if any(part is None for part in parts.values()):
                raise ValueError("this generator has no second text encoder.")
            pipeline.load_textual_inversion({word: tensor}, token=word, **parts)
        except Exception as error:  # a word that is there already, a length that does not fit, ...
            raise UserError(
                f"loading.embeddings: {brief(path)} cannot be loaded: {first_line(error)} Give a file that was learnt with "
                "this generator."
            ) from error
    return [word for word, _, _ in words]


def _words(path: Path, given: str) -> list[tuple[str, str, Tensor]]:
    """Return (word, suffix of the parts that learn it, embeddings [N, D])."""
    if not path.is_file():
        raise UserError(f"loading.embeddings: there is no file {brief(given)}. Give .safetensors files of textual inversion.")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(
            f"loading.embeddings: {brief(given)} cannot be read: {first_line(error)} Give a .safetensors file; others can run "
            "code when they are opened."
        ) from error
    named = [
        (path.stem if name == _WEBUI or name in _XL else name, _XL.get(name, ""), tensor) for name, tensor in tensors.items()
    ]
    if not named or any(tensor.ndim not in (1, 2) for _, _, tensor in named):
        raise UserError(f"loading.embeddings: {brief(given)} holds no embeddings of words. Give a file of textual inversion.")
    return named
