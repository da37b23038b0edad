"""actgen: active generation of training images.

Names are loaded when first used, so that `import actgen` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "ActiveGeneration": "active",
    "Artist": "sampling",
    "Chooser": "selection",
    "Choosing": "selection",
    "Classifier": "classify.classifier",
    "Mixture": "data.mixture",
    "Progress": "records",
    "Recipe": "recipe",
    "Round": "synthesis",
    "Store": "data.store",
    "UserError": "errors",
    "build_recipe": "recipe",
    "bundled_generator": "shipped",
    "create_classifier": "classify.classifier",
    "create_strategy": "strategies",
    "hold_out": "data.splits",
    "load_data": "data.sources",
    "run": "runs",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'actgen' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
