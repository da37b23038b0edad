"""A block of a page, run; or refused, if nobody knows what it is."""

from __future__ import annotations

from pathlib import Path

from actgen.experiment.config import build_recipe
from tests.docs.blocks import Block, commands
from tests.docs.small import lay, run, smaller


def refuse_unknown(block: Block) -> None:
    """Fail for a block that nobody runs and that does not say why."""
    assert block.kind, (
        f"line {block.line}: say what this is: ```text, a known language, or <!-- shown: WHAT --> before it\n{block.text}"
    )
    assert block.mark != "shown" or block.kind == "text", f"line {block.line}: a snippet; it may be <!-- parsed: WHY -->"


def run_block(block: Block, name: str, scope: dict[str, object]) -> None:
    if block.kind == "commands":
        for words in commands(block.text):
            run(words)
    elif block.kind == "python":
        lay(block.text)
        exec(compile(smaller(block.text), name, "exec"), scope)
    elif block.kind == "toml":
        Path("shown.toml").write_text(block.text, encoding="utf-8")
        build_recipe(Path("shown.toml"))
