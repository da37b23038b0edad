"""The parts of README and docs that follow from something else: two tables, the layers, the reference of the command line.

    python tools/generated_pages.py          # writes them; a test says whether they are current

| part | in | from |
|---|---|---|
| six rows | README.md | benchmarks/fashion-mnist-2000/results.jsonl |
| all rows | docs/evidence.md | the same |
| layers | docs/architecture.md | .importlinter |
| commands | docs/reference/cli.md | the typer application |
"""

from __future__ import annotations

import configparser
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from actgen.studies.bench.arms import BASE  # noqa: E402
from actgen.studies.bench.compare import Comparison, compare  # noqa: E402
from actgen.studies.bench.rows import read_rows  # noqa: E402
from actgen.studies.bench.table import NOTHING, interval_words, make_table, points  # noqa: E402

RESULTS = ROOT / "benchmarks" / "fashion-mnist-2000" / "results.jsonl"
SIX_HEAD = "| | arm | budget | test accuracy | gain | 95% interval | training + generation |"
ALL_HEAD = "| arm | budget | seeds |"
LAYERS = "<!-- shown: the layers of .importlinter -->"
SHOWN = "<!-- parsed: an example of the help; pages with the data for it run the like -->"
PUBLISHED, TEXT = "actgen", "text-only"


def six_rows(compared: Sequence[Comparison]) -> list[str]:
    """Return the README's table: what was best, what it is to be held against. Every arm at the budget where it did best."""
    best: dict[str, Comparison] = {}
    for one in compared:
        if one.gain is not None and (one.arm not in best or one.gain > (best[one.arm].gain or 0.0)):
            best[one.arm] = one
    ranked = sorted(best.values(), key=lambda one: -(one.gain or 0.0))
    control = next(one for one in ranked if not one.budget)
    (nothing,) = (one for one in compared if one.arm == BASE)
    named = {
        "best arm": ranked[0],
        "runner-up": ranked[1],
        "best without a generator": control,
        "from class prompts alone": best[TEXT],
        "the published method": best[PUBLISHED],
        "real images only": nothing,
    }
    return [SIX_HEAD, "|---|---|---:|---:|---:|---:|---:|", *(_six(name, one) for name, one in named.items())]


def _six(name: str, one: Comparison) -> str:
    budget = f"{one.budget:.0%}" if one.budget else NOTHING
    seconds = f"{one.train_seconds:.0f} s" + (f" + {one.generation_seconds:.0f} s" if one.images else "")
    values = (f"`{one.arm}`", budget, f"{one.accuracy:.2f}%", points(one.gain), interval_words(one.interval), seconds)
    return "| " + " | ".join((name, *values)) + " |"


def all_rows(table: str) -> list[str]:
    """Return the lines of the first table in a bench's Markdown."""
    return [line for line in table.splitlines() if line.startswith("|")]


def layers() -> list[str]:
    """Return the layers of the import contract, the highest first, indented as a block."""
    contract = configparser.ConfigParser()
    contract.read(ROOT / ".importlinter", encoding="utf-8")
    lines = contract["importlinter:contract:layers"]["layers"].split("\n")
    return ["    " + line.replace("actgen.", "") for line in lines if line]


def command_line() -> str:
    """Return the page of all commands, in the order of `actgen --help`."""
    from actgen.cli.app import app

    root = get_command(app)
    assert isinstance(root, TyperGroup)
    intro = "# Command line\n\nEvery command and option of `actgen`, written by `python tools/generated_pages.py`.\n"
    return "\n".join([intro, *_group(root, "actgen")])


def _group(group: TyperGroup, path: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from _group(command, f"{path} {name}")
        elif isinstance(command, TyperCommand):
            yield _command(command, f"{path} {name}")


def _command(command: TyperCommand, path: str) -> str:
    given = [one for one in command.params if isinstance(one, TyperArgument)]
    words = " ".join(_name(one) for one in given)
    rows = [_option(one) for one in command.params if isinstance(one, TyperOption)]
    head = ["| option | if not given | |", "|---|---|---|"] if rows else []
    said = [_marked(inspect.cleandoc(command.help or "")), "", *_arguments(given), *head, *rows, ""]
    return "\n".join([f"## {path} {words}".rstrip(), "", *said])


def _name(one: TyperArgument) -> str:
    return (one.metavar or one.name or "").upper().removesuffix("...") + ("..." if one.nargs == -1 else "")


def _marked(text: str) -> str:
    """Return a help text whose indented commands say that they are run elsewhere."""
    lines = text.split("\n")
    starts = [line.startswith("    ") and not before for before, line in zip(["", *lines], lines, strict=False)]
    return "\n".join(f"{SHOWN}\n\n{line}" if start else line for start, line in zip(starts, lines, strict=True))


def _arguments(given: Sequence[TyperArgument]) -> list[str]:
    told = [(one, getattr(one, "help", None)) for one in given]
    return [f"`{_name(one)}`: {_cell(text)}\n" for one, text in told if text]


def _option(one: TyperOption) -> str:
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    default = one.default() if callable(one.default) else one.default
    shown = "required" if one.required else "" if default in (None, (), "") or one.is_flag else f"`{default}`"
    return f"| {names} | {shown} | {_cell(one.help or '')} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def with_table(page: str, head: str, lines: Sequence[str]) -> str:
    """Return a page in which the table that begins with `head` is replaced; AssertionError unless there is one such table."""
    rows = page.split("\n")
    (start,) = (number for number, line in enumerate(rows) if line.startswith(head))
    end = next(number for number in range(start, len(rows)) if not rows[number].startswith("|"))
    return "\n".join([*rows[:start], *lines, *rows[end:]])


def with_block(page: str, mark: str, lines: Sequence[str]) -> str:
    """Return a page in which the indented block after the line `mark` is replaced."""
    rows = page.split("\n")
    start = rows.index(mark) + 2
    end = next(number for number in range(start, len(rows)) if not rows[number].startswith("    "))
    return "\n".join([*rows[:start], *lines, *rows[end:]])


def _readme(page: str) -> str:
    return with_table(page, SIX_HEAD, six_rows(compare(read_rows(RESULTS))))


def _evidence(page: str) -> str:
    return with_table(page, ALL_HEAD, all_rows(make_table(read_rows(RESULTS))))


PAGES: dict[str, Callable[[str], str]] = {
    "README.md": _readme,
    "docs/evidence.md": _evidence,
    "docs/architecture.md": lambda page: with_block(page, LAYERS, layers()),
    "docs/reference/cli.md": lambda page: command_line(),
}
"""What a page becomes: its text -> the text with all generated parts current."""


def main() -> None:
    """Write every page that is not current, and say which."""
    for name, update in PAGES.items():
        path = ROOT / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if (new := update(old)) != old:
            path.write_text(new, encoding="utf-8")
            print(f"wrote {name}")


if __name__ == "__main__":
    main()
