"""Every name by which timm's models go: `resnet18`, `timm/resnet18.a1_in1k`, `hf-hub:OWNER/NAME`, `local-dir:FOLDER`."""

from __future__ import annotations

from typing import Any

from ..core.errors import UserError
from ..core.nearest import nearest
from ..core.text import brief, first_line

_SOURCES = ("hf-hub:", "hf_hub:", "local-dir:")


def plain_name(name: str) -> str:
    """Return the name that timm knows a model by, where it is its own: "hf-hub:timm/resnet18.a1_in1k" is "resnet18.a1_in1k"."""
    own = next((name.removeprefix(prefix) for prefix in _SOURCES[:2] if name.startswith(prefix)), name)
    return own.removeprefix("timm/") if own.startswith("timm/") else name


def published(name: str) -> Any:
    """Return what timm knows of the weights of a model: input size, mean, std; None if there is no such model or tag.

    `UserError` for a hub id or a folder whose configuration cannot be had.
    """
    import timm

    if name.startswith(_SOURCES):
        return _configured(name)
    try:
        return timm.get_pretrained_cfg(name) if timm.is_model(name.split(".")[0]) else None
    except RuntimeError:
        return None


def _configured(name: str) -> Any:
    from timm.models import PretrainedCfg
    from timm.models._hub import load_model_config_from_hf, load_model_config_from_path

    source, _, where = name.partition(":")
    try:
        read = load_model_config_from_path if source == "local-dir" else load_model_config_from_hf
        return PretrainedCfg(**read(where)[0])
    except Exception as error:  # what a hub or a folder that is not there raises has no end
        raise UserError(
            f"--model {brief(name)}: its configuration cannot be had ({first_line(error)}). Give a folder with timm's "
            "config.json, an id of the hub with one (needs the network), or a timm name."
        ) from error


def near(name: str) -> str:
    """Return the names that timm knows that are nearest to one that it does not know, with commas between."""
    import timm

    return ", ".join(nearest(name.partition(".")[0], timm.list_models()))
