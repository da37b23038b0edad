"""Mixed precision through accelerate, or a message that says why not."""

from __future__ import annotations

from accelerate import Accelerator, PartialState

from ..errors import UserError


def open_accelerator(precision: str) -> Accelerator:
    """Return accelerate's face of the devices for the precision "no", "bf16" or "fp16".

    `UserError` for a precision that the machine lacks, or another one than an earlier training of this process: accelerate
    keeps one a process.
    """
    if precision == "fp16" and PartialState().device.type == "cpu":  # accelerate would compute in float32 without a word
        raise UserError('training.precision = "fp16" needs a GPU. Use "no", or "bf16" where the CPU is fast in it.')
    try:
        return Accelerator(mixed_precision=precision)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"training.precision = {precision!r} cannot be used here ({reason.rstrip('.')}). Use \"no\", or one "
                        "precision for all trainings of a process, on a machine that has it.") from error  # fmt: skip
