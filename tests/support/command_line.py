"""The command line in this process, with stdout and stderr apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.testing import CliRunner

from actgen.cli.app import app

if TYPE_CHECKING:
    from typer.testing import Result


def run(*arguments: str, code: int = 0) -> Result:
    """Run a command that is to end with `code`; what it prints is in `stdout` and `stderr` of the result."""
    result: Result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result
