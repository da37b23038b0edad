"""Laws of the filters within a round, with a real generator: nothing refused gets on, and everything is counted."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from actgen.classifiers.classifier import create_classifier
from actgen.core.types import Progress, Sample
from actgen.data.datasets.imageset import Subset
from actgen.data.datasets.sources import RealData, load_data
from actgen.data.mixture import Mixture
from actgen.data.store.rejections import RejectionLog, in_order
from actgen.data.store.store import Store
from actgen.data.store.stored import read_stored
from actgen.experiment.config import Recipe
from actgen.generation.filters import open_chain
from actgen.generation.filters.base import KEPT, Filter, FilterVerdict, FilterView
from actgen.generation.filters.chain import Chain
from actgen.generation.filters.duplicates import Duplicates, Leakage
from actgen.generation.filters.options import Filters
from actgen.generation.filters.quality import Emptiness
from actgen.generation.filters.tally import keep_rates, tally
from actgen.generation.filters.thumbnails import Album, look_at
from actgen.generation.round import Round
from actgen.generation.sampler import ImageSampler
from actgen.generation.strategies import create_strategy
from actgen.generation.strategies.retry import attempt_of
from tests.conftest import make_sample, read_lines, tree, without_times
from tests.support.spread import middle_spread

BUDGET = 24


@dataclass(frozen=True)
class EverySecond:
    """Refuses by the seed: all even ones, or whatever there is."""

    name: str = "every-second"
    all: bool = False

    def judge(self, sample: Sample, view: FilterView) -> FilterVerdict:
        seed = sample.request.seed
        return KEPT if seed % 2 and not self.all else FilterVerdict(filter=self.name, reason="even", score=float(seed % 2))


@dataclass(frozen=True)
class Drawn:
    store: Store
    rejections: RejectionLog
    folder: Path

    @property
    def stored(self) -> list[str]:
        return [row["key"] for row in self.store.snapshot().rows]

    @property
    def rejected(self) -> list[str]:
        return [row["key"] for row in self.rejections.rows]


@pytest.fixture(scope="module")
def real(digits: Path) -> RealData:
    return load_data(str(digits))


@pytest.fixture(scope="module")
def sampler(recipe: Recipe, tiny_generator: Path) -> ImageSampler:
    sampler = ImageSampler.from_pretrained(str(tiny_generator), preset="tiny")
    sampler.sampling = recipe.sampling
    sampler.batch_size = recipe.sampling.batch_size
    return sampler


class Rounds:
    """Generates rounds with one generator."""

    def __init__(self, sampler: ImageSampler, real: RealData, folder: Path) -> None:
        self.sampler, self.real, self.folder = sampler, real, folder
        self.classifier = create_classifier("actgen/small-cnn", 4, data_size=32)
        self.number = 0

    def __call__(self, filters: Sequence[Filter] | None, rounds: int = 1, **options: Any) -> Drawn:
        self.number += 1
        out = self.folder / str(self.number)
        store, rejections = Store(out / "store"), RejectionLog(out, pictures=bool(options.get("keep_rejected")))
        round_ = Round(
            sampler=self.sampler,
            strategy=create_strategy("text-only"),
            store=store,
            pool=Subset(self.real.train, ()),
            seed=3,
            filters=Chain.empty() if filters is None else Chain(Filters(**options), filters),
            rejections=rejections,
        )
        for epoch in range(rounds):
            round_(self.classifier, Progress(epoch=epoch, epochs=4), BUDGET)
        return Drawn(store, rejections, out)


@pytest.fixture(scope="module")
def rounds(sampler: ImageSampler, real: RealData, tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    return Rounds(sampler, real, tmp_path_factory.mktemp("rounds"))


@pytest.fixture(scope="module")
def plain(rounds: Rounds) -> Drawn:
    return rounds(None)


@pytest.fixture(scope="module")
def halved(rounds: Rounds) -> Drawn:
    return rounds([EverySecond()], rounds=2, keep_rejected=True)


def lines(generated: Drawn) -> list[dict[str, Any]]:
    path = generated.folder / "store" / "metadata.jsonl"
    return without_times(read_lines(path)) if path.exists() else []


# no filters


def test_a_chain_without_filters_changes_nothing(rounds: Rounds, plain: Drawn) -> None:
    empty = rounds([])
    assert lines(empty) == lines(plain)
    assert tree(empty.folder / "store" / "images") == tree(plain.folder / "store" / "images")
    assert not (empty.folder / "rejected.jsonl").exists()


def test_the_filters_that_are_on_by_default_refuse_nothing_of_an_honest_generator(
    rounds: Rounds, plain: Drawn, real: RealData
) -> None:
    generated = rounds(open_chain(Filters(), real.train, real.test).filters)
    assert [one.name for one in open_chain(Filters(), real.train, real.test).filters] == ["emptiness", "leakage"]
    assert lines(generated) == lines(plain)
    assert generated.rejected == []


# a filter that refuses half


def test_what_is_refused_is_drawn_again_from_another_seed(halved: Drawn) -> None:
    first = [key for key in (*halved.stored, *halved.rejected) if attempt_of(key) == 0]
    again = [key for key in (*halved.stored, *halved.rejected) if attempt_of(key) == 1]
    assert len(first) == 2 * BUDGET
    assert sorted(key.partition("+")[0] for key in again) == sorted(key for key in halved.rejected if attempt_of(key) == 0)
    assert again
    seeds = [row["seed"] for row in (*halved.store.snapshot().rows, *halved.rejections.rows)]
    assert len(set(seeds)) == len(seeds)


def test_a_refused_image_is_nowhere_but_in_the_ledger(halved: Drawn, real: RealData) -> None:
    assert not set(halved.stored) & set(halved.rejected)
    images = {path.stem for path in (halved.folder / "store" / "images").iterdir()}
    assert images == set(halved.stored)
    mixture = Mixture(real.train, halved.store.snapshot(), size=32)
    assert len(mixture) == len(real.train.labels) + len(halved.stored)
    assert {row["seed"] % 2 for row in mixture.rows} == {1}


def test_the_ledger_says_all(halved: Drawn) -> None:
    rows = read_lines(halved.folder / "rejected.jsonl")
    assert [row["key"] for row in rows] == halved.rejected
    for row in rows:
        assert (row["filter"], row["reason"], row["score"]) == ("every-second", "even", 0.0)
        assert row["prompt"].endswith(row["class_name"])
        assert {"label", "seed", "round", "source", "strategy", "guides", "guidance", "after"} <= set(row)
        assert (halved.folder / "set_aside" / "rejected" / f"{row['key']}.png").is_file()
    assert {row["round"] for row in rows} == {0, 1}


def test_counts_add_up(halved: Drawn) -> None:
    kept, rejected = halved.store.snapshot().rows, halved.rejections.rows
    counts = tally(kept, rejected)
    assert counts["generated"] == counts["kept"] + counts["rejected"]["every-second"] == len(kept) + len(rejected)
    assert sum(one["generated"] for one in counts["classes"].values()) == counts["generated"]
    assert sum(one["kept"] for one in counts["classes"].values()) == counts["kept"]
    rates = keep_rates([counts, counts], ["emptiness", "every-second"])
    assert rates["generated"] == 2 * counts["generated"] == rates["filters"]["emptiness"]["generated"]
    assert rates["filters"]["emptiness"]["keep_rate"] == 1.0
    assert rates["filters"]["every-second"]["kept"] == rates["kept"] == 2 * counts["kept"]


def test_the_order_of_drawing_can_be_told(halved: Drawn) -> None:
    order = [str(row["key"]) for row in in_order(halved.store.snapshot().rows, halved.rejections.rows)]
    assert sorted(order) == sorted([*halved.stored, *halved.rejected])
    numbers = [(key[:4], attempt_of(key), key.partition("+")[0]) for key in order]
    assert numbers == sorted(numbers)  # by round, attempt and number, which is how text-only generates


def test_the_same_round_gives_the_same(rounds: Rounds, halved: Drawn) -> None:
    other = rounds([EverySecond()], rounds=2, keep_rejected=True)
    assert lines(other) == lines(halved)
    for name in ("rejected.jsonl", "set_aside", "store/images"):
        assert tree(other.folder / name) == tree(halved.folder / name)
    assert other.rejections.rows == halved.rejections.rows


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_filter_that_refuses_all_ends(rounds: Rounds, retries: int) -> None:
    generated = rounds([EverySecond(all=True)], retries=retries)
    assert generated.stored == []
    assert len(generated.rejected) == (1 + retries) * BUDGET == len(set(generated.rejected))


# several filters


def test_the_order_of_the_filters_decides_the_reason_only(rounds: Rounds, plain: Drawn, real: RealData) -> None:
    assert real.test is not None
    filters: list[Filter] = [EverySecond(), Emptiness(middle_spread(plain.store)), Duplicates(0.3), Leakage(0.1, real.test)]
    orders = [filters, filters[::-1], [filters[2], filters[0], filters[3], filters[1]]]
    found = [rounds(order, retries=0) for order in orders]
    assert len({tuple(one.stored) for one in found}) == len({tuple(one.rejected) for one in found}) == 1
    assert 0 < len(found[0].stored) < BUDGET
    reasons = {tuple(row["filter"] for row in one.rejections.rows) for one in found}
    assert len(reasons) > 1
    for one, order in zip(found, orders, strict=True):
        names = [each.name for each in order]
        for first, second in itertools.pairwise(names):
            counts = keep_rates([tally(one.store.snapshot().rows, one.rejections.rows)], names)["filters"]
            assert counts[second]["generated"] == counts[first]["kept"]


def test_near_duplicates_are_those_of_all_that_is_stored(rounds: Rounds, real: RealData) -> None:
    """Between what is kept of a class there is the distance; it is kept over rounds, and over a new start."""
    near = 0.6
    whole = rounds([Duplicates(near)], rounds=2, retries=0)
    assert whole.rejected
    snapshot = whole.store.snapshot()
    albums: dict[int, Album] = {}
    for row in snapshot.rows:
        looks = look_at([read_stored(snapshot.folder, row)])
        album = albums.setdefault(row["label"], Album())
        if len(album):
            assert album.nearest(looks)[0].distance >= near
        album.add([row["key"]], looks[:, 0])
    chain = Chain(Filters(duplicates=True), [Duplicates(near)])
    chain.begin(rounds.classifier, snapshot)  # as a process does that continues
    for row in snapshot.rows:
        image = read_stored(snapshot.folder, row)
        request = make_sample(row["key"], label=row["label"]).request
        verdict = chain.judge(replace(make_sample(row["key"]), image=image, request=request))
        assert f"near to the stored image {row['key']} " in verdict.reason
