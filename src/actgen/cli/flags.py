"""Flags that several commands share, and the words of --help, which are those of the options' fields."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

HELP: Final[dict[str, str]] = json.loads(files(__package__).joinpath("field_help.json").read_text(encoding="utf-8"))
"""Dotted key of a recipe, or flag of `finetune` -> explanation, what is allowed, default; by tools/configuration.py."""
OUT = "Folder of the run; the same command on the same folder continues it."
console = Console(highlight=False, emoji=False, soft_wrap=True)

Out = Annotated[Path, typer.Option(help=OUT)]
DataSpec = Annotated[str | None, typer.Option(help=HELP["data"])]
Masks = Annotated[str | None, typer.Option(help=HELP["masks"])]
ModelName = Annotated[str | None, typer.Option(help=HELP["model.name"])]
GeneratorName = Annotated[str | None, typer.Option(help=HELP["generator"])]
OnBadImage = Annotated[str | None, typer.Option(help=HELP["on_bad_image"])]
Layout = Annotated[str | None, typer.Option(help=HELP["reading.layout"])]
FollowLinks = Annotated[bool | None, typer.Option("--follow-links", help=HELP["reading.follow_links"])]
Seed = Annotated[int | None, typer.Option(help=HELP["seed"])]
Settings = Annotated[list[str] | None, typer.Option("--set", help="Change one value of the recipe: a.b=c. May be repeated.")]
