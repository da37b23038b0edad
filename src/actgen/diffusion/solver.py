"""The way from noise to image as one linear recurrence, for the sample and for its guide alike.

    x_{prev} = a * x0 + m * x0_last + b * x_t + s * n,        n ~ N(0, I)                                         (1)

in the coordinates that the network reads, x_t = signal x0 + level e, whatever coordinates a scheduler was written in:
signal^2 + level^2 = 1 for variance-preserving schedules, signal + level = 1 for flow matching (Lipman et al. 2023). x0_last is
the x0 of the step before (m = 0 but in multistep solvers). Schedulers are tables of coefficients (`solvers.py`,
`flow_solvers.py`). A guide is a trajectory whose x0 is known: it advances by (1) with the same n, so no scheduler is forked.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

FLOW = "flow"


@dataclass(frozen=True, kw_only=True)
class Solver:
    """`timesteps` [N] from noisy to clean, as the network is told them, and the coefficients of (1), each [N], float64, CPU.

    `signal` and `level`: what the clean latent and unit noise are multiplied by at each timestep. `start`: what unit noise is
    multiplied by at the beginning. `prediction_type` "flow" is the velocity e - x0.
    """

    timesteps: Tensor
    signal: Tensor
    level: Tensor
    x0_weight: Tensor
    x_weight: Tensor
    noise_weight: Tensor
    memory_weight: Tensor
    prediction_type: str
    clip: float | None = None
    start: float = 1.0

    def __len__(self) -> int:
        return len(self.timesteps)

    def x0(self, x: Tensor, output: Tensor, index: int) -> Tensor:
        """Return the predicted clean latent from the network's `output` at step `index` (same shape as `x`)."""
        signal, level = float(self.signal[index]), float(self.level[index])
        if self.prediction_type == FLOW:
            return x - level * output
        if self.prediction_type == "epsilon":
            output = (x - level * output) / signal
        elif self.prediction_type == "v_prediction":
            output = signal * x - level * output
        return output if self.clip is None else output.clamp(-self.clip, self.clip)

    def first(self, strength: float) -> int:
        """Return the step that image-to-image of `strength` in (0, 1] begins with; 0, the noisiest, for 1 (SDEdit: Meng et al.
        2022). Pipelines of flow matching round down what is skipped, not what is done.
        """
        if self.prediction_type == FLOW:
            return int(max(len(self) - min(len(self) * strength, len(self)), 0))
        return len(self) - min(len(self), max(1, int(strength * len(self))))

    def enter(self, noise: Tensor, x0: Tensor | None = None, index: int = 0) -> Tensor:
        """Return what enters step `index`: noise alone, or a sample of q(x_t | x0) if a clean latent `x0` is known."""
        if x0 is None:
            return self.start * noise
        noised: Tensor = float(self.signal[index]) * x0 + float(self.level[index]) * noise
        return noised

    def advance(self, x: Tensor, x0: Tensor, noise: Tensor, index: int, last: Tensor | None = None) -> Tensor:
        """Return x at the next timestep by (1); `last` is the x0 of the step before, None in a first step (x0 itself)."""
        weights = (self.x0_weight, self.x_weight, self.noise_weight, self.memory_weight)
        a, b, s, m = (float(weight[index]) for weight in weights)
        moved = a * x0 + b * x
        if s > 0:
            moved = moved + s * noise
        if m:
            moved = moved + m * (x0 if last is None else last)
        return moved

    def uses_noise(self) -> bool:
        """Whether any step adds noise."""
        return bool((self.noise_weight > 0).any())
