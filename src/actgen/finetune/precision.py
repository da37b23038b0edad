"""The device and mixed precision of a fine-tuning, through accelerate; or a message that says why not."""

from __future__ import annotations

from accelerate import Accelerator, PartialState

from ..errors import UserError


def open_accelerator(precision: str) -> Accelerator:
    """Return accelerate's face of the device for the precision "no", "bf16" or "fp16"; `UserError` if the machine lacks it."""
    if precision == "fp16" and PartialState().device.type == "cpu":  # accelerate would compute in float32 without a word
        raise UserError("--precision fp16 needs a GPU. Leave it out, or give bf16 where the processor is fast in it.")
    if PartialState().num_processes > 1:
        raise UserError("finetune runs in one process. Start it without accelerate launch or torchrun.")
    try:
        return Accelerator(mixed_precision=precision)
    except ValueError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"--precision {precision} cannot be used here ({reason.rstrip('.')}). Leave it out, or take another "
                        "machine.") from error  # fmt: skip
