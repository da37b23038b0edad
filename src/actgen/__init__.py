"""actgen: active generation of training images.

Names are loaded when first used, so that `import actgen` stays cheap.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

_HOMES = {
    "ActiveGeneration": "integrations.active",
    "BestOfN": "generation.best_of_n",
    "Classifier": "classifiers.classifier",
    "ImageSampler": "generation.sampler",
    "Mixture": "data.mixture",
    "Progress": "core.types",
    "Recipe": "experiment.config",
    "Round": "generation.round",
    "Selection": "generation.best_of_n",
    "Store": "data.store.store",
    "UserError": "core.errors",
    "build_recipe": "experiment.config",
    "bundled_generator": "core.assets",
    "create_classifier": "classifiers.classifier",
    "create_strategy": "generation.strategies",
    "hold_out": "data.datasets.splits",
    "load_data": "data.datasets.sources",
    "run": "experiment.run",
}
_FORMER = {"Artist": "ImageSampler", "Chooser": "BestOfN", "Choosing": "Selection"}  # for one release

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _FORMER:
        warnings.warn(f"actgen.{name} is now actgen.{_FORMER[name]}", DeprecationWarning, stacklevel=2)
        name = _FORMER[name]
    if name not in _HOMES:
        raise AttributeError(f"module 'actgen' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
