"""What follows from something else is current: tables from results, layers from the contract, the commands from the program."""

from __future__ import annotations

import pytest
from tools.generated_pages import PAGES, RESULTS, layers, six_rows, with_block, with_table

from actgen.studies.bench.compare import compare
from actgen.studies.bench.rows import read_rows
from tests.docs.blocks import ROOT


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_current(name: str) -> None:
    text = ROOT.joinpath(name).read_text(encoding="utf-8")
    assert PAGES[name](text) == text, "run python tools/generated_pages.py"


def test_a_changed_table_and_a_changed_block_are_noticed() -> None:
    page = "a\n\n| x |\n|---|\n| old |\n\n<!-- shown: b -->\n\n    old\n\nend\n"
    assert with_table(page, "| x |", ["| x |", "| new |"]) == page.replace("|---|\n| old |", "| new |")
    assert with_block(page, "<!-- shown: b -->", ["    new"]) == page.replace("    old", "    new")


def test_the_six_rows_are_the_best_the_next_the_controls_and_nothing() -> None:
    compared = compare(read_rows(RESULTS))
    rows = [line.split("|")[2].strip(" `") for line in six_rows(compared)[2:]]
    gains = sorted(((one.gain, one.arm) for one in compared if one.gain is not None), reverse=True)
    assert rows[:2] == list(dict.fromkeys(arm for _, arm in gains))[:2]
    assert rows[2] == next(one.arm for gain, _ in gains for one in compared if one.gain == gain and not one.budget)
    assert rows[3:] == ["text-only", "actgen", "none"]


def test_the_layers_name_every_folder_of_the_package() -> None:
    named = {name for line in layers() for name in line.replace("|", " ").split()}
    package = ROOT / "src" / "actgen"
    assert named == {path.name for path in package.iterdir() if path.joinpath("__init__.py").is_file()}
