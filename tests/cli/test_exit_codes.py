"""What a command's exit code says; 130 and 143 of a stopped run are in `tests/crash/test_stops.py`."""

from __future__ import annotations

import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actgen.cli.app import main
from actgen.core.errors import RunFailure, UserError
from actgen.data.store.store import MANIFEST, Store
from tests.conftest import make_sample
from tests.support.command_line import run

Ended = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ended:
    """Run `main()`; return its exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["actgen", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        seen = capsys.readouterr()
        return int(end.value.code or 0), seen.out, seen.err

    return call


def test_0_is_done(ended: Ended) -> None:
    code, out, err = ended("--version")
    assert (code, err) == (0, "")
    assert out.startswith("actgen ")


def test_1_is_done_and_something_was_found(ended: Ended, tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add_all([(make_sample("a", 0), {})])
    assert ended("store", "verify", str(tmp_path), "--json")[0] == 0
    image = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))["file_name"]
    (tmp_path / image).write_bytes(b"no image")
    code, out, _ = ended("store", "verify", str(tmp_path), "--json")
    assert code == 1
    assert len(json.loads(out)["damage"]) == 1


def test_2_is_what_cannot_be_used(ended: Ended, tmp_path: Path) -> None:
    code, out, err = ended("train", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"))
    assert (code, out) == (2, "")
    assert err.startswith("actgen: ")


def test_3_is_work_that_failed(ended: Ended, digits: Path, tmp_path: Path) -> None:
    """A learning rate that makes the weights infinite is allowed; the training then ends."""
    wild = ("training.learning_rate=1000", "training.label_smoothing=0", "training.weight_decay=10", "training.epochs=4")
    settings = [part for one in wild for part in ("--set", one)]
    code, _, err = ended("train", "--data", str(digits), "--strategy", "none", "--out", str(tmp_path / "out"), *settings)
    assert code == 3, err
    assert "the training loss is nan in step" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 3),
        (PermissionError(errno.EACCES, "Permission denied"), 2),
        (RunFailure("it failed"), 3),
        (UserError("not so"), 2),
        (KeyError("a fault of ours"), 3),
    ],
)
def test_an_error_has_the_code_of_its_kind(
    ended: Ended, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception, code: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("actgen.experiment.run.run", fail)
    seen, _, err = ended("train", "--out", str(tmp_path / "out"))
    assert seen == code
    assert ("Traceback" in err) == isinstance(error, KeyError)


def test_130_is_a_stop_before_the_command_has_begun(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("actgen.cli.app.app", stop)
    code, _, err = ended("train", "--epochs", "2")
    assert (code, err) == (130, "stopped. Continue with: actgen train --epochs 2\n")


def test_results_are_on_stdout_and_progress_is_not(digits: Path, tmp_path: Path) -> None:
    words = ("train", "--data", str(digits), "--strategy", "none", "--epochs", "1", "--set", "model.name=actgen/tiny-cnn")
    plain = run(*words, "--out", str(tmp_path / "one"))
    assert "epoch   1" in plain.stderr
    assert "epoch   1" not in plain.stdout
    quiet = run("-q", *words, "--out", str(tmp_path / "two"), "--json")
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)["strategy"] == "none"
