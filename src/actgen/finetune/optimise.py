"""One resumable optimisation loop, a generator: AdamW, warm-up / constant / linear decay, gradient clipping, EMA.

Every step draws from its own random stream, so a run that was interrupted and continued equals one that was not.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn


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
    optimizer = torch.optim.AdamW(parameters, lr=schedule.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    folder.mkdir(parents=True, exist_ok=True)
    state = folder / "state.pt"
    start, seconds = _restore(state, parameters, average, optimizer)
    began = saved = time.monotonic()
    losses: list[str] = []
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_at(step)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, schedule.clip)
        optimizer.step()
        _average(average, parameters, min(schedule.ema, (step + 1) / (step + 10)))
        value = float(loss.detach())
        if value != value:
            raise ArithmeticError(f"the loss is not a number at step {step}: lower the learning rate.")
        if step % 20 == 0:
            losses.append(json.dumps({"step": step, "loss": round(value, 6)}) + "\n")
        now = time.monotonic()
        if now - saved > checkpoint_seconds or step + 1 == schedule.steps:
            _save(state, step + 1, seconds + now - began, parameters, average, optimizer)
            _append(folder / "loss.jsonl", losses)
            losses, saved = [], now
        yield Tick(step + 1, schedule.steps, value)
    with torch.no_grad():
        for parameter, mean in zip(parameters, average, strict=True):
            parameter.copy_(mean)


def seconds_spent(folder: Path) -> float:
    """Return the wall seconds that the optimisation in `folder` has taken so far, over all its sessions."""
    return float(torch.load(folder / "state.pt", weights_only=True)["seconds"])


def _average(average: Sequence[Tensor], parameters: Sequence[Tensor], keep: float) -> None:
    torch._foreach_lerp_(list(average), [p.detach() for p in parameters], 1.0 - keep)


def _restore(
    path: Path, parameters: Sequence[Tensor], average: Sequence[Tensor], optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True)
    with torch.no_grad():
        for name, tensors in (("parameters", parameters), ("average", average)):
            for tensor, saved in zip(tensors, state[name], strict=True):
                tensor.copy_(saved)
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), float(state["seconds"])


def _save(
    path: Path, step: int, seconds: float, parameters: Sequence[Tensor], average: Sequence[Tensor],
    optimizer: torch.optim.Optimizer,
) -> None:  # fmt: skip
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        torch.save({"step": step, "seconds": seconds, "parameters": [p.detach() for p in parameters],
                    "average": list(average), "optimizer": optimizer.state_dict()}, file)  # fmt: skip
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _append(path: Path, lines: Sequence[str]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)
