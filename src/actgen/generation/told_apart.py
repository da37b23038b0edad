"""Whether a generator can be told the classes of a run apart: by its own tokenizer, with the run's own prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.errors import UserError
from ..core.text import brief, first_line
from ..diffusion.pipeline import PipelineAdapter

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline
    from transformers import PreTrainedTokenizerBase

LONGEST = 512
"""Tokens of a text that are compared; some tokenizers name no limit."""


def check_prompts(adapter: PipelineAdapter, prompts: Mapping[str, Sequence[str]]) -> None:
    """Raise `UserError` if two classes are the same to the tokenizer, or a prompt cannot be encoded.

    `prompts`: all of each class, by name. A tokenizer cuts long texts, and that of CLIP does not see capitals.
    """
    owners: dict[tuple[tuple[int, ...], ...], tuple[str, str]] = {}
    readers = _readers(adapter.pipeline)
    if not readers:  # a pipeline that reads text in a way of its own
        return
    for name, texts in prompts.items():
        for text in texts:
            tokens = tuple(_tokens(adapter, reader, text) for reader in readers)
            other, other_text = owners.setdefault(tokens, (name, text))
            if other != name:
                why = "differ in nothing that it sees" if len(text) < 200 else "agree up to where it cuts them"
                raise UserError(
                    f"the classes {brief(other)} and {brief(name)} are one to this generator's tokenizer: {brief(other_text)} "
                    f"and {brief(text)} {why}. Give one of them words of its own in prompts.classes."
                )
    try:
        adapter.encode_text([next(iter(prompts.values()))[0]])
    except Exception as error:  # what damaged parts raise has no end
        raise UserError(f"--generator {brief(adapter.name)} cannot encode the run's prompts: {first_line(error)}") from error


@dataclass(frozen=True)
class _Reader:
    tokenizer: PreTrainedTokenizerBase
    name: str
    embeddings: int
    """How many tokens the text encoder knows."""


def _readers(pipeline: DiffusionPipeline) -> list[_Reader]:
    """Return the tokenizers of a pipeline with their text encoders; a model that embeds in another way is left out."""
    found = []
    for number in ("", "_2", "_3"):
        tokenizer, encoder = (getattr(pipeline, f"{part}{number}", None) for part in ("tokenizer", "text_encoder"))
        embed = getattr(encoder, "get_input_embeddings", None)
        known = None if embed is None else getattr(embed(), "num_embeddings", None)
        if tokenizer is not None and known is not None:
            found.append(_Reader(tokenizer, f"text_encoder{number}", int(known)))
    return found


def _tokens(adapter: PipelineAdapter, reader: _Reader, text: str) -> tuple[int, ...]:
    length = min(int(reader.tokenizer.model_max_length), LONGEST)
    tokens = tuple(reader.tokenizer(text, truncation=True, max_length=length).input_ids)
    if max(tokens, default=0) >= reader.embeddings:
        raise UserError(
            f"--generator {brief(adapter.name)}: its tokenizer makes token {max(tokens)} of {brief(text)}, but its "
            f"{reader.name} has {reader.embeddings}. A token was added without "
            f"`{reader.name}.resize_token_embeddings(len(tokenizer))`: save it again after that."
        )
    return tokens
