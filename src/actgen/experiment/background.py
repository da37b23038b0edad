"""The second process of a run with `generation.on`: it opens the run's round and generates while the first process trains.

An order comes as a line on stdin and a file beside it, what happens goes out as lines on stdout (`parallel/background.py`). It
generates by the same `Round` as a run of one process: images, journal, ledger and previews are as safe at any time, and an
order that was under way goes on where the journal ends. It ends with the first process, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core import files
from ..core.errors import UserError
from ..core.lock import locked
from ..core.protocol import Tell, listen, open_channel
from ..core.signals import Stopped, deferred, heeded

if TYPE_CHECKING:  # what takes seconds to import comes when the process is bound to the first one
    from ..classifiers.classifier import Classifier
    from ..generation.round import Round
    from ..training.parallel.background import Message

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def serve(out: Path, orders: Iterator[str], tell: Tell) -> None:
    """Generate every round that is ordered for the run in folder `out`."""
    from ..training.parallel.background import answer_path, order_path

    classifier, round_, inputs = _open(out)
    fresh = True
    for _ in orders:
        order = files.load(order_path(out))
        if order is None:
            raise files.damaged(order_path(out))
        _refuse_other_inputs(out, inputs, order["inputs"])
        if fresh:  # what it knows of later rounds is its own
            _remember(round_, order)
            fresh = False
        files.save(answer_path(out), generate(round_, classifier, order, tell))
        tell("generated")


def generate(round_: Round, classifier: Classifier, order: Message, tell: Tell) -> dict[str, object]:
    """Generate a round, or the rest of it, for the classifier with the weights of the order; return the answer."""
    from ..core.types import Plan

    plan = Plan.from_data(order["plan"])
    classifier.load_state_dict(order["weights"])
    earlier = sum(float(row["seconds"]) for row in round_.store.snapshot().rows[plan.images :])
    began, known = time.perf_counter(), len(round_.sampler.failed)
    with deferred():
        round_.generate(plan, classifier, lambda done, of: tell("sample", done=done, of=of))
        round_.journal.write()  # the training may be stopped before the round joins
    return {
        "seconds": earlier + time.perf_counter() - began,
        "failed": [vars(one) for one in round_.sampler.failed[known:]],
        "bank": round_.sampler.bank.state_dict(),
        "filters": round_.filters.state_dict(),
    }


def _open(out: Path) -> tuple[Classifier, Round, dict[str, str]]:
    """Return the classifier and the round of the run in folder `out`, and digests of what they depend on."""
    from accelerate import PartialState

    from ..data.datasets.imageset import names_digest
    from ..training.parallel.background import recipe_path
    from ..training.parallel.overlapped import STALENESS
    from .build import open_classifier, open_data, open_generator, open_round
    from .config import build_recipe

    recipe, device = build_recipe(recipe_path(out)), PartialState().device
    data = open_data(recipe)
    untrained = replace(recipe, model=replace(recipe.model, pretrained=False, checkpoint=""))
    classifier = open_classifier(untrained, data.train)
    round_ = replace(open_round(recipe, out, data, classifier, open_generator, str(device)), staleness=STALENESS)
    generator = str(round_.sampler.facts["generator_hash"])
    return classifier.to(device), round_, {"generator": generator, "training images": names_digest(data.train)}


def _remember(round_: Round, order: Message) -> None:
    round_.sampler.bank.load_state_dict(order["bank"])
    round_.filters.load_state_dict(order["filters"])


def _refuse_other_inputs(out: Path, predictions: dict[str, str], wanted: dict[str, str]) -> None:
    if changed := [name for name, digest in predictions.items() if wanted.get(name) != digest]:
        raise UserError(
            f"the second process of {out} finds another {' and other '.join(changed)} than the first. Put back "
            "what was there when the run began."
        )


def _work_on(device: str) -> None:
    """Let everything here use `device`; how many threads it may have is in the environment."""
    from accelerate import PartialState

    PartialState(cpu=device == "cpu")


def _end_with(parent: int) -> None:
    """End with the process `parent`, also when it is killed: Linux sees to it at once, and stdin closes everywhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before this
        os._exit(0)


def _failed(error: Exception) -> dict[str, object]:
    """Return what is told of an exception: the first process raises the same."""
    if isinstance(error, UserError):
        return {"kind": "UserError", "error": str(error)}
    if isinstance(error, OSError):
        return {"kind": "OSError", "error": error.strerror or str(error), "number": error.errno, "path": error.filename}
    return {"kind": "other", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}


def main() -> None:
    """Serve the process that started this one; `argv`: the run's folder, the device, the number of that process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both processes; the first one decides
    out, device, parent = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    _end_with(parent)
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers|torch|timm|accelerate|PIL)(\..*)?")
    tell = open_channel()
    try:
        with heeded((signal.SIGTERM,)):
            orders = listen()  # first: from now on it ends with stdin
            _work_on(device)
            from ..training.parallel.background import background_folder

            with locked(background_folder(out)):
                serve(out, orders, tell)
    except Stopped as stop:
        sys.exit(stop.code)
    except Exception as error:
        tell("failed", **_failed(error))
        sys.exit(1)


if __name__ == "__main__":
    main()
