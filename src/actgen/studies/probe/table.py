"""Measures -> the cells of a table, for the terminal, Markdown and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.text import visible
from .measures import Measures

NOTHING = "–"
EXPLAINED = (
    "Label consistency: the share of generated images that the classifier assigns to the class asked for, with a 95% bootstrap "
    "interval. Precision: generated images that lie where some real image is; density: how many real images they lie near, "
    "1 for real "
    "ones; coverage: real images near which there is a generated image; Frechet distance (smaller is nearer): all four in the "
    "classifier's features, against held-out real training images. "
    "Diversity: how much two generated images of a class differ, by how much two real images do. Near-copies: generated "
    "images as near to a "
    "training image as copies are. Real images: held-out ones measured as if generated, what can be reached. Coverage and "
    "Frechet "
    "distance depend on the number of generated images: compare equal numbers only."
)


def heads(found: Mapping[str, Measures]) -> tuple[str, ...]:
    """Return the titles of the columns: optional ones are there if anything has a value for them."""
    usual = (
        "candidate",
        "images",
        "label consistency",
        "95% interval",
        "precision",
        "density",
        "coverage",
        "Frechet, classifier features",
        "diversity",
        "near-copies",
        "seconds an image",
    )
    return usual + tuple(title for title, _ in _optional(found, next(iter(found.values()))))


def cells(name: str, one: Measures, found: Mapping[str, Measures]) -> tuple[str, ...]:
    """Return what the columns say of a candidate."""
    usual = (
        visible(name),
        str(one.images),
        f"{one.consistency:.1f}%",
        f"{one.low:.1f} to {one.high:.1f}",
        f"{one.precision:.2f}",
        f"{one.density:.2f}",
        f"{one.coverage:.2f}",
        f"{one.frechet:.2f}",
        _number(one.diversity, 2),
        str(one.copies),
        _number(one.seconds, 3),
    )
    return usual + tuple(value for _, value in _optional(found, one))


def markdown(found: Mapping[str, Measures]) -> str:
    """Return a Markdown table."""
    titles = heads(found)
    rows = [cells(name, one, found) for name, one in found.items()]
    lines = [_line(titles), _line(["---"] + ["---:"] * (len(titles) - 1))]
    return "\n".join(lines + [_line([row[0].replace("|", "\\|"), *row[1:]]) for row in rows]) + "\n"


def _optional(found: Mapping[str, Measures], one: Measures) -> list[tuple[str, str]]:
    columns = []
    if any(each.clip is not None for each in found.values()):
        columns.append(("CLIP agrees", NOTHING if one.clip is None else f"{one.clip:.1f}%"))
    if any(each.inception is not None for each in found.values()):
        columns.append(("FID, Inception", _number(one.inception, 1)))
    if any(each.trained is not None for each in found.values()):
        accuracy = (
            None if one.trained is None else f"{one.trained.accuracy:.1f}% ({one.trained.low:.1f} to {one.trained.high:.1f})"
        )
        columns.append(("accuracy trained on it alone", accuracy or NOTHING))
    return columns


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _line(parts: Sequence[str]) -> str:
    return "| " + " | ".join(parts) + " |"
