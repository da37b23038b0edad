"""A page that is read wrongly would be a page that is not run: what counts as a block, and what no page may hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.blocks import Block, blocks, commands
from tests.docs.commands import check, check_mention
from tests.docs.running import refuse_unknown, run_block
from tests.docs.small import lay

KNOWN = {"actgen", "make"}


def read(*lines: str) -> list[Block]:
    return [block for block in blocks("\n".join(lines), KNOWN) if block.kind != "prose"]


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["    make test", "    X=1 actgen train \\", "      --epochs 2   # two"], "commands"),
        (["    --set a=b"], "commands"),
        (["    # a comment", "    make test"], "commands"),
        (["    make test", "    and so on"], ""),
        (["    it's a generated image"], ""),
        (["```python", "a = 1", "```"], "python"),
        (["  ```sh", "  ls", "  ```"], "commands"),
        (["~~~toml", "a = 1", "~~~"], "toml"),
        (["```text", "...", "```"], "text"),
        (["```", "make test", "```"], ""),
        (["```fortran", "end", "```"], ""),
    ],
)
def test_a_block_is_what_it_says(lines: list[str], kind: str) -> None:
    (block,) = read("words", "", *lines, "", "words")
    assert block.kind == kind
    assert block.line == 3
    assert block.runs == (kind not in ("", "text"))


def test_a_mark_holds_for_the_next_block_only() -> None:
    marked, free = read("words", "<!-- parsed: needs a GPU -->", "", "    make test", "", "    make docs")
    assert (marked.mark, marked.runs, free.runs) == ("parsed", False, True)
    (sampling,) = read("<!-- shown: a tree -->", "", "    src/")
    refuse_unknown(sampling)
    assert not sampling.runs


@pytest.mark.parametrize(
    "lines",
    [
        ["    src/"],
        ["```", "make test", "```"],
        ["```fortran", "end", "```"],
        ["<!-- parsed: no command -->", "", "    src/"],
        ["<!-- shown: a command hides -->", "", "    make test"],
        ["<!-- shown: so does this -->", "", "```python", "a", "```"],
    ],
)
def test_a_block_that_nobody_runs_and_that_does_not_say_why_is_refused(lines: list[str]) -> None:
    (block,) = read(*lines)
    with pytest.raises(AssertionError, match="line "):
        refuse_unknown(block)


@pytest.mark.parametrize(
    "lines",
    [
        ["<!-- parsed: -->", "", "    make test"],
        ["<!-- skipped: why -->", "", "    make test"],
        ["<!-- parsed: why -->", "word"],
        ["<!-- parsed: why -->"],
        ["<!-- parsed: a -->", "<!-- shown: b -->", "", "    make test"],
        ["```python", "a = 1"],
        ["<!-- shown: why -->", "", "words", "", "    src/"],
    ],
)
def test_a_page_with_an_odd_mark_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=r"line|mark"):
        read(*lines)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("actgen", "which command of actgen"),
        ("actgen trian", "there is no actgen trian"),
        ("ls", "nobody knows how to check ls"),
        ("actgen train --epoch 2", "No such option: --epoch"),
        ("torchrun -m actgen train --epoch 2", "No such option: --epoch"),
        ("srun bash -c 'actgen train --epoch 2'", "No such option: --epoch"),
        ("--set a=b", "unknown key a"),
        ("actgen train --set training.epoch=2", "unknown key training.epoch"),
        ("actgen train --recipe nowhere", "no such file"),
        ("actgen bench fashion-mnist-500 --arms none,nothing", "'nothing' is unknown"),
        ("make nothing", "'nothing'"),
        ("pytest tests/nothing.py", "tests/nothing.py"),
        ("pytest -m nothing", "nothing"),
        ("pytest tests/cli/test_cli.py -k no_such_test", "no_such_test"),
        ("python examples/nothing.py", "examples/nothing.py"),
        ("python benchmarks/store.py --nothing", "2"),
        ("pip install 'actgen[nothing]'", "nothing"),
    ],
)
def test_a_command_that_there_is_not_is_noticed(command: str, reason: str) -> None:
    (words,) = commands(command)
    with pytest.raises((Exception, SystemExit), match=re.escape(reason)):  # of typer, argparse, actgen or an assertion
        check(words)


def test_a_part_of_a_command_may_be_said_but_nothing_wrong() -> None:
    check_mention("actgen finetune --images 500")
    check_mention("actgen train ...")
    with pytest.raises(AssertionError, match="--picture"):
        check_mention("actgen finetune --picture 500")


def test_a_snippet_that_fails_fails(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(str(tmp_path))
    for kind, text in (("python", "1 / 0"), ("toml", "[nothing]\n"), ("commands", "actgen report nowhere")):
        with pytest.raises((ZeroDivisionError, ValueError)):
            run_block(Block(kind, text, 1), "page", {})


def test_stand_ins_lie_where_they_are_named_and_not_where_something_is_made(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    lay("actgen finetune --data my_photos --out mine.toml --set a=runs/mine")
    assert [path.name for path in Path().iterdir()] == ["my_photos"]
