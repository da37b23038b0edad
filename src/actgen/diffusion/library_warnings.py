"""What diffusers and transformers only log while they load a generator: what they dropped becomes a warning of ours."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from ..core.errors import Dropped
from ..core.text import shortened, visible

_LIBRARIES = ("diffusers", "transformers")
_DROPPED = re.compile(
    r"not used|unused|ignored|will be dropped|filter out|newly initiali[sz]ed|not initiali[sz]ed|unexpected|missing|mismatch",
    re.I,
)
_HARMLESS = re.compile(r"position_ids|safety checker|safety_checker|deprecat|_name_or_path|accelerate", re.I)
_LONGEST = 300


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what says that something was dropped."""
        text = record.getMessage()
        if _DROPPED.search(text) and not _HARMLESS.search(text):
            self.heard.append(text)


@contextmanager
def heard(name: str) -> Iterator[None]:
    """Have the libraries say nothing inside; at its end warn (`Dropped`) of what they dropped of the generator `name`."""
    listener = _Listener()
    loggers = [logging.getLogger(library) for library in _LIBRARIES]
    before = [(logger.level, logger.propagate, logger.handlers[:]) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
        logger.propagate, logger.handlers = False, [listener]
    try:
        yield
    finally:
        for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.propagate, logger.handlers = propagate, handlers
    for text in dict.fromkeys(listener.heard):
        line = visible(shortened(" ".join(text.split()), _LONGEST))
        warnings.warn(f"--generator {visible(name)}: a library says: {line}", Dropped, stacklevel=2)
