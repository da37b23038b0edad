"""torch.compile for a UNet that is not ours: calls go through a compiled copy of its code, the module stays as it is."""

from __future__ import annotations

from types import CodeType, FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from .weights import hash_networks


class CompiledUNet:
    """Calls of `unet` without a gradient, compiled when the first one comes, once for all batches of two images and more.

    On a CPU the weights become constants of the compiled code, which packs them for its convolutions. So whoever may have
    changed them says `refresh()` before the next call.
    """

    def __init__(self, unet: nn.Module) -> None:
        self.unet = unet
        self.freezing = next(unet.parameters()).device.type == "cpu"
        self._places: tuple[object, ...] = ()
        self._hash = ""
        self._versions = 0
        self.dtype: torch.dtype | None = None  # nothing is compiled for

    def refresh(self) -> None:
        """Notice other weights than those that were compiled; first by where they lie, which costs nothing."""
        tensors = [*self.unet.parameters(), *self.unet.buffers()]
        places = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors) if self.freezing else ()
        if self._versions and places == self._places:
            return
        found = hash_networks([self.unet]) if self.freezing else ""
        if not self._versions or found != self._hash:
            self._versions += 1
            self._function: Any = torch.compile(self._fresh())
        self._places, self._hash, self.dtype = places, found, next(self.unet.parameters()).dtype

    def __call__(
        self, x: Tensor, timestep: Tensor, text: Tensor, conditioning: Tensor | None, added: dict[str, Tensor] | None
    ) -> Tensor:
        """Return the output [B, C, h, w] as the UNet would."""
        x = x.contiguous()  # one layout, one graph
        for tensor in (x, text, conditioning, *(added or {}).values()):
            if tensor is not None:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)
        with torch._inductor.config.patch(freezing=self.freezing):
            out: Tensor = self._function(x, timestep, text, conditioning, added)
        return out

    def _fresh(self) -> Any:
        """Return the call as a function with code of its own: torch keeps what it compiled with the code, not with us."""
        unet = self.unet

        def call(
            x: Tensor, timestep: Tensor, text: Tensor, conditioning: Tensor | None, added: dict[str, Tensor] | None
        ) -> Any:
            return unet(x, timestep, text, timestep_cond=conditioning, added_cond_kwargs=added, return_dict=False)[0]

        code: CodeType = call.__code__.replace(co_name=f"unet_{id(self)}_{self._versions}")
        return FunctionType(code, call.__globals__, code.co_name, None, call.__closure__)
