"""The command line: its commands, one file a group, put together; every `UserError` becomes a message and an exit code.

0 done, 1 done and something was found (damage, failed runs of a bench), 2 what was given cannot be used, 3 the work failed,
130 Ctrl-C, 143 SIGTERM. Results go to stdout; progress, notes and messages to stderr.
"""

from __future__ import annotations

import shlex
import sys
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from ..core.errors import Dropped, RenamedKey, RunFailure, UserError, system_code, system_refusal
from ..core.parallel import ranks
from ..core.signals import Stopped, heeded
from ..core.text import for_terminal, shortened
from .bench import bench
from .data import data
from .demo import demo
from .environment import environment
from .finetune import finetune
from .flags import Command, stderr
from .generate import generate
from .listing import listing
from .probe import probe
from .report import report
from .store import store
from .train import train


class _Commands(TyperGroup):
    """Commands that say how to go on after Ctrl-C, SIGTERM or SIGHUP; Typer alone ends them without a word."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise typer.Exit(_say_stopped(stop)) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"actgen {version('actgen')}")
        raise typer.Exit


@app.callback()
def options(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr; results and messages remain.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the warnings of libraries, too.")] = False,
    _: Annotated[bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)] = False,
) -> None:
    """Generate variants of what an image classifier gets wrong, and train on them.

    Begin with `actgen demo`, or `actgen train --data DIR --dry-run`. These two options stand before the command:
    `actgen -q train ...`.
    """
    stderr.quiet = quiet
    if not verbose:
        warnings.filterwarnings("ignore", module=r"(diffusers|transformers|torch|timm|accelerate|PIL)(\..*)?")


PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Train": (demo, train, report),
    "Decide before": (data, probe, bench),
    "Images and generators": (generate, finetune),
}
for panel, commands in PANELS.items():
    for command in commands:
        app.command(cls=Command, rich_help_panel=panel)(command)
app.add_typer(store, name="store", rich_help_panel="Images and generators")
app.command("list", cls=Command, rich_help_panel="This installation")(listing)
app.command("env", cls=Command, rich_help_panel="This installation")(environment)


def main() -> None:
    """Run the command line; `UserError` and what the system refuses become a message on stderr and an exit code."""
    warnings.showwarning = partial(_warn, warnings.showwarning)
    try:
        with heeded():
            _refuse_several()
            app()
    except KeyboardInterrupt as stop:  # before its command had begun
        sys.exit(_say_stopped(stop))
    except ranks.Shared as error:
        _refuse(str(error), error.code, speaks=ranks.speaks())
    except ranks.Lost as error:
        _refuse(str(error), error.code, speaks=ranks.rank() < 2)  # rank 0 may be the one that is lost
    except UserError as error:
        _refuse(f"process {ranks.rank()}: {error}" if ranks.rank() else str(error), error.code)
    except OSError as error:
        _refuse(system_refusal(error), system_code(error))
    except Exception:  # a fault of ours, or of a library: all that is known is shown
        traceback.print_exc()
        _refuse("this should not have happened. Please report it with the lines above.", RunFailure.code)


def _say_stopped(stop: KeyboardInterrupt) -> int:
    """Say how to go on; return the exit code."""
    if ranks.speaks():
        again = "Continue with the launcher and" if ranks.launched() > 1 else "Continue with:"
        _tell(f"stopped. {again} {for_terminal(shlex.join(['actgen', *sys.argv[1:]]))}")
    return stop.code if isinstance(stop, Stopped) else 130


def _refuse_several() -> None:
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if ranks.launched() > 1 and command != "train":
        raise ranks.Shared(
            f"{command or 'this'} is not for several processes; only `actgen train` is. Give it without the launcher."
        )


def _refuse(message: str, code: int = UserError.code, *, speaks: bool = True) -> NoReturn:
    if speaks:
        plain = "\n".join(for_terminal(shortened(line, 800)) for line in message.split("\n"))
        _tell(f"[bold red]actgen:[/] {plain}")
    sys.exit(code)


def _warn(usual: Callable[..., None], message: Warning | str, category: type[Warning], *place: object, **more: object) -> None:
    """Show a warning of ours as a line; others as Python does."""
    if issubclass(category, RenamedKey | Dropped):
        _tell(f"[bold yellow]actgen:[/] {for_terminal(message)}")
    else:
        usual(message, category, *place, **more)


def _tell(text: str) -> None:
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(text)
