"""The command line: parse, call, show. No logic of its own; every `UserError` becomes a message and exit code 2."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from ..core.errors import RenamedKey, UserError, system_refusal
from ..core.parallel import agreeing, ranks
from ..core.parallel.launching import launch_forgotten
from ..core.signals import Stopped, heeded
from ..core.text import for_terminal, shortened
from .bench import bench, report_bench
from .finetune import finetune
from .probe import probe
from .store import store


class _Commands(TyperGroup):
    """Commands that say how to go on after Ctrl-C or SIGTERM; Typer alone ends them without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            command = shlex.join(["actgen", *sys.argv[1:]])
            if ranks.speaks():
                again = "Continue with the launcher and" if ranks.launched() > 1 else "Continue with:"
                _tell(f"stopped. {again} {for_terminal(command)}")
            raise typer.Exit(stop.code if isinstance(stop, Stopped) else 130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Generate variants of what an image classifier gets wrong, and train on them.",
)
app.add_typer(store, name="store")
console = Console(highlight=False, emoji=False, soft_wrap=True)

app.command()(bench)
app.command()(finetune)
app.command()(probe)

_OUT = "Folder of the run; the same command on the same folder continues it."
Out = Annotated[Path, typer.Option(help=_OUT)]
_MOST = 10_000_000
_DATA = (
    "fashion-mnist-mini, idx:DIR, cifar10:DIR, cifar100:DIR, eurosat:DIR, imagenet:DIR, hf:NAME or hf:FOLDER, or a folder of "
    "class folders (with or without train/ and test/ or val/)."
)
DataSpec = Annotated[str | None, typer.Option(help=_DATA)]
_MASKS = "Where the training images show their objects: a folder of mask images, a .npy file, or foreground (not black)."
Masks = Annotated[str | None, typer.Option(help=_MASKS)]
ModelName = Annotated[str | None, typer.Option(help="actgen/small-cnn, actgen/tiny-cnn, any timm model, hf:NAME or hf:FOLDER.")]
_GENERATOR = "bundled, a diffusers folder, or a hub id."
GeneratorName = Annotated[str | None, typer.Option(help=_GENERATOR)]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Change one value of the recipe: a.b=c. May be repeated.")]
OnBadImage = Annotated[str | None, typer.Option(help="Image files that cannot be read: refuse (default), or skip and count.")]
RecipeFile = Annotated[
    Path | None, typer.Option("--recipe", help="TOML file or the name of a shipped recipe; --dry-run prints a complete one.")
]
Track = Annotated[
    list[str] | None, typer.Option(help="tensorboard, wandb, mlflow or trackio, or NAME:PROJECT. May be repeated.")
]
Seed = Annotated[int | None, typer.Option(help="Everything random follows from it.")]


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    seed: Seed = None,
    settings: Settings = None,
) -> None:
    """Real images only, random generation, active generation: three small runs and a page that compares them."""
    from ..experiment.config import build_recipe
    from ..experiment.demo import ARMS, run_demo
    from .show import RunBars, show_demo

    recipe = build_recipe(None, ["training.test_every=3", *(settings or [])], {"seed": seed})
    arms: dict[str, dict[str, Any]] = {}
    with RunBars(console, len(ARMS) * recipe.training.epochs) as bars:
        for arm, summary in run_demo(recipe, out, on_epoch=bars.epoch, on_batch=bars.batch, on_sample=bars.sample):
            arms[arm] = summary
    show_demo(console, arms, out)


@app.command()
def train(
    out: Annotated[Path | None, typer.Option(help=f"{_OUT} Not given: runs/ and the recipe's name.")] = None,
    data: DataSpec = None,
    on_bad_image: OnBadImage = None,
    model: ModelName = None,
    generator: GeneratorName = None,
    masks: Masks = None,
    strategy: Annotated[str | None, typer.Option(help="none, text-only, actgen, ...: see docs/strategies.md.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the real images.")] = None,
    budget: Annotated[float | None, typer.Option(help="Generated images as a fraction of the real training images.")] = None,
    generate_on: Annotated[
        str | None, typer.Option(help="cpu or cuda:N: generate there in a second process while the next epoch trains.")
    ] = None,
    seed: Seed = None,
    recipe: RecipeFile = None,
    settings: Settings = None,
    track: Track = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print configuration, count and time; write nothing.")] = False,
) -> None:
    """Train a classifier with active generation."""
    from ..experiment.config import build_recipe, read_tracking
    from ..experiment.dry_run import estimate
    from ..experiment.run import run
    from ..experiment.tracking import parse_trackers
    from .show import RunBars, show_estimate, show_summary

    flags = {
        "data": data,
        "model.name": model,
        "generator": generator,
        "strategy": strategy,
        "training.epochs": epochs,
        "generation.budget": budget,
        "generation.on": generate_on,
        "seed": seed,
        "on_bad_image": on_bad_image,
        "masks": masks,
    }
    if dry_run and ranks.launched() > 1:
        raise ranks.Shared("--dry-run measures one process: give it without the launcher.")
    launch_forgotten()
    ranks.begin()
    with agreeing.agreed():
        full = build_recipe(recipe, settings or [], flags)
    out = Path("runs") / ("train" if recipe is None else recipe.stem) if out is None else out
    track = track or [read_tracking(recipe, settings or [])]
    with agreeing.agreed():
        parse_trackers(track)
    if dry_run:
        show_estimate(console, full, estimate(full, out))
        return
    console.quiet = not ranks.is_first()
    with RunBars(console, full.training.epochs) as bars:
        summary = run(
            full,
            out,
            on_epoch=lambda stats: bars.epoch(full.strategy, stats),
            on_batch=bars.batch,
            on_sample=bars.sample,
            track=track,
        )
    show_summary(console, summary, out)
    ranks.end()


@app.command()
def generate(
    out: Annotated[Path, typer.Option(help="Store to generate into.")],
    classes: Annotated[str | None, typer.Option(help="Class names, separated by commas.")] = None,
    count: Annotated[
        int | None, typer.Option(help="Images in all, evenly over --classes; 100 if not given.", min=1, max=_MOST)
    ] = None,
    from_manifest: Annotated[Path | None, typer.Option(metavar="STORE", help="Store whose images to generate again.")] = None,
    key: Annotated[list[str] | None, typer.Option(help="Image of that store, as in metadata.jsonl. May be repeated.")] = None,
    data: Annotated[str | None, typer.Option(help="Where the data of that store's run are now, if they have moved.")] = None,
    masks: Annotated[str | None, typer.Option(help="Where the masks of that store's run are now, if they have moved.")] = None,
    generator: Annotated[str | None, typer.Option(help=f"{_GENERATOR} Not given: bundled, or as in metadata.jsonl.")] = None,
    seed: Seed = None,
    settings: Settings = None,
) -> None:
    """Generate images into a store: from class names, or those of another store again.

    From class names, by text alone:

        actgen generate --classes "coat,ankle boot" --count 50 --out pictures

    Again, with all guides, the same pixel for pixel on the same machine; STORE is
    the folder "store" of a run, or what generate made:

        actgen generate --from-manifest run/store --key r003-00012 --out again
    """
    fresh = {"--classes": classes, "--count": count, "--seed": seed, "--set": settings}
    again = {"--from-manifest": from_manifest, "--key": key, "--data": data, "--masks": masks}
    if classes is not None and from_manifest is None:
        _refuse_given("--classes", again)
        _generate_classes(classes, 100 if count is None else count, generator or "bundled", seed or 0, settings or [], out)
    elif classes is None and from_manifest is not None:
        _refuse_given("--from-manifest", fresh)
        _generate_again(from_manifest, key or [], data, masks, generator, out)
    else:
        raise UserError(
            f"generate was given {'neither' if classes is None else 'both'} of --classes and --from-manifest. Give "
            "one: --classes 'coat,ankle boot', or --from-manifest STORE --key KEY."
        )


def _refuse_given(mode: str, others: dict[str, Any]) -> None:
    if given := [name for name, value in others.items() if value is not None]:
        raise UserError(f"{', '.join(given)} cannot go with {mode}. Leave it out; `actgen generate --help` shows both uses.")


def _generate_classes(classes: str, count: int, generator: str, seed: int, settings: list[str], out: Path) -> None:
    from accelerate import PartialState

    from ..core.memory import peak_gib
    from ..experiment.config import build_recipe
    from ..experiment.generate import generate_from_text
    from .show import Bar

    recipe = build_recipe(None, settings, {"generator": generator, "seed": seed})
    names = [name.strip() for name in classes.split(",") if name.strip()]
    with Bar(console, "sampling", count) as bar:
        for done in generate_from_text(recipe, names, count, out):
            bar.at(done)
    console.print(f"{count} images in {for_terminal(out)}; at most {peak_gib(PartialState().device):.1f} GiB of memory")


def _generate_again(
    store: Path, keys: list[str], data: str | None, masks: str | None, generator: str | None, out: Path
) -> None:
    from ..experiment.reproduce import regenerate
    from .show import Bar, show_regenerated

    with Bar(console, "sampling", len(set(keys))) as bar:
        done = []
        for one in regenerate(store, keys, out, data=data, masks=masks, generator=generator):
            done.append(one)
            bar.at(len(done))
    show_regenerated(console, done, out)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Folder of a run, a demo or a bench.")]) -> None:
    """Write the page of a run or a demo again, or the table, figures and page of a bench."""
    from ..report.html import write_report

    if (folder / "results.jsonl").is_file():
        report_bench(folder)
        return
    if not (folder / "summary.json").is_file():
        raise UserError(
            f"{folder} holds no summary.json: it is no finished run. Give the --out of a finished train, demo or bench."
        )
    console.print(f"page: {for_terminal(write_report(folder))}")


def main() -> None:
    """Run the command line; `UserError` and what the system refuses become a message on stderr and exit code 2."""
    warnings.filterwarnings("ignore", module=r"(diffusers|transformers|torch|timm|accelerate|PIL)(\..*)?")
    warnings.showwarning = partial(_warn, warnings.showwarning)
    try:
        with heeded():
            _refuse_several()
            app()
    except ranks.Shared as error:
        _refuse(str(error), speaks=ranks.speaks())
    except ranks.Lost as error:
        _refuse(str(error), speaks=ranks.rank() < 2)  # rank 0 may be the one that is lost
    except UserError as error:
        _refuse(f"process {ranks.rank()}: {error}" if ranks.rank() else str(error))
    except OSError as error:
        _refuse(system_refusal(error))


def _refuse_several() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else ""
    if ranks.launched() > 1 and command != "train":
        raise ranks.Shared(
            f"{command or 'this'} is not for several processes; only `actgen train` is. Give it without the launcher."
        )


def _refuse(message: str, *, speaks: bool = True) -> NoReturn:
    if speaks:
        plain = "\n".join(for_terminal(shortened(line, 800)) for line in message.split("\n"))
        _tell(f"[bold red]actgen:[/] {plain}")
    sys.exit(2)


def _warn(usual: Callable[..., None], message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Show a warning of ours as a line; others as Python does."""
    if issubclass(category, RenamedKey):
        _tell(f"[bold yellow]actgen:[/] {for_terminal(message)}")
    else:
        usual(message, category, *place, **more)


def _tell(text: str) -> None:
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(text)
