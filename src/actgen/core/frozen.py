"""Networks that are not ours: borrowed as fixed functions inside a `with`, given back as found, also after an exception."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

_FLAGS = ("training", "gradient_checkpointing", "use_slicing", "use_tiling")


@contextmanager
def borrowed(modules: Sequence[nn.Module], dtype: torch.dtype | None = None) -> Iterator[None]:
    """Borrow networks in eval mode without parameter gradients, and in `dtype` if given.

    On the way out training mode, `requires_grad`, gradient checkpointing, slicing and tiling of every module and the dtype
    and device of every tensor are what they were. A wider dtype loses nothing on the way back.
    """
    flags: list[tuple[nn.Module, str, object]] = [
        (module, name, module.__dict__[name])
        for root in modules
        for module in root.modules()
        for name in _FLAGS
        if name in module.__dict__
    ]
    parameters = [parameter for root in modules for parameter in root.parameters()]
    wants = [parameter.requires_grad for parameter in parameters]
    tensors = [*parameters, *(buffer for root in modules for buffer in root.buffers())]
    kinds = [(tensor.dtype, tensor.device) for tensor in tensors]
    try:
        for root in modules:
            root.eval().requires_grad_(False)
            if dtype is not None:
                _cast(root, dtype)
        yield
    finally:
        for module, name, value in flags:
            setattr(module, name, value)
        for tensor, (kind, device) in zip(tensors, kinds, strict=True):
            if tensor.dtype != kind or tensor.device != device:
                tensor.data = tensor.data.to(device, kind)
        for parameter, want in zip(parameters, wants, strict=True):
            parameter.requires_grad_(want)


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """Borrow one model in eval mode without parameter gradients."""
    with borrowed([model]):
        yield model


def _cast(root: nn.Module, dtype: torch.dtype) -> None:
    """Cast floating-point tensors in place, so that every tensor stays the same object."""
    for tensor in (*root.parameters(), *root.buffers()):
        if tensor.is_floating_point():
            tensor.data = tensor.data.to(dtype)
