"""One resumable optimisation loop, a generator: AdamW, warm-up / constant / linear decay, gradient clipping, EMA.

Every step draws from its own random stream, so a run that was interrupted and continued equals one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import checkpoint
from ..errors import UserError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast: `steps` of `batch_size`, peak `learning_rate`, linear decay over the last `decay` fraction."""

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 100
    decay: float = 0.3
    clip: float = 1.0
    ema: float = 0.999

    def rate(self, step: int) -> float:
        """Return the learning rate of `step` (0-based)."""
        ramp = min(1.0, (step + 1) / min(self.warmup, max(1, self.steps // 10)))
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.learning_rate * ramp * min(1.0, left)


@dataclass(frozen=True)
class Tick:
    """One finished step: `step` of `steps`, its loss."""

    step: int
    steps: int
    loss: float


def optimise(
    module: nn.Module,
    loss_at: Callable[[int], Tensor],
    schedule: Schedule,
    folder: Path,
    *,
    checkpoint_seconds: float = 120.0,
) -> Iterator[Tick]:
    """Minimise `loss_at(step)` over the parameters of `module`, yielding a `Tick` a step.

    At the end `module` holds the exponential moving average of the weights. State is kept in `folder` (state.pt, replaced
    atomically every `checkpoint_seconds`; loss.jsonl); a folder that holds a state is continued.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    average = [p.detach().clone() for p in parameters]
    buffers = list(module.buffers())  # BatchNorm's statistics are state too
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.pt"
    tensors: dict[str, Sequence[Tensor]] = {"parameters": parameters, "average": average, "buffers": buffers}
    start, seconds = _restore(state, tensors, optimizer)
    if start > schedule.steps:
        raise UserError(f"{folder} has already taken {start} steps: ask for at least as many, not {schedule.steps}.")
    began = saved = time.monotonic()
    losses: list[str] = []
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_at(step)
        loss.backward()
        norm, value = float(nn.utils.clip_grad_norm_(parameters, schedule.clip)), float(loss.detach())
        if not math.isfinite(value + norm):
            name = "gradient" if math.isfinite(value) else "loss"
            raise UserError(f"the {name} is not finite at step {step} in {folder}: the data or the learning rate are at fault.")
        optimizer.step()
        _average(average, parameters, min(schedule.ema, (step + 1) / (step + 10)))
        if step % 20 == 0:
            losses.append(json.dumps({"step": step, "loss": round(value, 6)}) + "\n")
        now = time.monotonic()
        if now - saved > checkpoint_seconds or step + 1 == schedule.steps:
            _save(state, step + 1, seconds + now - began, tensors, optimizer)
            _append(folder / "loss.jsonl", losses)
            losses, saved = [], now
        yield Tick(step + 1, schedule.steps, value)
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)


def maybe_compiled(module: nn.Module, compile: bool) -> nn.Module:
    """Return the module, through torch.compile if asked; both share their weights."""
    return torch.compile(module) if compile else module  # type: ignore[return-value]


def seconds_spent(folder: Path) -> float:
    """Return the wall seconds that the optimisation in `folder` has taken so far, over all its sessions."""
    return float(torch.load(folder / "state.pt", weights_only=True)["seconds"])


def _average(average: Sequence[Tensor], parameters: Sequence[Tensor], keep: float) -> None:
    torch._foreach_lerp_(list(average), [p.detach() for p in parameters], 1.0 - keep)


def _restore(path: Path, tensors: Mapping[str, Sequence[Tensor]], optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    state = checkpoint.load(path)
    if state is None:
        return 0, 0.0
    with torch.no_grad():
        for name, held in tensors.items():
            for tensor, saved in zip(held, state.get(name, held), strict=True):
                tensor.copy_(saved)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"])


def _save(
    path: Path, step: int, seconds: float, tensors: Mapping[str, Sequence[Tensor]], optimizer: torch.optim.Optimizer
) -> None:
    held = {name: [tensor.detach() for tensor in some] for name, some in tensors.items()}
    checkpoint.save(path, {"step": step, "seconds": seconds, **held, "optimizer": optimizer.state_dict()})


def _append(path: Path, lines: Sequence[str]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)
