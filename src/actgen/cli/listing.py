"""`actgen list`: the names that other options take."""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from typing import Annotated

import typer

from ..core.errors import refuse_unknown
from .flags import AsJson, console, show_json


def listing(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="strategies, recipes, presets, filters or models.")],
    like: Annotated[str | None, typer.Argument(metavar="[PART]", help="Only names that contain this.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the names that can be given: strategies, recipes, presets, filters or models.

    actgen list strategies
    actgen list models resnet50
    """
    refuse_unknown("actgen list", kind, KINDS)
    names = {name: note for name, note in KINDS[kind]().items() if like is None or like in name}
    if as_json:
        show_json(names)
        return
    wide = max(map(len, names), default=0)
    for name, note in names.items():
        console.print(f"{name:<{wide}}  {note}".rstrip(), markup=False)


def _strategies() -> dict[str, str]:
    from ..generation.strategies import STRATEGIES

    return {name: _first_sentence(strategy.__doc__) for name, strategy in STRATEGIES.items()}


def _recipes() -> dict[str, str]:
    from ..core.assets import recipes_folder, shipped_recipes

    folder = recipes_folder()
    return {name: _first_comment((folder / f"{name}.toml").read_text(encoding="utf-8")) for name in shipped_recipes()}


def _presets() -> dict[str, str]:
    from ..generation.presets import PRESETS

    return {
        name: f"{preset.scheduler}, {preset.num_inference_steps} steps, guidance scale {preset.guidance_scale:g}"
        for name, preset in PRESETS.items()
    }


def _filters() -> dict[str, str]:
    from ..generation.filters import BUILT_IN, REGISTERED

    return dict.fromkeys(BUILT_IN, "") | dict.fromkeys(REGISTERED, "registered from outside")


def _models() -> dict[str, str]:
    import timm

    from ..classifiers.classifier import OWN_MODELS

    return dict.fromkeys(OWN_MODELS, "bundled, no download") | dict.fromkeys(timm.list_models(), "timm")


KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "strategies": _strategies,
    "recipes": _recipes,
    "presets": _presets,
    "filters": _filters,
    "models": _models,
}


def _first_sentence(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def _first_comment(text: str) -> str:
    comment = takewhile(lambda line: line.startswith("# "), text.splitlines())
    return _first_sentence(" ".join(line.removeprefix("# ") for line in comment))
