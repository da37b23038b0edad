"""Print the shape of the source tree: `python tools/house.py`, or with a commit to have that one beside the working tree.

A room is a Python file or a folder at the root of the package; an arrow is an ordered pair of rooms of which the first
imports the second, wherever in the file. Source is read as text and never imported, so names that are loaded from a table
of strings (the package's `__init__`) are no arrows.
"""

from __future__ import annotations

import ast
import configparser
import io
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from graphlib import TopologicalSorter
from pathlib import Path

PACKAGE = "actgen"
ROOT = Path(__file__).parents[1]
Graph = dict[str, set[str]]


@dataclass(frozen=True, kw_only=True)
class House:
    """Counts of one tree. `floors` is the number of rooms on the longest chain of imports, where a circle is one floor."""

    files: int
    folders: int
    rooms: int
    floors: int
    arrows: int
    circles: int
    contract: int
    fmt_skip: int
    any_words: int
    lines: int


def rooms_of(package: Path) -> dict[str, Path]:
    """Return the rooms by name: the Python files and the folders that hold some, at the root of the package."""
    folders = {path.name: path for path in package.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    return {path.stem: path for path in package.glob("*.py")} | folders


def absolute(node: ast.ImportFrom, file: Path, package: Path) -> list[str]:
    """Return the full dotted names that a `from` import takes, relative ones counted from the folder of `file`."""
    here = [PACKAGE, *file.relative_to(package).parts[:-1]]
    base = here[: len(here) - node.level + 1] if node.level else []
    return [".".join([*base, *([node.module] if node.module else []), alias.name]) for alias in node.names]


def imports(file: Path, package: Path) -> Iterator[str]:
    """Yield the full dotted name of everything that a file imports."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from absolute(node, file, package)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def graph_of(package: Path) -> Graph:
    """Return which rooms each room imports, itself left out; a name of the package's own root is the room `__init__`."""
    rooms = rooms_of(package)
    graph: Graph = {name: set() for name in rooms}
    for room, path in rooms.items():
        for file in path.rglob("*.py") if path.is_dir() else [path]:
            parts = (name.split(".") for name in imports(file, package))
            inside = (part[1] if len(part) > 1 else "__init__" for part in parts if part[0] == PACKAGE)
            graph[room] |= {name if name in rooms else "__init__" for name in inside} - {room}
    return graph


def reached(graph: Graph, start: str) -> set[str]:
    """Return the rooms that `start` imports, directly or through others."""
    seen: set[str] = set()
    left = list(graph[start])
    while left:
        room = left.pop()
        if room not in seen:
            seen.add(room)
            left += graph[room]
    return seen


def circles_of(graph: Graph) -> list[frozenset[str]]:
    """Return the groups of rooms that import each other in a circle."""
    reach = {room: reached(graph, room) for room in graph}
    groups = {frozenset(other for other in reach[room] if room in reach[other]) for room in graph if room in reach[room]}
    return sorted(groups, key=sorted)


def floors_of(graph: Graph) -> int:
    """Return the number of rooms on the longest chain of imports, each circle taken as one room."""
    group = {room: frozenset({room}) for room in graph}
    for circle in circles_of(graph):
        group |= dict.fromkeys(circle, circle)
    below = {group[room]: set[frozenset[str]]() for room in graph}
    for room, others in graph.items():
        below[group[room]] |= {group[other] for other in others} - {group[room]}
    height: dict[frozenset[str], int] = {}
    for node in TopologicalSorter(below).static_order():
        height[node] = 1 + max((height[other] for other in below[node]), default=0)
    return max(height.values(), default=0)


def contract_lines(path: Path) -> int:
    """Return the number of lines under `layers` in all contracts of `.importlinter`; 0 if there is no such file."""
    parser = configparser.ConfigParser()
    parser.read(path, encoding="utf-8")
    layers = (parser[name].get("layers", "") for name in parser.sections())
    return sum(bool(line.strip()) for text in layers for line in text.splitlines())


def measure(root: Path) -> House:
    """Measure the tree whose root holds `src/actgen` and `.importlinter`."""
    package = root / "src" / PACKAGE
    texts = [path.read_text(encoding="utf-8") for path in package.rglob("*.py")]
    rooms, graph = rooms_of(package), graph_of(package)
    folders = sum(path.is_dir() for path in rooms.values())
    return House(
        files=len(rooms) - folders,
        folders=folders,
        rooms=len(rooms),
        floors=floors_of(graph),
        arrows=sum(map(len, graph.values())),
        circles=len(circles_of(graph)),
        contract=contract_lines(root / ".importlinter"),
        fmt_skip=sum(len(re.findall(r"fmt:\s*skip", text)) for text in texts),
        any_words=sum(len(re.findall(r"\bAny\b", text)) for text in texts),
        lines=sum(len(text.splitlines()) for text in texts),
    )


def measure_commit(commit: str) -> House:
    """Measure a commit of this repository, unpacked into a temporary folder; exits with git's words if there is none."""
    done = subprocess.run(["git", "archive", "--end-of-options", commit], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"git cannot unpack {commit!r}: {done.stderr.decode().strip()}. Give a commit of this repository.")
    with tempfile.TemporaryDirectory() as folder, tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder, filter="data")
        return measure(Path(folder))


def main(commits: list[str]) -> None:
    """Print one row per count, one column per commit and a last one for the working tree."""
    columns = {commit: measure_commit(commit) for commit in commits} | {"working tree": measure(ROOT)}
    print(f"{'':12}" + "".join(f"{name:>14.12}" for name in columns))
    for field in fields(House):
        print(f"{field.name:12}" + "".join(f"{getattr(house, field.name):>14,}" for house in columns.values()))


if __name__ == "__main__":
    main(sys.argv[1:])
