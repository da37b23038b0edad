"""Warnings of libraries that something was dropped become ours; what is harmless stays unsaid."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from actgen.core.errors import Dropped
from actgen.diffusion.library_warnings import heard
from actgen.diffusion.loading import Loading, load_pipeline
from tests.support.families import FAMILIES, save


def test_what_was_dropped_is_a_warning_of_ours() -> None:
    def load() -> None:
        with heard("mine"):
            logging.getLogger("diffusers.models").warning("Some weights were\nnot used: x")
            logging.getLogger("transformers.modeling").warning("text_model.position_ids is unexpected")
            logging.getLogger("diffusers.pipelines").warning("Loading pipeline components")

    with pytest.warns(Dropped) as warned:
        load()
    assert [str(one.message) for one in warned] == ["--generator mine: a library says: Some weights were not used: x"]


def test_loggers_come_back_as_found() -> None:
    loggers = [logging.getLogger(name) for name in ("diffusers", "transformers")]
    before = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    with pytest.raises(RuntimeError), heard("x"):
        raise RuntimeError
    assert [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers] == before


def test_a_setting_of_a_part_that_diffusers_does_not_know(tmp_path: Path) -> None:
    save(FAMILIES["sd1"](), tmp_path)
    path = tmp_path / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), "no_such_setting": 3}), encoding="utf-8")
    with pytest.warns(Dropped, match="no_such_setting"):
        load_pipeline(str(tmp_path), "cpu", Loading())
