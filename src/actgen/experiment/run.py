"""A recipe becomes a run: open its parts (`build.py`), train, write the summary and the page.

    OUT/recipe.toml  stats.jsonl  summary.json  store/  rejected.jsonl  previews/  rounds/  checkpoints/  report.html

Everything that can be wrong with the input is found before the folder is made.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import cast

import safetensors.torch

from ..classifiers.correctness import pack_right
from ..classifiers.mining import CROSS_FIT
from ..core import files
from ..core.errors import UserError
from ..core.lock import locked, refuse_in_use
from ..core.marker import mark
from ..core.memory import peak_gib
from ..core.parallel import agreeing, ranks
from ..core.provenance import recipe_hash, source_commit
from ..core.rows import GeneratorColumns, RunSummary
from ..core.signals import deferred
from ..core.text import read_text
from ..data.datasets.imageset import names_digest
from ..data.datasets.sources import RealData
from ..diffusion.weights import hash_networks
from ..generation.filters.tally import keep_rates
from ..report.html import write_report
from ..training.callbacks import SILENT, Callbacks
from ..training.crossfit import cross_fit
from ..training.distil import teach
from ..training.loop import fit, look_at_test
from ..training.proxy_model import train_proxy_model
from ..training.training import Training
from .build import Generators, open_data_for, open_generator, open_run, refuse_other_run
from .config import Recipe, flat, to_toml
from .tracking import parse_trackers, tracking
from .understood import Understood, adapter_of, understand

Tell = Callable[[RunSummary | None], None]
SHOWN = ("test_accuracy", "synthetic_images", "train_seconds", "generation_seconds", "optimizer_steps")
"""What is shown of every finished run."""


def run(
    recipe: Recipe,
    out: Path,
    *,
    data: RealData | None = None,
    on_open: Callable[[Understood], None] | None = None,
    callbacks: Callbacks = SILENT,
    generators: Generators = open_generator,
    page: bool = True,
    track: Sequence[str] = (),
) -> RunSummary:
    """Run a recipe in folder `out` to its end and return the summary; a finished run is only read, a stopped one continued.

    `on_open` hears what was understood before anything trains. `data` and `generators`: see `build.open_run` (a second process,
    `generation.on`, opens its own); without `page` no report.html is written. Of several processes (`ranks.begin`) all must
    call this; rank 0 writes the folder. `track` names trackers that are told what the run writes (`tracking.py`); it changes
    nothing else.
    """
    source_commit()  # the files may change while the run goes on
    with agreeing.agreed():
        trackers = parse_trackers(track)
    agreeing.refuse_different({"recipe": to_toml(recipe)})
    if (summary := agreeing.of_first(lambda: _finished(recipe, out, page, trackers))) is not None:
        return summary
    with ExitStack() as held:
        with agreeing.agreed():
            home = held.enter_context(agreeing.home(out))
            refuse_in_use(home)  # before a minute goes by with opening
            data = open_data_for(recipe, home) if data is None else data
            training = open_run(recipe, home, data, generators)
            if on_open is not None:
                on_open(understand(recipe, data, adapter_of(training)))
        with agreeing.agreed():  # nothing is written before all have opened it
            held.enter_context(locked(home))
            if not (home / "recipe.toml").exists():
                mark(home)
            files.write_text(home / "recipe.toml", to_toml(recipe))
            tell = held.enter_context(tracking(home, trackers, flat(recipe)))
        if ranks.size() > 1:  # a signal is answered where all can answer it
            held.enter_context(deferred())
        if training.mining is not None and training.mining.pool == CROSS_FIT:
            training.state.cross_fitted = cross_fit(training, training.mining)
        if training.needs_proxy_model and training.mining is not None:
            training.state.proxy = train_proxy_model(training, training.mining)
        if training.teacher is not None:
            training.state.taught = teach(training.teacher, training.real, recipe.training.distil.weight)
        with closing(fit(training, callbacks)) as epochs:  # with all that it has started
            for stats in epochs:
                tell(None)
                callbacks.on_epoch(stats)
        if training.state.predictions is None:  # stopped between the last epoch and here
            training.state.predictions = look_at_test(training)
        return agreeing.of_first(lambda: _finish(recipe, training, page, tell))


def _finished(recipe: Recipe, out: Path, page: bool, trackers: Mapping[str, str]) -> RunSummary | None:
    """Return the summary of a run that is finished; None if it is not."""
    if not (out / "summary.json").exists():
        return None
    refuse_other_run(recipe, out)
    if page and not (out / "report.html").exists():
        write_report(out)
    summary = _read_summary(out / "summary.json")
    if trackers:
        with locked(out), tracking(out, trackers, flat(recipe)) as tell:
            tell(summary)
    return summary


def _finish(recipe: Recipe, training: Training, page: bool, tell: Tell) -> RunSummary:
    """Write what a run comes to; return the summary."""
    out, summary = training.folder, summarise(recipe, training)
    weights = {name: value.contiguous() for name, value in training.learner.tested.state_dict().items()}
    files.write_bytes(out / "classifier.safetensors", safetensors.torch.save(weights))
    files.write_text(out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    tell(summary)
    if page:
        write_report(out)
    return summary


def _read_summary(path: Path) -> RunSummary:
    try:
        summary = json.loads(read_text(path))
        if summary.keys() >= {"strategy", *SHOWN}:
            return cast(RunSummary, summary)
        reason = "lacks what a finished run measured"
    except (ValueError, RecursionError, AttributeError):
        reason = "is not the JSON object that a finished run wrote"
    raise UserError(f"{path} {reason}. Put it back, or remove it: the same command writes it again.")


def summarise(recipe: Recipe, training: Training) -> RunSummary:
    """Return what a finished run measured; accuracies in percent, times in seconds."""
    last = training.state.stats[-1]
    facts: GeneratorColumns = training.round.sampler.facts if training.round is not None else {}
    chain = training.round.filters if training.round is not None else None
    return {
        "strategy": recipe.strategy,
        "model": recipe.model.name,
        "data": recipe.data,
        "seed": recipe.seed,
        "data_note": training.data_note,
        "left_out_images": len(training.left_out),
        "left_out_first": training.left_out[0] if training.left_out else None,
        "generator": facts.get("generator") or None,
        "generator_hash": facts.get("generator_hash") or None,
        "mined_pool": training.mined_pool,
        "epochs": recipe.training.epochs,
        "test_accuracy": last["test_accuracy"],
        "validation_accuracy": last["validation_accuracy"],
        "per_class": last["per_class"],
        "real_images": training.own_real,
        "extra_images": training.extra,
        "synthetic_images": len(training.state.snapshot),
        "manifest_chain": training.round.store.manifest.chain if training.round is not None else None,
        "optimizer_steps": last["optimizer_steps"],
        "filters": None
        if chain is None
        else keep_rates((row["filters"] for row in training.state.stats if row["filters"]), chain.names),
        "train_seconds": round(sum(row["train_seconds"] for row in training.state.stats), 2),
        "generation_seconds": round(sum(row["generation_seconds"] for row in training.state.stats), 2),
        "teacher_seconds": 0.0 if training.state.taught is None else round(training.state.taught.seconds, 2),
        "waited_seconds": round(sum(row["waited_seconds"] for row in training.state.stats), 2),
        "evaluation_seconds": round(sum(row["evaluation_seconds"] for row in training.state.stats), 2),
        "proxy_steps": sum(proxy.optimizer_steps for proxy in training.state.proxies.values()),
        "proxy_seconds": round(sum(proxy.seconds for proxy in training.state.proxies.values()), 2),
        "scout_seconds": round(training.state.proxies["scout"].seconds, 2) if "scout" in training.state.proxies else 0.0,
        "judge_hashes": _judge_hashes(training),
        "commit": source_commit(),
        "recipe_sha256": recipe_hash(flat(recipe)),
        "right": None if training.state.predictions is None else pack_right(training.state.predictions.right_N),
        "initial_weights": training.learner.initial_weights,
        "real_images_digest": names_digest(training.own),
        "test_digest": None if training.test is None else names_digest(training.test),
        "peak_memory_gib": round(peak_gib(training.learner.accelerator.device), 3),
    }


def _judge_hashes(training: Training) -> dict[str, str]:
    """Return the digests of the CLIP models that a run has asked about its pictures, by the setting that names them."""
    if training.round is None:
        return {}
    judges = training.round.sampler.judges | training.round.filters.judges
    return {name: hash_networks([judge.network]) for name, judge in judges.items()}
