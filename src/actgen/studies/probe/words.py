"""Numbers -> which candidate to try, why, and how much of it may be chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..bench.statistics import Interval
from .measures import Measures
from .noise import difference_interval, paired_interval

_WEAK, _ALIKE = 70.0, 0.6  # percent of real images; part of the real spread


@dataclass(frozen=True)
class Advice:
    """The candidate to try, and the sentences that say why."""

    name: str
    reason: str


def advise(found: Mapping[str, Measures]) -> Advice:
    """Return the advice on candidates by name.

    Those that the first measure cannot tell from the best (95% interval of the paired difference) are level, and of these the
    one with the smallest Frechet distance is taken. The first measure is the accuracy of a classifier trained on the generated
    images alone if that was measured, else label consistency.
    """
    trained = all(one.trained is not None for one in found.values())
    what = "accuracy of a classifier trained on it alone" if trained else "label consistency"
    best = max(found, key=lambda name: _first(found[name])[0])
    apart = {name: _difference(found[best], one) for name, one in found.items() if name != best}
    level = [name for name, interval in apart.items() if interval.low <= 0]
    name = min([best, *level], key=lambda name: found[name].frechet)
    mean, low, high = _first(found[name])
    said = [f"{what} {mean:.1f}% ({low:.1f} to {high:.1f})"]
    if not apart:
        said.append("nothing to compare it with")
    elif not level:
        second = max(apart, key=lambda other: _first(found[other])[0])
        said.append(f"{_points(apart[second])} points above {second}, the next: more than chance")
    else:
        said.append(_level(name, [other for other in (best, *level) if other != name], found))
    said += _nearer(name, [other for other in apart if other != name and other not in level], found)
    return Advice(name, f"{'; '.join(said)}.")


def _level(name: str, others: Sequence[str], found: Mapping[str, Measures]) -> str:
    near = min(others, key=lambda other: found[other].frechet)
    gap = difference_interval(found[near].frechet_resampled, found[name].frechet_resampled)
    verdict = "more than chance" if gap.low > 0 else f"which may be chance{_fastest([name, *others], found)}"
    return (
        f"in this the images cannot tell it from {', '.join(others)}; it has the smallest Frechet distance of them, "
        f"{found[name].frechet:.2f} against {found[near].frechet:.2f} of {near}, {verdict}"
    )


def _fastest(level: Sequence[str], found: Mapping[str, Measures]) -> str:
    timed = {name: seconds for name in level if (seconds := found[name].seconds) is not None}
    if not timed:
        return ""
    name = min(timed, key=lambda each: timed[each])
    return f"; the fastest of them is {name}, {timed[name]:.2g} s an image"


def _nearer(name: str, behind: Sequence[str], found: Mapping[str, Measures]) -> list[str]:
    """Say which of those that are behind in the first measure lie nearer to real images."""
    gaps = {other: difference_interval(found[name].frechet_resampled, found[other].frechet_resampled) for other in behind}
    nearer = [other for other, gap in gaps.items() if gap.low > 0]
    return [f"but {', '.join(nearer)} lies nearer to real images by Frechet distance: the two disagree"] if nearer else []


def remarks(found: Mapping[str, Measures], real: Measures, *, given: bool, left_out: Sequence[str] = ()) -> Iterator[str]:
    """Yield what has to be known beside the table; `given`: the classifier is one that the user gave.

    `left_out`: image files of the data that could not be used.
    """
    if left_out:
        yield f"{len(left_out)} image files of the data were left out; the first: {left_out[0]}"
    if given:
        yield (
            "The classifier was given: it may have learned the real images that generated images are compared with, and see "
            "these "
            "too favourably. Candidates are treated alike."
        )
    if real.consistency < _WEAK:
        yield (
            f"The classifier recognises only {real.consistency:.0f}% of real images it has not seen: its label consistency "
            "and features say little. Give a better one with --classifier, --model or training.epochs."
        )
    for name, one in found.items():
        yield from _of_candidate(name, one, real)
    if any(one.trained is None for one in found.values()):
        yield "None of this is what a classifier gains from the generated images; --train estimates that."


def _of_candidate(name: str, one: Measures, real: Measures) -> Iterator[str]:
    if one.broken:
        yield f"{name}: {one.broken} generated images were broken in any precision and are left out."
    usual = real.copies / real.images
    if one.copies > 1 and one.copies / one.images > 2 * usual:
        yield (
            f"{name}: {one.copies} of {one.images} generated images are near-copies of training images, of real images "
            f"{real.copies} of {real.images}: it may know these by heart. The nearest are in probe.json."
        )
    if one.diversity is not None and one.diversity < _ALIKE:
        yield (
            f"{name}: two generated images of a class differ {one.diversity:.2f} times as much as two real images: it "
            f"repeats itself."
        )
    weakest = min(one.by_class, key=lambda each: one.by_class[each])
    if one.by_class[weakest] < one.consistency - 25:
        yield f"{name}: weakest class {weakest}, recognised in {one.by_class[weakest]:.0f}% of its generated images."


def _first(one: Measures) -> tuple[float, float, float]:
    if one.trained is not None:
        return one.trained.accuracy, one.trained.low, one.trained.high
    return one.consistency, one.low, one.high


def _difference(best: Measures, other: Measures) -> Interval:
    if best.trained is not None and other.trained is not None:
        return paired_interval(best.trained.right, other.trained.right)
    ours, theirs = (dict(zip(one.keys, one.right, strict=True)) for one in (best, other))
    both = [key for key in ours if key in theirs]
    return paired_interval([ours[key] for key in both], [theirs[key] for key in both])


def _points(interval: Interval) -> str:
    return f"{interval.mean:.1f} ({interval.low:.1f} to {interval.high:.1f})"
