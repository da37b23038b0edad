"""One step of a pipeline's own call: its schedule, its texts, and its prediction, without a copy of its code.

The call runs with stand-ins for its scheduler and its text encoding and is left by an exception where the answer is known. So
packing, position ids, the sign of the velocity, masks and the form of classifier-free guidance are the pipeline's own.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps

import torch
from torch import Tensor

from .backbone import Foreign

Texts = list[Foreign]
"""What a pipeline's `encode_prompt` returned, call by call."""


class _Planned(Exception):
    """Leaves the call when the schedule is set, before any network runs."""


class _Predicted(Exception):
    """Leaves the call in the scheduler's step, with the prediction; the latents are not decoded."""

    def __init__(self, output: Tensor, sample: Tensor) -> None:
        super().__init__()
        self.output, self.sample = output, sample


@contextmanager
def _as_found(pipeline: Foreign) -> Iterator[dict[str, Foreign]]:
    """Yield the pipeline's attributes to change; they are as before afterwards, with what its call left behind."""
    before = dict(pipeline.__dict__)
    try:
        pipeline.__dict__["_progress_bar_config"] = {"disable": True}
        yield pipeline.__dict__
    finally:
        pipeline.__dict__.clear()
        pipeline.__dict__.update(before)


def _call(pipeline: Foreign) -> Callable[..., object]:
    """Return the function under `@torch.no_grad()`, so that our own mode rules."""
    function: Callable[..., object] = inspect.unwrap(type(pipeline).__call__)
    return function


def plan(pipeline: Foreign, steps: int, told: Mapping[str, object], known: Texts | None = None) -> tuple[Foreign, Texts]:
    """Return the pipeline's scheduler, a copy, with the schedule of `steps` steps set by the pipeline, and the texts of `told`.

    `told`: arguments of the call, with prompts and latents. No network but the text encoders runs, and these do not if the
    texts are `known`.
    """
    scheduler, texts, waiting = copy.deepcopy(pipeline.scheduler), list[Foreign](), iter(known or ())
    set_timesteps, encode = scheduler.set_timesteps, pipeline.encode_prompt

    @wraps(set_timesteps)
    def planned(*args: object, **kwargs: object) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # diffusers hands tensors to NumPy 2
            warnings.simplefilter("ignore", RuntimeWarning)  # levels that cannot be are not finite, which the caller sees
            set_timesteps(*args, **kwargs)
        raise _Planned

    @wraps(encode)
    def recorded(*args: object, **kwargs: object) -> object:
        texts.append(encode(*args, **kwargs) if known is None else next(waiting))
        return texts[-1]

    scheduler.__dict__["set_timesteps"] = planned
    with _as_found(pipeline) as attributes:
        attributes["scheduler"], attributes["encode_prompt"] = scheduler, recorded
        try:
            _call(pipeline)(pipeline, num_inference_steps=steps, output_type="latent", **told)
        except _Planned:
            del scheduler.__dict__["set_timesteps"]
            return scheduler, texts
    raise RuntimeError(f"{type(pipeline).__name__} sets no schedule")


def predict_once(pipeline: Foreign, timestep: Tensor, texts: Texts, told: Mapping[str, object]) -> tuple[Tensor, Tensor]:
    """Return what the pipeline predicts at a timestep, and the sample that its scheduler would have moved.

    `texts` stand in for what `encode_prompt` returns, call by call; the graph to them is kept where the grad mode says so.
    """
    waiting = iter(texts)
    with _as_found(pipeline) as attributes:
        attributes["scheduler"] = _OneStep(pipeline.scheduler.config, timestep)
        attributes["encode_prompt"] = lambda *args, **kwargs: next(waiting)
        try:
            _call(pipeline)(pipeline, num_inference_steps=1, output_type="latent", **told)
        except _Predicted as reached:
            return reached.output, reached.sample
    raise RuntimeError(f"{type(pipeline).__name__} takes no step")


class _OneStep:
    """A scheduler of one timestep, whose step leaves the call."""

    order = 1
    init_noise_sigma = 1.0
    begin_index = step_index = None

    def __init__(self, config: object, timestep: Tensor) -> None:
        self.config = config
        self.timesteps = timestep.reshape(1)
        self.sigmas = torch.tensor([1.0, 0.0], device=timestep.device)

    def set_timesteps(
        self,
        num_inference_steps: object = None,
        device: object = None,
        sigmas: object = None,
        mu: object = None,
        timesteps: object = None,
    ) -> None:
        """Keep the one timestep; diffusers asks this signature what may be told."""

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Begin with the one there is."""

    def scale_model_input(self, sample: Tensor, timestep: object = None) -> Tensor:
        """Return the sample: our coordinates are the network's."""
        return sample

    def step(self, model_output: Tensor, timestep: object, sample: Tensor, **kwargs: object) -> None:
        """Leave the call."""
        raise _Predicted(model_output, sample)
