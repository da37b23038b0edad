"""Whether a generator can be told the classes of a run apart: by its own tokenizer, with the run's own prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..core.errors import UserError
from ..core.text import brief, first_line
from ..diffusion.pipeline import PipelineAdapter


def check_prompts(adapter: PipelineAdapter, prompts: Mapping[str, Sequence[str]]) -> None:
    """Raise `UserError` if two classes are the same to the tokenizer, or a prompt cannot be encoded.

    `prompts`: all of each class, by name. A tokenizer cuts long texts, and that of CLIP does not see capitals.
    """
    owners: dict[tuple[int, ...], tuple[str, str]] = {}
    embeddings = adapter.pipeline.text_encoder.get_input_embeddings().num_embeddings
    for name, texts in prompts.items():
        for text in texts:
            tokens = tuple(adapter.token_ids(text).tolist())
            if max(tokens) >= embeddings:
                raise UserError(
                    f"--generator {brief(adapter.name)}: its tokenizer makes token {max(tokens)} of {brief(text)}, but its "
                    f"text encoder has {embeddings}. A token was added without "
                    "`text_encoder.resize_token_embeddings(len(tokenizer))`: save it again after that."
                )
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
