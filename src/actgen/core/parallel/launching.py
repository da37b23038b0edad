"""A launcher that was asked for several processes and started one: this process becomes the launcher that starts them."""

from __future__ import annotations

import os
import sys

from ..errors import UserError
from . import ranks


def launch_forgotten() -> None:
    """Become the launcher where accelerate was asked for several processes on the CPU: without MPI it starts one.

    How many were asked for only stands in its own command.
    """
    if ranks.launched() > 1 or os.environ.get("ACCELERATE_USE_CPU", "").lower() != "true" or "MASTER_ADDR" not in os.environ:
        return
    count = _asked_of_parent("processes")
    if count < 2 or _asked_of_parent("machines") > 1:
        raise UserError(
            "accelerate was asked for several processes on the CPU and started this one alone. Use torchrun "
            "instead: torchrun --nproc_per_node 2 -m actgen train ... (docs/processes.md)."
        )
    os.environ.pop("ACCELERATE_USE_CPU")  # or the processes would do this again
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.execv(
        sys.executable,
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            str(count),
            "-m",
            "actgen",
            *sys.argv[1:],
        ],
    )


def _asked_of_parent(what: str) -> int:
    """Return the number behind --num_WHAT in the command of the process that started this one; 1 if it is not there."""
    import psutil

    try:
        words = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return 1
    for number, word in enumerate(words):
        name, has_value, value = word.partition("=")
        if name in (f"--num_{what}", f"--num-{what}"):
            value = value if has_value else words[number + 1] if number + 1 < len(words) else ""
            return int(value) if value.isdecimal() else 1
    return 1
