"""Is it fair to compare these runs? What differs that must not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from operator import methodcaller

from ...core.errors import UserError
from .arms import BASE
from .numbered import is_longer
from .plan import unit_words
from .rows import Row, kind, options, unit

STEPS = "optimizer_steps"
SAME_FOR_A_SEED = {
    STEPS: "optimiser steps",
    "real_images_digest": "real training images",
    "test_digest": "images that accuracy is measured on",
    "initial_weights": "initial weights",
}
"""Keys of a row that all arms of a recipe share on the same seed, and what they are."""
MOST_NAMED = 3


def refuse_unfair(rows: Sequence[Row]) -> None:
    """Raise `UserError`, naming what differs, unless the arms can be compared."""
    if found := list(differences(rows)):
        more = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise UserError(
            f"no comparison, the runs differ in more than their arm: {'; '.join(found[:MOST_NAMED])}{more}. Leave "
            "such an arm out and give another --out; results.jsonl has all numbers."
        )


def differences(rows: Sequence[Row]) -> Iterator[str]:
    """Yield in words what differs between runs that are to be compared, and must not."""
    if len({kind(row) for row in rows}) > 1:
        yield "some are measured on test and some on validation images"
        return
    for group in _groups(rows, lambda row: (row["recipe"], *unit(row))):
        for key, words in SAME_FOR_A_SEED.items():
            same = _of_one_length(group) if key == STEPS else group
            yield from _unequal(same, words, methodcaller("get", key))
        yield from _unequal_options(group)
    for group in _groups([row for row in rows if row["budget"]], lambda row: (row["recipe"], row["budget"])):
        yield from _unequal(group, "number of generated images", lambda row: row["synthetic_images"])
        generated = [row for row in group if row.get("generator_hash") and "generator" not in row.get("declared", ())]
        yield from _unequal(generated, "generator's weights", lambda row: row["generator_hash"])
    for group in _groups(rows, lambda row: row["recipe"]):
        yield from _unequal(_of_one_length(group), "optimiser steps", methodcaller("get", STEPS))


def _groups(rows: Sequence[Row], key: Callable[[Row], Hashable]) -> list[list[Row]]:
    """Return the rows that share a key, those of real images only first."""
    groups: dict[Hashable, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: bool(row["arm"] != BASE)):
        groups[key(row)].append(row)
    return list(groups.values())


def _of_one_length(group: Sequence[Row]) -> list[Row]:
    """Return the rows but those of arms that are there to train for longer."""
    return [row for row in group if not is_longer(row["arm"])]


def _unequal(group: Sequence[Row], words: str, value: Callable[[Row], object]) -> Iterator[str]:
    """Yield the first row that differs from the first of its group, if there is one."""
    other = next((row for row in group if value(row) != value(group[0])), None)
    if other is not None:
        yield f"{words} ({_named(other)}: {_short(value(other))}; {_named(group[0])}: {_short(value(group[0]))})"


def _unequal_options(group: Sequence[Row]) -> Iterator[str]:
    """Yield the settings that differ although neither of the two arms declares to change them."""
    first = group[0]
    for row in group[1:]:
        declared = {*row.get("declared", ()), *first.get("declared", ())}
        own, usual = options(row), options(first)
        for key in sorted({*own, *usual} - declared):
            if own.get(key) != usual.get(key):
                yield f"{key} ({_named(row)}: {own.get(key)!r}; {_named(first)}: {usual.get(key)!r})"


def _named(row: Row) -> str:
    budget = f" {row['budget']:g}" if row["budget"] else ""
    return f"{row['recipe']} {row['arm']}{budget} {unit_words(row.get('label_set'), row['seed'])}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 12 else text[:12] + "…"
