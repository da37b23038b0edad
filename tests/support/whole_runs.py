"""What a whole run left in its folder, and that two folders hold the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import CLASSES, TRAIN_IMAGES, read_lines, tree, without_times

IMAGES = round(0.3 * len(CLASSES) * TRAIN_IMAGES)


def assert_same_run(one: Path, other: Path) -> None:
    """Two folders hold the same run: images, manifest, statistics and weights, but for measured seconds."""
    for name in ("store/metadata.jsonl", "stats.jsonl"):
        assert without_times(read_lines(one / name)) == without_times(read_lines(other / name))
    assert without_times(summary(one)) == without_times(summary(other))
    assert (one / "classifier.safetensors").read_bytes() == (other / "classifier.safetensors").read_bytes()
    for name in ("store/images", "previews", "rounds"):
        assert tree(one / name) == tree(other / name)
    assert set(tree(one)) == set(tree(other))


def summary(out: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return facts
