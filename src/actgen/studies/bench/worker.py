"""One process that does run after run: jobs come in as lines on stdin, what happens goes out as lines on stdout.

It imports once, and opens data and generators once. When stdin closes it ends, in the middle of a run too: a run's folder is
whole at any time, and continues from there.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import PartialState

from ...core import files
from ...core.errors import UserError
from ...core.machine import machine
from ...core.protocol import Tell, listen, open_channel
from ...core.provenance import source_commit
from ...data.datasets.evaluation import TEST
from ...data.datasets.sources import RealData, load_data
from ...diffusion.loading import Loading
from ...diffusion.pipeline import PipelineAdapter
from ...experiment.build import open_data, open_generator
from ...experiment.config import Recipe
from ...experiment.run import run
from ...training.callbacks import Callbacks
from .plan import Job
from .rows import RESULT, make_row


def do(job: Job, out: Path, tell: Tell) -> None:
    """Do a run, continue it, or see that it is done; what it measured is then in its folder."""
    folder = job.folder(out)
    summary = run(
        job.recipe,
        folder,
        data=_data(job.recipe),
        generators=_generator,
        page=False,
        callbacks=Callbacks(
            on_epoch=lambda stats: tell("epoch", done=stats.epoch + 1),
            on_sample=lambda done, of: tell("sample", done=done, of=of),
        ),
    )
    stats = [json.loads(line) for line in (folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
    row = make_row(job, summary, stats, _facts())
    files.write_text(folder / RESULT, json.dumps(row, ensure_ascii=False) + "\n")
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)  # a finished run is not continued
    tell("finished", row=row)


def _facts() -> dict[str, object]:
    device = PartialState().device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"version": version("actgen"), "device": name, **machine()}


_load = lru_cache(maxsize=2)(load_data)
_opened: dict[str, RealData] = {}


def _data(recipe: Recipe) -> RealData:
    """Return the images of a recipe, opened once for all seeds that measure on the same ones."""
    own_part = recipe.evaluation.on != TEST and not recipe.evaluation.source
    chosen = repr(
        (
            recipe.data,
            recipe.on_bad_image,
            recipe.reading,
            recipe.images,
            recipe.labels_per_class,
            recipe.label_set,
            recipe.prompts,
            recipe.evaluation,
            recipe.extra,
            recipe.seed if own_part or recipe.extra.real else 0,
        )
    )
    if chosen not in _opened:
        _opened.clear()
        _opened[chosen] = _measurable(open_data(recipe, _load))
    return _opened[chosen]


def _measurable(data: RealData) -> RealData:
    if data.test is None:
        raise UserError(f"{data.spec} has no test images to compare arms on. Add a test folder, or give --evaluate validation.")
    return data


def _generator(name: str, class_names: Sequence[str], device: str, loading: Loading) -> PipelineAdapter:
    return _adapter(name, tuple(class_names), device, loading)


@lru_cache(maxsize=1)
def _adapter(name: str, class_names: tuple[str, ...], device: str, loading: Loading) -> PipelineAdapter:
    return open_generator(name, class_names, device, loading)


def serve(jobs: Iterator[Job], out: Path, tell: Tell) -> None:
    """Do all jobs; a job that cannot be done is told of, and the next one follows.

    "refused": the input cannot be used, found before the run began; "failed": anything else.
    """
    for job in jobs:
        fresh = not job.folder(out).exists()
        try:
            do(job, out, tell)
        except Exception as error:
            refused = fresh and isinstance(error, UserError) and not job.folder(out).exists()
            tell("refused" if refused else "failed", error=_one_line(error), trace=traceback.format_exc())


def _one_line(error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}".partition("\n")[0]


def main() -> None:
    """Serve the process that started this one; `argv`: the bench's folder and the number of threads."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the first one decides
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers|torch|timm|accelerate)(\..*)?")
    out, threads = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(threads)
    source_commit()  # now: the files may change later
    tell = open_channel()
    serve((Job.from_line(line) for line in listen()), out, tell)


if __name__ == "__main__":
    main()
