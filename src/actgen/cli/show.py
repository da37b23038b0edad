"""What the command line shows: progress bars and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from ..core.rows import RunSummary
from ..core.text import for_terminal
from ..data.datasets.evaluation import KINDS
from ..experiment.config import Recipe, to_toml
from ..experiment.dry_run import Estimate
from ..experiment.reproduce import Regenerated
from ..training.callbacks import Callbacks
from ..training.stages import EpochStats
from .data import show_understood


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


class Bar:
    """One progress bar with time left."""

    def __init__(self, console: Console, name: str, total: int | None) -> None:
        self._progress = _progress(console)
        self._task = self._progress.add_task(name, total=total, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def at(self, done: int, note: str = "") -> None:
        """Show that `done` of the total are done."""
        self._progress.update(self._task, completed=done, note=note)

    def of(self, done: int, total: int) -> None:
        """Show that `done` of `total` are done, where the total is known only now."""
        self._progress.update(self._task, completed=done, total=total)


class Bars:
    """A bar for every part of a work, each of which ends when the next one begins."""

    def __init__(self, console: Console) -> None:
        self._console, self._bars = console, dict[str, Bar]()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for bar in self._bars.values():
            bar.__exit__()

    def at(self, part: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of the `total` of a part are done."""
        if part not in self._bars:
            self.__exit__()
            self._bars[part] = Bar(self._console, part, total).__enter__()
        self._bars[part].at(done, note)


class RunBars:
    """Bars of a run: epochs in all, and the batches or generated images of the current one."""

    def __init__(self, console: Console, epochs: int) -> None:
        self._console = console
        self._progress = _progress(console)
        self._epochs = self._progress.add_task("epochs", total=epochs, note="")
        self._part = self._progress.add_task("training", total=None, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def callbacks(self, arm: str) -> Callbacks:
        """Return what a run of `arm` is to tell these bars."""
        return Callbacks(on_epoch=lambda stats: self.epoch(arm, stats), on_batch=self.batch, on_sample=self.sample)

    def epoch(self, arm: str, stats: EpochStats) -> None:
        """Show a finished epoch."""
        found = {"test": stats.test_accuracy, "validation": stats.validation_accuracy}
        seen = next((f"{kind} {value:.2f}%" for kind, value in found.items() if value is not None), "")
        self._progress.update(self._epochs, advance=1, note=f"{arm} {seen}")
        if seen:
            self._progress.console.print(
                f"{arm:<10} epoch {stats.epoch + 1:>3}  loss {stats.train_loss:.3f}  {seen}  "
                f"{stats.real_images} real + {stats.synthetic_images} generated"
            )

    def batch(self, done: int, of: int) -> None:
        """Show progress within an epoch's training."""
        self._progress.update(self._part, description="training", completed=done, total=of)

    def sample(self, done: int, of: int) -> None:
        """Show progress within a round of generation."""
        self._progress.update(self._part, description="sampling", completed=done, total=of)


def show_summary(console: Console, summary: RunSummary, out: Path) -> None:
    """Print what a run measured and where its page is."""
    console.print(_table({summary["strategy"]: summary}))
    filters = summary["filters"]["filters"] if summary["filters"] else {}
    if rejected := {name: one["generated"] - one["kept"] for name, one in filters.items() if one["generated"] > one["kept"]}:
        reasons = ", ".join(f"{name} {count}" for name, count in rejected.items())
        console.print(f"generated and refused: {reasons}; the reasons are in {for_terminal(out / 'rejected.jsonl')}")
    if summary.get("left_out_images") and (first := summary["left_out_first"]) is not None:
        console.print(left_out(summary["left_out_images"], first))
    show_verdict(console, out)


def show_verdict(console: Console, out: Path) -> None:
    """Print the verdict on a run or a demo, what it rests on, its page and the next command: the words of its page."""
    from ..report.reading import read_arms
    from ..report.words import headline, next_command, remarks

    arms = read_arms(out, pictures=False)
    console.print(for_terminal(headline(arms)), style="bold", soft_wrap=True, markup=False)
    for remark in remarks(arms):
        console.print(for_terminal(remark), soft_wrap=True, markup=False)
    console.print(f"page: {for_terminal(out / 'report.html')}", soft_wrap=True, markup=False)
    why, command = next_command(arms)
    console.print(f"next: {command}\n      ({why[:1].lower()}{why[1:]})", soft_wrap=True, markup=False)


def left_out(count: int, first: str) -> str:
    """Return the line that says how many image files were left out."""
    return f"{count} image file{'s' if count > 1 else ''} left out; the first: {for_terminal(first)}"


def _table(arms: Mapping[str, Mapping[str, object]]) -> Table:
    table = Table()
    kind = next((kind for kind in KINDS if any(seen.get(f"{kind}_accuracy") is not None for seen in arms.values())), KINDS[0])
    for name in ("arm", f"{kind} accuracy", "images generated", "training", "generation", "optimiser steps"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for arm, seen in arms.items():
        value = seen.get(f"{kind}_accuracy")
        accuracy = "no test data" if value is None else f"{value:.2f}%"
        table.add_row(
            arm,
            accuracy,
            str(seen["synthetic_images"]),
            f"{seen['train_seconds']:.0f} s",
            f"{seen['generation_seconds']:.0f} s",
            str(seen["optimizer_steps"]),
        )
    return table


def show_regenerated(console: Console, generated: Sequence[Regenerated], out: Path) -> None:
    """Print for every image generated again how it compares with the first."""
    for one in generated:
        console.print(f"{for_terminal(one.key)}  {_comparison(one)}")
    console.print(f"{len(generated)} image{'s' if len(generated) > 1 else ''} in {for_terminal(out)}")


def _comparison(one: Regenerated) -> str:
    if one.differs is None:
        return "differs; by how much cannot be told, since the stored image is gone, damaged or of another size"
    levels, pixels = one.differs
    return f"differs by at most {levels} of 255 grey levels, in {pixels} pixels" if pixels else "identical"


def show_estimate(console: Console, recipe: Recipe, seen: Estimate) -> None:
    """Print the complete configuration and what it will cost."""
    console.print("\n".join(for_terminal(line) for line in to_toml(recipe).split("\n")), soft_wrap=True)
    show_understood(console, seen.understood, before="# ")
    console.print(f"# {seen.optimizer_steps} optimiser steps, {seen.images} images in {seen.rounds} rounds")
    if seen.images:
        console.print(f"# {seen.prompts} distinct prompts of {seen.prompts_there} for these images")
    console.print(
        f"# about {seen.train_seconds:.0f} s of training and {seen.generation_seconds:.0f} s of generation "
        "on this machine, by a short measurement. Nothing was written."
    )
