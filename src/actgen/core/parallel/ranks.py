"""Several processes that do one run together: for `actgen train` the only door to `torch.distributed`.

They are started by torchrun or accelerate, have numbers from 0 (ranks), and run the same program in step: what one calls here,
all must call. Rank 0 alone writes the run's folder. With one process every function returns what it was given, at once.

What is sent is plain data (tensors, numbers, strings, lists, dicts), read without executing anything, as in checkpoints.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from .. import signals
from ..errors import RunFailure, UserError

if TYPE_CHECKING:
    from torch import Tensor

TIMEOUT = timedelta(minutes=30)  # the longest that one waits for another
PATIENCE = 2.0  # seconds: Ctrl-C comes twice, from the terminal and from the launcher
PIECE = 1 << 28  # bytes sent at once
_ASKED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")


class Shared(UserError):
    """What every rank has been told; one of them says it to the user."""


class SharedFailure(Shared, RunFailure):
    """Work that failed on every rank alike."""


class Lost(RunFailure):
    """Another rank is gone."""

    def __init__(self) -> None:
        super().__init__(
            "another process of this run has ended or does not answer; its own message, or the launcher's report, "
            "says why. The same command continues from the last checkpoint."
        )


@dataclass
class _Job:
    """Of this process: its number, how many there are, the group through which messages go (gloo); whether all have heard of a
    signal.
    """

    rank: int = 0
    size: int = 1
    group: Any = None
    heard: bool = False


_job = _Job()


def launched() -> int:
    """Return how many processes a launcher has started, as it says in the environment; 1 without one."""
    return int(os.environ["WORLD_SIZE"]) if all(name in os.environ for name in _ASKED) else 1


def speaks() -> bool:
    """Whether this process is the one that says what all know, before `begin` too."""
    return launched() == 1 or int(os.environ["RANK"]) == 0


def begin(timeout: timedelta = TIMEOUT) -> None:
    """Meet the other processes, if there are any: nccl on GPUs, gloo on CPUs. `UserError` if they do not come."""
    if launched() == 1 or _job.size > 1:
        return
    import torch
    from accelerate import PartialState
    from torch import distributed

    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if 0 < gpus < here:
        raise Shared(
            f"{here} processes on a machine with {gpus} GPU{'s' if gpus > 1 else ''}: each needs one of its own. Start {gpus}."
        )
    try:
        PartialState(cpu=not torch.cuda.is_available(), timeout=timeout)
        is_gloo = distributed.get_backend() == "gloo"
        _job.group = distributed.group.WORLD if is_gloo else distributed.new_group(backend="gloo", timeout=timeout)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"the {launched()} processes do not find each other ({reason}). Check that MASTER_ADDR and "
            "MASTER_PORT can be reached from every machine."
        ) from error
    _job.rank, _job.size = distributed.get_rank(), distributed.get_world_size()
    signals.be_patient(PATIENCE)


def end() -> None:
    """Part from the others, when all is done."""
    if _job.size > 1:
        from torch import distributed

        distributed.destroy_process_group()
        _job.rank, _job.size, _job.group = 0, 1, None


def size() -> int:
    """Return how many processes there are."""
    return _job.size


def rank() -> int:
    """Return the number of this process."""
    return _job.rank


def is_first() -> bool:
    """Whether this is rank 0, which writes and speaks."""
    return _job.rank == 0


def share(count: int) -> range:
    """Return which of `count` things in a row are this rank's: as many as any other's."""
    own = count // _job.size
    return range(own * _job.rank, own * (_job.rank + 1))


def spread(items: Sequence[_Item], work: Callable[[_Item], _Value]) -> list[_Value]:
    """Return `work` of every item, in their order; each rank does one item of as many as there are ranks."""
    if _job.size == 1:
        return [work(item) for item in items]
    by_rank = exchange([work(item) for item in items[_job.rank :: _job.size]])
    return [by_rank[number % _job.size][number // _job.size] for number in range(len(items))]


def total(value: float) -> float:
    """Return the sum over the ranks; what a signal asked of one rank is asked of all from now on."""
    if _job.size == 1:
        return value
    import torch

    own = torch.tensor([value, signals.signal_asked()], dtype=torch.float64)
    parts = torch.stack(_all_gather(own))
    signals.ask(int(parts[:, 1].max()))
    _job.heard = bool(parts[:, 1].any())
    return float(parts[:, 0].sum())


def heard() -> bool:
    """Whether a signal has come that all ranks know of since the last `total`: they stop at the same place or not at all."""
    return signals.asked() if _job.size == 1 else _job.heard


def joined(rows: Tensor) -> Tensor:
    """Return the rows [B, ...] of all ranks, one rank after the other, on the CPU."""
    if _job.size == 1:
        return rows
    import torch

    return torch.cat(exchange(rows.detach().cpu()))


def broadcast(value: _Value) -> _Value:
    """Return rank 0's value."""
    if _job.size == 1:
        return value
    import torch

    data = _encoded(value) if is_first() else torch.empty(0, dtype=torch.uint8)
    length = torch.tensor([len(data)])
    _send(length)
    if not is_first():
        data = torch.empty(int(length), dtype=torch.uint8)
    for piece in data.split(PIECE):
        _send(piece)
    return value if is_first() else _decoded(data)


def exchange(value: _Value) -> list[_Value]:
    """Return the values of all ranks; for small ones."""
    if _job.size == 1:
        return [value]
    import torch

    data = _encoded(value)
    lengths = [int(length) for length in _all_gather(torch.tensor([len(data)]))]
    padded = torch.zeros(max(lengths), dtype=torch.uint8)
    padded[: len(data)] = data
    return [_decoded(part[:length]) for part, length in zip(_all_gather(padded), lengths, strict=True)]


def collect(value: _Value) -> list[_Value]:
    """Return the values of all ranks on rank 0, nothing on the others."""
    if _job.size == 1:
        return [value]
    import torch
    from torch import distributed

    data = torch.empty(0, dtype=torch.uint8) if is_first() else _encoded(value)
    lengths = [int(length) for length in _all_gather(torch.tensor([len(data)]))]
    with reached():
        if not is_first():
            for piece in data.split(PIECE):
                distributed.send(piece, 0, group=_job.group)
            return []
        found = [value]
        for number in range(1, _job.size):
            data = torch.empty(lengths[number], dtype=torch.uint8)
            for piece in data.split(PIECE):
                distributed.recv(piece, number, group=_job.group)
            found.append(_decoded(data))
    return found


def _all_gather(tensor: Tensor) -> list[Tensor]:
    import torch
    from torch import distributed

    parts = [torch.empty_like(tensor) for _ in range(_job.size)]
    with reached():
        distributed.all_gather(parts, tensor, group=_job.group)
    return parts


def _send(tensor: Tensor) -> None:
    from torch import distributed

    with reached():
        distributed.broadcast(tensor, 0, group=_job.group)


@contextmanager
def reached() -> Iterator[None]:
    """Say in words that another rank is gone; gloo and nccl say it in theirs."""
    try:
        yield
    except RuntimeError as error:
        if _job.size > 1 and _is_of_the_network(error):
            raise Lost from error
        raise


def _is_of_the_network(error: RuntimeError) -> bool:
    """Whether gloo or nccl raised it; the backward pass of a model raises theirs without their type."""
    from torch.distributed import DistError

    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
    return isinstance(error, DistError) or any(word in str(error) for word in words)


def _encoded(value: object) -> Tensor:
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer)
    return torch.frombuffer(bytearray(buffer.getbuffer()), dtype=torch.uint8)


def _decoded(data: Tensor) -> Any:
    import torch

    return torch.load(io.BytesIO(data.numpy().tobytes()), weights_only=True, map_location="cpu")
