"""The README tells the truth: its loop runs as printed, its tree is the tree; tests/docs run the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.small import smaller

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("images", [2 * 3, pytest.param(4 * 20, marks=pytest.mark.slow)], ids=["small", "as printed"])
def test_the_loop_runs(images: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    exec(compile(smaller(code) if images == 2 * 3 else code, "README.md", "exec"), names)
    rows = (tmp_path / "runs/loop/store/metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(rows) == images


def test_every_module_is_in_the_tree() -> None:
    tree = README.partition("## Where things are")[2]
    for path in sorted((ROOT / "src" / "actgen").rglob("*.py")):
        if path.name != "__init__.py" and path.parent.name != "report":
            assert re.search(rf"\b{re.escape(path.name)}\b", tree), f"{path.name} is missing in the README's tree"


def test_every_file_in_the_tree_exists() -> None:
    tree = README.partition("## Where things are")[2].partition("## ")[0]
    there = {path.name for path in ROOT.joinpath("src").rglob("*.py")} | {
        p.name for folder in ("benchmarks", "tools") for p in ROOT.joinpath(folder).glob("*.py")
    }
    assert set(re.findall(r"\b(\w+\.py)\b", tree)) <= there
