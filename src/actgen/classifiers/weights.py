"""A classifier's weights from a file: safetensors only, since nothing in it is executed."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..core.errors import UserError

_OURS = "model."  # what `Classifier` puts before the names of its model


def load_weights(model: nn.Module, head: nn.Module, path: Path) -> None:
    """Load the weights of `model` from a timm checkpoint or the classifier.safetensors of a run.

    The last layer, `head`, is left as it is where the file's has another number of classes. `UserError` for a file that
    cannot be read or belongs to another model.
    """
    found, wanted = _read(path), model.state_dict()
    inside = {f"{name}.{part}" for name, module in model.named_modules() if module is head for part in head.state_dict()}
    for name in inside & found.keys():
        if found[name].shape != wanted[name].shape:
            found[name] = wanted[name]
    names = sorted(set(wanted) ^ set(found))
    names += [name for name in wanted if name not in names and wanted[name].shape != found[name].shape]
    if names:
        raise UserError(
            f"model.checkpoint {path} does not fit the model: {len(names)} tensors differ, the first is {names[0]} "
            f"(file: {_shape(found, names[0])}, model: {_shape(wanted, names[0])}). Give the model.name, "
            "model.image_size and model.stem that it was made with."
        )
    model.load_state_dict(found)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"model.checkpoint {path} cannot be read ({reason}). Give a .safetensors file of a timm model, or the "
            "classifier.safetensors of a run."
        ) from error
    ours = {name.removeprefix(_OURS): value for name, value in state.items() if name.startswith(_OURS)}
    return ours if len(ours) == len(state) - 2 and {"mean", "std"} <= state.keys() else state


def _shape(state: dict[str, Tensor], name: str) -> str:
    return "x".join(map(str, state[name].shape)) or "a number" if name in state else "none"
