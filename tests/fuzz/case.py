"""One damaged input: it is written into a sandbox, given to the real `main()`, and what came of it is judged."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actgen.cli.app import main

REFUSED, SKIPPED, ACCEPTED = "refused", "skipped", "accepted"
_ACTS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


@dataclass(frozen=True)
class Case:
    """A named input. `build` writes it into the folder that it is given, and returns the command line; its --out is "out".

    `passed`: words of the refusal of something else, later, which shows that the input itself was accepted.
    """

    name: str
    build: Callable[[Path], list[str]]
    passed: str = ""


def link_tree(source: Path, target: Path) -> Path:
    """Copy a folder by hard links: `overwrite` puts another file in the place of one."""
    shutil.copytree(source, target, copy_function=os.link)
    return target


def overwrite(path: Path, data: bytes) -> Path:
    """Write a file anew, without touching what its old name was linked to."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def judge(case: Case, root: Path) -> str:
    """Run one case in a sandbox of its own; return what came of it, or raise AssertionError with what must not be."""
    sandbox = root / "deep" / "down" / "case"
    sandbox.mkdir(parents=True)
    try:
        arguments = case.build(sandbox)
        before = _everything(root)
        code, output, errors = _run(arguments, sandbox)
        after = _everything(root)
        outside = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
        inside = (sandbox / "out").relative_to(root).as_posix()
        strange = {path for path in outside if path != inside and not path.startswith(inside + "/")}
        assert not strange, f"{case.name}: written or lost outside the run's folder: {sorted(strange)}"
        assert code in (0, 2), f"{case.name}: exit code {code}: {errors}"
        assert "Traceback" not in output + errors, f"{case.name}: {errors}"
        assert not _ACTS.search(output + errors), f"{case.name}: acts on the terminal: {output + errors!r}"
        if code == 0:
            assert not errors, f"{case.name}: accepted, but says {errors!r}"
            return SKIPPED if "left out" in output else ACCEPTED
        assert errors.startswith("actgen: "), f"{case.name}: {errors!r}"
        assert len(errors.strip().splitlines()) <= 2, f"{case.name}: more than two lines: {errors!r}"
        assert len(errors) < 2000, f"{case.name}: not short: {errors!r}"
        assert not outside, f"{case.name}: refused, but changed {sorted(outside)}"
        return ACCEPTED if case.passed and case.passed in errors else REFUSED
    finally:
        shutil.rmtree(root / "deep")


def _run(arguments: list[str], folder: Path) -> tuple[int, str, str]:
    output, errors = io.StringIO(), io.StringIO()
    argv, where = sys.argv, Path.cwd()
    sys.argv = ["actgen", "-q", *arguments]  # stderr holds complaints alone
    os.chdir(folder)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            main()
        code: object = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.argv = argv
        os.chdir(where)
    assert isinstance(code, int)
    return code, output.getvalue(), errors.getvalue()


def _everything(root: Path) -> dict[str, str]:
    """Return what is below `root`: of files a digest, of links their target, of folders that they are there."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if os.access(path, os.R_OK) else "unreadable"
        else:
            found[name] = "folder" if path.is_dir() else "other"
    return found
