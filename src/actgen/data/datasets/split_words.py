"""Which folder names, file names and values of a table are splits of a data set: "train", "Testing", "seg_train", "val2017"."""

from __future__ import annotations

import re
from collections.abc import Sequence

TRAIN, VALIDATION, TEST = "train", "validation", "test"
_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "traindata"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset", "development"), VALIDATION),
    **dict.fromkeys(("test", "testing", "tst", "eval", "evaluation", "testset", "testdata"), TEST),
}
_NO_MATTER = frozenset(("set", "data", "images", "imgs", "img", "split", "dataset"))


def _tokens(name: str) -> list[str]:
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+", apart.lower())


def pure_split(name: str) -> str | None:
    """Return the split that a name is and says nothing else: "Train", "test1", "train_images"; None for another name."""
    tokens = [token for token in _tokens(name) if token not in _NO_MATTER]
    only = tokens[0] if len(tokens) == 1 else ""
    return _WORDS.get(only) if not re.search(r"[^\W\da-zA-Z_]", name) else None


def split_kinds(names: Sequence[str]) -> dict[str, str]:
    """Return which of the names beside each other are splits, and of which kind.

    A name with more in it than a word for a split ("seg_train") is one only if the same stands beside another such word, and
    one of them is for training: "test tube" alone is a class.
    """
    found = {name: kind for name in names if (kind := pure_split(name))}
    groups: dict[tuple[str, ...], dict[str, str]] = {}
    for name in names:
        tokens = [token for token in _tokens(name) if token not in _NO_MATTER]
        words = [token for token in tokens if token in _WORDS]
        if name not in found and len(words) == 1:
            rest = tuple(token for token in tokens if token != words[0])
            groups.setdefault(rest, {})[name] = _WORDS[words[0]]
    for kinds in groups.values():
        if len(set(kinds.values())) > 1 and TRAIN in kinds.values():
            found |= kinds
    return found
