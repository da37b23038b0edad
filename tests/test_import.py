"""`import actgen` stays cheap: it loads none of the heavy packages, and every public name is found when asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import actgen

HEAVY = ("torch", "torchvision", "diffusers", "transformers", "timm", "accelerate", "numpy", "PIL", "matplotlib")


def test_import_loads_no_heavy_package() -> None:
    code = "import sys, json, actgen; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {name.partition(".")[0] for name in json.loads(out)} & set(HEAVY)


def test_help_loads_no_heavy_package() -> None:
    code = (
        "import sys; from actgen.cli.app import main; sys.argv = ['actgen', 'train', '--help']\n"
        "try: main()\n"
        "except SystemExit as end: print('code', end.code)\n"
        "print('loaded', *(name for name in ('torch', 'diffusers', 'timm') if name in sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--dry-run" in out
    assert out.splitlines()[-2:] == ["code 0", "loaded"]


@pytest.mark.parametrize("name", list(actgen.__all__))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(actgen, name).__name__.lower() == name.replace("_", "" if name[0].isupper() else "_").lower()
    assert name in dir(actgen)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = actgen.nothing
