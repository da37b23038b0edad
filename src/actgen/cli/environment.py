"""`actgen env`: what a report of a fault needs: versions, devices, where the source comes from."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

from .flags import AsJson, console, show_json

PACKAGES = ("torch", "torchvision", "timm", "diffusers", "transformers", "accelerate", "safetensors", "pillow", "numpy")
OPTIONAL = ("peft", "datasets", "ray", "lightning", "wandb", "mlflow", "trackio", "tensorboard")


def environment(as_json: AsJson = False) -> None:
    """Print versions, devices and the commit: what a report of a fault needs.

    actgen env --json
    """
    facts = found()
    if as_json:
        show_json(facts)
        return
    for name, value in facts.items():
        console.print(f"{name:<16}{value}", markup=False)


def found() -> dict[str, str]:
    """Return the facts by name, those of packages that are not there left out."""
    import torch

    from ..core.machine import machine
    from ..core.provenance import source_commit

    here = machine()
    packages = {name: _version(name) for name in (*PACKAGES, *OPTIONAL)}
    return {
        "actgen": version("actgen"),
        "source": source_commit(),
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cpu": f"{here['cpu']}, {here['cores']} cores, {here['threads']} threads",
        "gpus": ", ".join(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())) or "none",
        "cuda": torch.version.cuda or "none",
        **{name: there for name, there in packages.items() if there},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
