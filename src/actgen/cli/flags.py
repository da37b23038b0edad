"""Flags that several commands share, and the words of --help, which are those of the options' fields."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

NARROW = 100
"""Columns below which a table of options would cut names; help is plain text there."""


class Command(TyperCommand):
    """A command whose help cuts no name, however narrow the terminal is."""

    def format_help(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write the help, in a table where there is room for one."""
        if Console().width < NARROW:
            self.rich_markup_mode = None
            self.help = (self.help or "").replace("\n\n    ", "\n\n\b\n    ")  # an example keeps its lines
        super().format_help(ctx, formatter)


def show_json(found: object) -> None:
    """Print results as JSON on stdout."""
    typer.echo(json.dumps(found, indent=1, ensure_ascii=False, default=str))


HELP: Final[dict[str, str]] = json.loads(files(__package__).joinpath("field_help.json").read_text(encoding="utf-8"))
"""Dotted key of a recipe, or flag of `finetune` -> explanation, what is allowed, default; by tools/configuration.py."""
OUT = "Folder of the run; the same command on the same folder continues it."
console = Console(highlight=False, emoji=False, soft_wrap=True)
"""Results, on stdout."""
stderr = Console(highlight=False, emoji=False, soft_wrap=True, stderr=True)
"""Progress and notes, on stderr; `actgen -q` makes it quiet."""

Out = Annotated[Path, typer.Option(help=OUT)]
DataSpec = Annotated[str | None, typer.Option(help=HELP["data"])]
Masks = Annotated[str | None, typer.Option(help=HELP["masks"])]
ModelName = Annotated[str | None, typer.Option(help=HELP["model.name"])]
GeneratorName = Annotated[str | None, typer.Option(help=HELP["generator"])]
OnBadImage = Annotated[str | None, typer.Option(help=HELP["on_bad_image"])]
Layout = Annotated[str | None, typer.Option(help=HELP["reading.layout"])]
FollowLinks = Annotated[bool | None, typer.Option("--follow-links", help=HELP["reading.follow_links"])]
Seed = Annotated[int | None, typer.Option(help=HELP["seed"])]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON on stdout, and nothing else there.")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Change one value of the recipe: a.b=c. May be repeated.")]
