"""Which token of a prompt stands in which row of its text embedding, heard from the tokenizers while a pipeline encodes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .backbone import Foreign


@dataclass(frozen=True)
class TokenRows:
    """For each of the L rows of a text its token id, and whether it is no padding."""

    ids: tuple[int, ...]
    real: tuple[bool, ...]

    def find(self, needle: Sequence[int]) -> list[int]:
        """Return the rows at which `needle` stands, every time."""
        size, found = len(needle), set()
        for start in range(len(self.ids) - size + 1):
            rows = range(start, start + size)
            if size and tuple(needle) == self.ids[start : start + size] and all(self.real[row] for row in rows):
                found |= set(rows)
        return sorted(found)


@dataclass
class _Heard:
    """A tokenizer that notes what it returns for one text; everything else is the tokenizer's own."""

    tokenizer: Foreign
    calls: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, *args: object, **kwargs: Foreign) -> Foreign:
        out = self.tokenizer(*args, **kwargs)
        ids = out["input_ids"]
        if isinstance(ids, Tensor) and ids.ndim == 2 and len(ids) == 1:
            mask = out.get("attention_mask")
            self.calls.append((ids[0].cpu(), torch.ones_like(ids[0]).cpu() if mask is None else mask[0].cpu()))
        return out

    def __getattr__(self, name: str) -> Foreign:
        return getattr(self.tokenizer, name)

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("tokenizer", "calls"):
            object.__setattr__(self, name, value)
        else:
            setattr(self.tokenizer, name, value)


@contextmanager
def hearing_tokenizers(pipeline: Foreign, names: Sequence[str]) -> Iterator[list[list[tuple[Tensor, Tensor]]]]:
    """Yield, for each tokenizer of these names, what it returned inside: token ids [n] and mask [n] of each single text."""
    before = {name: getattr(pipeline, name) for name in names if getattr(pipeline, name, None) is not None}
    sides = {name: getattr(tokenizer, "padding_side", None) for name, tokenizer in before.items()}
    heard = {name: _Heard(tokenizer) for name, tokenizer in before.items()}
    try:
        pipeline.__dict__.update(heard)
        yield [heard[name].calls for name in heard]
    finally:
        pipeline.__dict__.update(before)
        for name, tokenizer in before.items():
            if sides[name] is not None:
                tokenizer.padding_side = sides[name]


def align(calls: Sequence[tuple[Tensor, Tensor]], rows: int) -> TokenRows:
    """Return the tokens of `rows` rows from what tokenizers returned for a prompt, one after the other.

    Rows are the tokens; or those that are no padding; or the last of these, where a template stands before them; or more rows
    than tokens, the padding before them.
    """
    ids, mask = torch.cat([ids for ids, _ in calls]), torch.cat([mask for _, mask in calls]).bool()
    if len(ids) != rows:
        kept = ids[mask]
        if len(kept) >= rows:
            ids, mask = kept[len(kept) - rows :], torch.ones(rows, dtype=torch.bool)
        else:
            missing = rows - len(ids)
            if missing < 0:
                ids, mask = ids[:rows], mask[:rows]
            else:
                ids = torch.cat([ids.new_full((missing,), -1), ids])
                mask = torch.cat([mask.new_zeros(missing), mask])
    return TokenRows(tuple(ids.tolist()), tuple(mask.tolist()))
