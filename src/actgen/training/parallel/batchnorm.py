"""BatchNorm over a batch that several processes share: the statistics are those of the whole batch, as with one process.

torch's `SyncBatchNorm` does the same, on GPUs only and as another module; here the model stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ...core.parallel import ranks


@contextmanager
def shared_statistics() -> Iterator[None]:
    """Let every BatchNorm in the block that learns take its statistics over all ranks; nothing with one process."""
    if ranks.size() == 1:
        yield
        return
    with _SharedStatistics():
        yield


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a model looks at a batch as a whole when it trains."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())


class _SharedStatistics(TorchFunctionMode):
    """Calls `_batch_norm` instead of torch's."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return (_batch_norm if func is F.batch_norm else func)(*args, **(kwargs or {}))


def _batch_norm(
    images: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """As `F.batch_norm` of [B, C, ...]."""
    if not training:
        return F.batch_norm(images, running_mean, running_var, weight, bias, False, momentum, eps)
    exact = images if images.dtype == torch.float64 else images.float()  # as torch does in mixed precision
    mean, var, count = _statistics(exact.detach())
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean.dtype), momentum)
            running_var.lerp_((var * count / (count - 1)).to(running_var.dtype), momentum)
    normal: Tensor = _Normalise.apply(exact, mean, (var + eps).rsqrt(), count)
    shape = [1, -1, *[1] * (images.ndim - 2)]
    scaled = normal if weight is None else normal * weight.view(shape)
    return (scaled if bias is None else scaled + bias.view(shape)).to(images.dtype)


def _statistics(images: Tensor) -> tuple[Tensor, Tensor, float]:
    """Return mean [C], variance [C] and count over the images of all ranks (Chan et al. 1979)."""
    over = [0, *range(2, images.ndim)]
    var, mean = torch.var_mean(images, over, correction=0)
    counts = torch.full_like(mean, images.numel() / images.shape[1])
    mean_RC, var_RC, count_RC = ranks.gather_on_device(torch.stack([mean, var, counts])).unbind(1)
    count_C = count_RC.sum(0)
    whole = (mean_RC * count_RC).sum(0) / count_C
    return whole, ((var_RC + (mean_RC - whole) ** 2) * count_RC).sum(0) / count_C, float(count_C[0])


class _Normalise(torch.autograd.Function):
    """(x - mean) / deviation, where mean and deviation depend on the x of all ranks."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, mean: Tensor, scale: Tensor, count: float) -> Tensor:
        shape = [1, -1, *[1] * (images.ndim - 2)]
        normal = (images - mean.view(shape)) * scale.view(shape)
        ctx.save_for_backward(normal, scale)
        ctx.count = count
        return normal

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        normal, scale = ctx.saved_tensors
        shape, over = [1, -1, *[1] * (slope.ndim - 2)], [0, *range(2, slope.ndim)]
        sums = torch.stack([slope.sum(over), (slope * normal).sum(over)])
        along, across = (ranks.gather_on_device(sums).sum(0) / ctx.count).unbind(0)
        return scale.view(shape) * (slope - along.view(shape) - normal * across.view(shape)), None, None, None
