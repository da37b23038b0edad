"""The forecast of `benchmarks/roofline.py`: what it counts is what was done."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.memory import like_gpu
from benchmarks.roofline import Machine, RejectionLog, Way, Work, facts

MACHINE = Machine("test", half=100.0, single=10.0, bandwidth=5.0, launch=2.0)


def counted(work: Callable[[], object], device: str = "meta") -> list[Work]:
    rejections = RejectionLog(device)
    with like_gpu(), rejections:
        work()
    return list(rejections.works.elements())


def test_a_convolution_forwards_and_backwards() -> None:
    layer = nn.Conv2d(3, 8, 3, padding=1, bias=False, device="meta")
    x = torch.empty(2, 3, 16, 16, device="meta", requires_grad=True)
    works = counted(lambda: layer(x).sum().backward())
    there, back = (next(one for one in works if one.kind == "convolution" and one.backward is way) for way in (False, True))
    forwards = 2 * 2 * 16 * 16 * 3 * 3 * 3 * 8
    assert there.operations == forwards
    assert there.bytes == 4 * (2 * 3 * 256 + 8 * 3 * 9 + 2 * 8 * 256)
    assert back.operations == 2 * forwards  # for the input and for the weights


@pytest.mark.parametrize(
    ("shape", "kind"), [((5, 64), "linear"), ((4, 8, 16), "attention, written out"), ((1, 4, 8, 16), "attention, fused")]
)
def test_kinds(shape: tuple[int, ...], kind: str) -> None:
    x = torch.empty(shape, device="meta", dtype=torch.float16)
    weight = torch.empty(7, 64, device="meta", dtype=torch.float16)
    work = {
        2: lambda: F.linear(x, weight),
        3: lambda: torch.bmm(x, x.transpose(1, 2)),
        4: lambda: F.scaled_dot_product_attention(x, x, x),
    }[len(shape)]
    works = [one for one in counted(work) if one.operations]
    assert [one.kind for one in works] == [kind]
    assert works[0].half


def test_views_and_other_devices_cost_nothing() -> None:
    x = torch.empty(4, 6, device="meta")
    assert counted(lambda: x.t().reshape(2, 3, 4)[0].detach()) == []
    assert counted(lambda: torch.ones(3) + 1) == []


def test_the_slowest_of_three_counts() -> None:
    def seconds(operations: int, moved: int, half: bool = True) -> float:
        return MACHINE.seconds(Work("add", False, operations, moved, half))

    assert seconds(0, 0) == 2.0
    assert seconds(1000, 0) == 10.0
    assert seconds(1000, 0, half=False) == 100.0
    assert seconds(1000, 100) == 20.0


def test_ratios_are_those_of_images_with_the_same_losses() -> None:
    slow, fast = Work("mm", False, 1000, 0, True), Work("add", True, 0, 0, True)
    ways = [Way("plain loop", "all", 1, print, Counter({slow: 4})), Way("default", "all", 2, print, Counter([slow, fast]))]
    plain, ours = facts(ways, MACHINE)
    assert set(plain["ratios"].values()) == {1.0}
    assert ours["ratios"]["0 us"] == pytest.approx(40 / 5)
    assert ours["images_per_second"] == pytest.approx(1 / 6, abs=0.001)
    assert ours["heaviest"] == {"mm": pytest.approx(10 / 12, abs=0.001), "add": pytest.approx(2 / 12, abs=0.001)}
    assert ours["waiting"] == pytest.approx(2 / 12, abs=0.001)
    assert ours["profile"]["linear"] == pytest.approx(10 / 12, abs=0.001)
    assert ours["profile"]["other, backwards"] == pytest.approx(2 / 12, abs=0.001)
