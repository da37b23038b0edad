"""What several processes check among themselves; every function runs in each of them, and raises if something is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from actgen.core import signals
from actgen.core.errors import UserError
from actgen.core.parallel import agreeing, ranks


def messages() -> None:
    """Every way of telling each other."""
    ranks.begin()
    own, many = ranks.rank(), ranks.size()
    assert many == 2
    assert [list(ranks.share(4)), ranks.is_first()] == [[[0, 1], True], [[2, 3], False]][own]
    assert ranks.broadcast({"from": own, "pixels": torch.full((2,), own)})["from"] == 0
    assert ranks.exchange(["a" * (own + 1)]) == [["a"], ["aa"]]
    assert ranks.spread(range(5), lambda number: number**2) == [0, 1, 4, 9, 16]
    assert ranks.collect({"own": own}) == ([{"own": 0}, {"own": 1}] if own == 0 else [])
    assert ranks.joined(torch.full((own + 1, 1), own)).tolist() == [[0], [1], [1]]
    assert ranks.total(own + 0.5) == 2.0
    _refusals(own)
    _signals(own)
    ranks.end()


def _refusals(own: int) -> None:
    with pytest.raises(ranks.Shared, match="process 1: no such data"):
        _refuse_in_agreement(own == 1)
    with pytest.raises(ranks.Shared, match="/nowhere: No such file or directory"):
        agreeing.of_first(lambda: Path("/nowhere").read_text(encoding="utf-8"))
    with pytest.raises(ranks.Shared, match="process 1 has another generator than process 0"):
        agreeing.refuse_different({"data": "a", "generator": str(own)})
    assert agreeing.of_first(lambda: f"by {own}") == "by 0"


def _refuse_in_agreement(refuse: bool) -> None:
    with agreeing.agreed():
        if refuse:
            raise UserError("no such data")


def _signals(own: int) -> None:
    """What a signal asks of one, it asks of all."""
    with signals.deferred():
        signals.ask(15 if own == 1 else 0)
        assert not ranks.heard()
        ranks.total(0.0)
        assert ranks.heard()
        with pytest.raises(signals.Stopped) as stop:
            signals.check()
        assert stop.value.code == 143
        signals._State.asked = 0
