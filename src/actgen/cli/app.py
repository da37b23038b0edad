"""The command line: its commands, one file a group, put together; every `UserError` becomes a message and exit code 2."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from ..core.errors import Dropped, RenamedKey, UserError, system_refusal
from ..core.parallel import ranks
from ..core.signals import Stopped, heeded
from ..core.text import for_terminal, shortened
from .bench import bench
from .data import data
from .finetune import finetune
from .generate import generate
from .probe import probe
from .report import report
from .store import store
from .train import demo, train


class _Commands(TyperGroup):
    """Commands that say how to go on after Ctrl-C, SIGTERM or SIGHUP; Typer alone ends them without a word."""

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
for command in (demo, train, data, generate, report, bench, probe, finetune):
    app.command()(command)
app.add_typer(store, name="store")


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
    if issubclass(category, RenamedKey | Dropped):
        _tell(f"[bold yellow]actgen:[/] {for_terminal(message)}")
    else:
        usual(message, category, *place, **more)


def _tell(text: str) -> None:
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(text)
