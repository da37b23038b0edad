"""The devices and the mixed precision of a training, through accelerate; or a message that says why not."""

from __future__ import annotations

from accelerate import Accelerator, PartialState

from .errors import UserError

EXACT = "fp64"
"""No mixed precision: all of the classifier in float64."""


def open_accelerator(precision: str, given: str) -> Accelerator:
    """Return accelerate's face of the devices for the precision "no", "bf16", "fp16" or `EXACT`.

    `given` is how a user sets it, for the messages. `UserError` for a precision that the machine lacks, or another one than
    an earlier training of this process: accelerate keeps one a process.
    """
    device = PartialState().device.type
    if precision == "fp16" and device == "cpu":  # accelerate would compute in float32 without a word
        raise UserError(f"{given} needs a GPU. Leave it out, or give bf16 where the CPU is fast in it.")
    if precision == EXACT and device == "mps":
        raise UserError(f"{given}: this device has no float64. Leave it out, or use another machine.")
    try:
        return Accelerator(mixed_precision="no" if precision == EXACT else precision)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{given} cannot be used here ({reason.rstrip('.')}). Leave it out, or give one precision for all "
            "trainings of a process, on a machine that has it."
        ) from error
