"""One resumable optimisation loop, a generator: AdamW, warm-up / constant / linear decay, gradient clipping, EMA.

Every step generates from its own random stream, so a run that was interrupted and continued equals one that was not.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from ..core import files
from ..core.errors import UserError
from ..core.options import options
from ..core.signals import asked, deferred

SAVING = 20  # a checkpoint may take so much less time than the steps between two of them
LINES = 1000  # of loss.jsonl, about


@options("schedule")
class Schedule:
    """How long and how fast: a linear warm-up, a constant peak and a linear decay."""

    steps: Annotated[int, Field(ge=1, le=10**9, description="Optimiser steps.")]
    batch_size: Annotated[int, Field(ge=1, le=10**6, description="Images a step.")]
    learning_rate: Annotated[float, Field(ge=1e-12, le=10, description="The peak.")]
    warmup: Annotated[int, Field(ge=1, le=10**9, description="Steps in which the rate rises.")] = 100
    decay: Annotated[float, Field(ge=0, le=1, description="Last fraction of the steps, in which the rate falls.")] = 0.3
    clip: Annotated[float, Field(ge=0, le=1e9, description="Largest norm of the gradient.")] = 1.0
    ema: Annotated[float, Field(ge=0, le=0.999999, description="Decay of a moving average of the weights; 0: none.")] = 0.999

    def rate(self, step: int) -> float:
        """Return the learning rate of `step` (0-based)."""
        ramp = min(1.0, (step + 1) / min(self.warmup, max(1, self.steps // 10)))
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.learning_rate * ramp * min(1.0, left)


@dataclass(frozen=True)
class Tick:
    """One finished step: `step` of `steps`, its loss if it has one.

    Within `averaged()` the networks hold the moving average of their weights, if there is one.
    """

    step: int
    steps: int
    loss: float | None = None
    averaged: Callable[[], AbstractContextManager[None]] = nullcontext


def optimise(
    module: nn.Module,
    loss_at: Callable[[int], Tensor],
    schedule: Schedule,
    folder: Path,
    *,
    scaler: torch.amp.GradScaler | None = None,
    checkpoint_steps: int = 0,
    checkpoint_seconds: float = 120.0,
) -> Iterator[Tick]:
    """Minimise `loss_at(step)` over the parameters of `module`, yielding a `Tick` a step.

    At the end `module` holds the exponential moving average of the weights. State is kept in `folder` (state.pt, replaced
    atomically every `checkpoint_seconds`, after every `checkpoint_steps` steps if given, and when the process is asked to
    stop; loss.jsonl); a folder that holds a state is continued. `scaler`: that of float16.
    """
    training = _Training(module, schedule, folder, scaler)
    if training.step > schedule.steps:
        raise UserError(f"{folder} has already taken {training.step} steps: ask for at least as many, not {schedule.steps}.")
    for step in range(training.step, schedule.steps):
        with deferred():
            loss = training.take(loss_at)
            wanted = checkpoint_steps and training.step % checkpoint_steps == 0
            if wanted or training.step == schedule.steps or asked() or training.is_due(checkpoint_seconds):
                training.save()
        yield Tick(step + 1, schedule.steps, loss, training.averaged)
    training.take_average()


class _Training:
    """The moving parts of an optimisation, continued from `folder` if it holds a state."""

    def __init__(self, module: nn.Module, schedule: Schedule, folder: Path, scaler: torch.amp.GradScaler | None) -> None:
        self.schedule, self.folder, self.scaler = schedule, folder, scaler
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters] if schedule.ema else []
        self.buffers = list(module.buffers())  # BatchNorm's statistics are state too
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=schedule.learning_rate, betas=(0.9, 0.99), weight_decay=0.01, fused=True
        )
        self.step, self.seconds = 0, 0.0
        self._losses: list[str] = []
        folder.mkdir(parents=True, exist_ok=True)
        self._restore()
        self._began = self._saved = time.monotonic()
        self._saving = 0.0

    def take(self, loss_at: Callable[[int], Tensor]) -> float:
        """Take the next step and return its loss; `UserError` before what is no number gets into the weights."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.rate(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss = loss_at(self.step)
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        self._move(float(loss.detach()))
        if self.step % max(1, self.schedule.steps // LINES) == 0:
            self._losses.append(json.dumps({"step": self.step, "loss": round(float(loss.detach()), 6)}) + "\n")
        self.step += 1
        return float(loss.detach())

    def _move(self, loss: float) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        norm = float(nn.utils.clip_grad_norm_(self.parameters, self.schedule.clip))
        # in float16 gradients overflow now and then: the scaler leaves such a step out and scales less
        if not math.isfinite(loss) or (self.scaler is None and not math.isfinite(norm)):
            name = "gradient" if math.isfinite(loss) else "loss"
            raise UserError(
                f"the {name} is not finite at step {self.step} in {self.folder}: the data or the learning rate are at fault."
            )
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        if self.average:
            keep = min(self.schedule.ema, (self.step + 1) / (self.step + 10))
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1.0 - keep)

    def is_due(self, seconds: float) -> bool:
        """Whether the last checkpoint is so old that another one should be written."""
        return time.monotonic() - self._saved > max(seconds, SAVING * self._saving)

    def save(self) -> None:
        """Write state.pt, then the losses since the last time."""
        began = time.monotonic()
        held = {name: [tensor.detach() for tensor in some] for name, some in self._tensors.items()}
        scaler = {} if self.scaler is None else {"scaler": self.scaler.state_dict()}
        seconds = self.seconds + began - self._began
        state = {"step": self.step, "seconds": seconds, **held, "optimizer": self.optimizer.state_dict(), **scaler}
        files.save(self.folder / "state.pt", state)
        with (self.folder / "loss.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(self._losses)
        self._losses, self._saved = [], time.monotonic()
        self._saving = self._saved - began

    def take_average(self) -> None:
        """Have the networks hold the average, if there is one."""
        _copy(self.average or self.parameters, self.parameters)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Have the networks hold the average, if there is one, inside the block."""
        own = [p.detach().clone() for p in self.parameters] if self.average else self.parameters
        self.take_average()
        try:
            yield
        finally:
            _copy(own, self.parameters)

    @property
    def _tensors(self) -> dict[str, Sequence[Tensor]]:
        return {"parameters": self.parameters, "average": self.average, "buffers": self.buffers}

    def _restore(self) -> None:
        state = files.load(self.folder / "state.pt")
        if state is None:
            return
        for name, held in self._tensors.items():
            _copy(state.get(name, held), held)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scaler is not None and "scaler" in state:
            self.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])


@torch.no_grad()
def _copy(values: Sequence[Tensor], into: Sequence[Tensor]) -> None:
    for tensor, value in zip(into, values, strict=True):
        if tensor is not value:
            tensor.copy_(value)


def maybe_compiled(module: nn.Module, compile: bool) -> nn.Module:
    """Return the module, through torch.compile if asked; both share their weights."""
    return torch.compile(module) if compile else module  # type: ignore[return-value]


def seconds_spent(folder: Path) -> float:
    """Return the wall seconds that the optimisation in `folder` has taken so far, over all its sessions."""
    return float(torch.load(folder / "state.pt", weights_only=True)["seconds"])
