"""A proxy model: a short training on the real images alone, before the training, for strategies that generate before it.

What it still gets wrong when it is done is what the images do not teach, which is what should be generated. Its seconds are
counted as generation time; they and its steps are in `RunState.proxies` as well.
"""

from __future__ import annotations

import copy
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ..classifiers.mining import Mining
from ..classifiers.predictions import Predictions, predict
from ..core import files
from ..core.parallel import agreeing, ranks
from ..core.rng import derive
from .augment.mixing import Mixing
from .callbacks import SILENT
from .epoch import train_epoch
from .learner import Learner
from .stages import Proxy, ProxyModel
from .training import Training


def train_proxy_model(training: Training, mining: Mining) -> ProxyModel:
    """Return the proxy model of a training; it is kept in the run's folder and read again from there. Notes what it cost."""
    path = training.folder / "checkpoints" / "scout.safetensors"
    try:
        return _proxy(agreeing.of_first(partial(_held, path)), training)
    except (LookupError, TypeError, ValueError, RuntimeError):
        pass  # not there, or not whole: made again, the same
    began = time.perf_counter()
    short, steps = _trained(training, mining.proxy_epochs)
    assert short.learner.running is not None
    predictions, running = predict(short.learner.tested, training.real), short.learner.running.losses_N
    seconds = time.perf_counter() - began
    weights = {f"classifier.{name}": value.contiguous() for name, value in short.learner.tested.state_dict().items()}
    held = {**weights, "logits": predictions.logits_NK, "running": running}
    if ranks.is_first():
        files.write_bytes(path, save(held, metadata={"seconds": str(seconds), "steps": str(steps)}))
    training.state.proxies["scout"] = Proxy(steps, seconds)
    return ProxyModel(short.learner.tested, replace(predictions, running_N=running), seconds)


def _trained(training: Training, epochs: int) -> tuple[Training, int]:
    """Return a short training on the real images, done, and its steps; it starts from the weights of the real one."""
    warmup = training.learner.options.warmup_fraction  # as a share: warm-up epochs of a long training may be all of a short one
    unmixed = Mixing()  # what it doubts is read from its probabilities, which mixing would flatten
    options = replace(training.learner.options, epochs=epochs, warmup=warmup, warmup_epochs=0.0, mixing=unmixed)
    short = Training(
        learner=Learner(
            classifier=copy.deepcopy(training.learner.classifier), options=options, watched=len(training.real.labels)
        ),
        real=training.real,
        extra=training.extra,
        folder=training.folder,
        seed=derive(training.seed, "scout"),
    )
    with closing(short):
        steps = sum(train_epoch(short, epoch, short.mixture(epoch), SILENT.on_batch)[2] for epoch in range(epochs))
    return short, steps


def _held(path: Path) -> tuple[dict[str, Tensor], str, str]:
    """Return the tensors that were kept, the seconds and the steps they took; nothing if the file cannot be read."""
    try:
        with safe_open(path, "pt") as file:
            seconds, steps = str(file.metadata()["seconds"]), str(file.metadata()["steps"])
        return load_file(path), seconds, steps
    except (OSError, SafetensorError, LookupError, TypeError):
        return {}, "", ""


def _proxy(kept: tuple[dict[str, Tensor], str, str], training: Training) -> ProxyModel:
    held, seconds, steps = kept
    labels = torch.tensor(list(training.real.labels))
    classifier = copy.deepcopy(training.learner.classifier)
    classifier.load_state_dict({name.removeprefix("classifier."): value for name, value in held.items() if "." in name})
    proxy = ProxyModel(classifier, Predictions(held["logits"], labels, held["running"]), float(seconds))
    training.state.proxies["scout"] = Proxy(int(steps), proxy.seconds)
    return proxy
