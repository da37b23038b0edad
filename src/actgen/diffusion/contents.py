"""What a generator's folder may hold: parts that diffusers and transformers have, configurations, safetensors. No code."""

from __future__ import annotations

import json
from pathlib import Path

from ..core.errors import UserError
from ..core.text import brief, read_text, shown, visible

LIBRARIES = ("diffusers", "transformers", "stable_diffusion")  # the last one: old files' name for the safety checker
UNSAFE = (".bin", ".ckpt", ".pt", ".pth", ".pkl")
"""Formats of weights that can run code when they are opened."""
INDEX = "model_index.json"
MOST_LAYERS, LARGEST = 1000, 1e7


def check_contents(folder: Path) -> None:
    """Raise `UserError` for a pipeline folder that names code of its own, or whose weights could run some when opened."""
    name = visible(str(folder))
    parts = {key: value for key, value in _read_index(folder / INDEX).items() if isinstance(value, list)}
    for part, value in parts.items():
        if part == "_class_name" or not part.isidentifier() or not _is_known(value):
            raise UserError(
                f"--generator {name}: {INDEX} says that {shown(part)} is {brief(value)}, which is no part of "
                f"{' or '.join(LIBRARIES[:2])}. Code that comes with a generator is never run; "
                "give one without."
            )
    for part in parts:
        _refuse_unsafe(folder / part, name)
        if (config := folder / part / "config.json").is_file():
            _refuse_endless(config, _read(config))


def _read_index(path: Path) -> dict[str, object]:
    index = _read(path)
    if not isinstance(index.get("_class_name"), str | list):
        raise _wrong(path, "names no pipeline class")
    return index


def _read(path: Path) -> dict[str, object]:
    reason = "is not a JSON object"
    try:
        tree = json.loads(read_text(path))
        if isinstance(tree, dict):
            return tree
    except RecursionError:
        reason = "is nested too deeply"
    except json.JSONDecodeError as error:
        reason = f"is not JSON ({error})"
    except ValueError as error:
        reason = str(error)
    raise _wrong(path, reason)


def _refuse_endless(path: Path, tree: object, name: str = "") -> None:
    """Raise `UserError` for numbers with which a network would be built for ever."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            _refuse_endless(path, value, str(key))
    elif isinstance(tree, list):
        for value in tree:
            _refuse_endless(path, value, name)
    elif isinstance(tree, int | float) and not abs(tree) <= (MOST_LAYERS if "layers" in name else LARGEST):
        raise _wrong(path, f"says {shown(name)} = {brief(tree)}")


def _wrong(path: Path, reason: str) -> UserError:
    return UserError(f"cannot load the generator: {visible(str(path))} {reason}. Put back the file, or give another folder.")


def _is_known(value: list[object]) -> bool:
    """Whether an entry is [library, class] of a library that actgen stands on, or [null, null]."""
    if value in ([None, None], []):
        return True
    match value:
        case [str(library), str(name)]:
            return library in LIBRARIES and name.isidentifier()
    return False


def _refuse_unsafe(folder: Path, name: str) -> None:
    if not folder.is_dir():
        return
    files = [path for path in folder.iterdir() if path.is_file()]
    unsafe = sorted(path.name for path in files if path.suffix in UNSAFE)
    if unsafe and not any(path.suffix == ".safetensors" for path in files):
        raise UserError(
            f"--generator {name}: {shown(folder.name)} holds {shown(unsafe[0])}, in a format that can run code "
            "when it is opened. Give weights in safetensors: `save_pretrained(FOLDER, "
            "safe_serialization=True)` writes them."
        )
