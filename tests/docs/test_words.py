"""README and docs speak as the field does: none of the words that were this project's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

OWN = re.compile(r"\b(artists?|doubt\w*|belie(?:f|fs|ve|ves|ved)|rungs?|drawn|drawings?|scouts?)\b", re.IGNORECASE)
OLD = "\n## Old names\n"
"""From here on a page says what things were called."""
PAGES = [ROOT / "README.md", *(path for path in sorted(ROOT.joinpath("docs").rglob("*.md")) if path.name != "research-log.md")]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_word_of_our_own(path: Path) -> None:
    text = path.read_text(encoding="utf-8").partition(OLD)[0]
    lines = enumerate(text.splitlines(), 1)
    assert [f"{number}: {found[0]}" for number, line in lines for found in OWN.finditer(line)] == []


def test_the_words_of_the_field_are_there() -> None:
    text = ROOT.joinpath("README.md").read_text(encoding="utf-8")
    assert {"generated", "synthetic"} <= set(re.findall(r"\w+", text.lower()))


def test_every_source_file_that_a_page_names_is_there() -> None:
    there = [
        path.as_posix()
        for name in ("src", "tests", "tools", "benchmarks", "examples")
        for path in ROOT.joinpath(name).rglob("*.py")
    ]
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"):
        for named in re.findall(r"`([\w./]+\.py)`", page.read_text(encoding="utf-8")):
            assert any(path.endswith(f"/{named}") for path in there), f"{page.name}: {named}"
