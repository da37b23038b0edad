"""How the tests are laid out: what two of them share lies in a module of its own, so that any file can move or be split."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent


def imported(path: Path) -> Iterator[str]:
    """Yield the modules that a file imports, each with the names that it takes from there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_module_imports_from_a_module_of_tests() -> None:
    files = sorted(TESTS.rglob("*.py"))
    modules = {path.stem for path in files if path.stem.startswith("test_")}
    assert len(modules) > 50
    for path in files:
        for name in imported(path):
            assert not modules & set(name.split(".")), f"{path.relative_to(TESTS)} imports {name}: move it to tests/support"


def test_no_two_classes_of_the_package_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for path in sorted((TESTS.parent / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(str(path.relative_to(TESTS.parent)))
    assert len(homes) > 50
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}
