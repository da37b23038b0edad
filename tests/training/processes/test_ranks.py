"""What several processes tell each other, checked by two of them."""

from __future__ import annotations

from pathlib import Path

from actgen.core.parallel import agreeing, ranks
from tests.training.processes.conftest import Launch


def test_two_processes(launch: Launch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert launch(2, log, check="messages") == [0, 0], log.read_text(encoding="utf-8")


def test_one_process_is_alone_and_nothing_changes() -> None:
    value = {"any": object()}
    assert (ranks.size(), ranks.rank(), ranks.is_first(), ranks.launched()) == (1, 0, True, 1)
    assert ranks.broadcast(value) is value
    assert ranks.exchange(value) == ranks.collect(value) == [value]
    assert list(ranks.share(5)) == [0, 1, 2, 3, 4]
    assert ranks.total(0.1) == 0.1
    assert agreeing.sees_folder(Path("nowhere"))
