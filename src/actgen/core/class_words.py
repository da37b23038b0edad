"""Class names as words, and words as prompts."""

from __future__ import annotations

import unicodedata

from .text import is_hidden

PROMPT_TEMPLATE = "a photo of {}"


def class_prompt(class_name: str, template: str = PROMPT_TEMPLATE) -> str:
    """Return the text prompt of a class: underscores become spaces, the template's `{}` becomes the name."""
    return template.replace("{}", class_words(class_name))


def class_words(class_name: str) -> str:
    """Return a class name as words: "aquarium_fish" -> "aquarium fish".

    Control characters part words, direction marks are left out, and a name cannot spell a tokenizer's own tokens (`<|...|>`).
    """
    plain = class_name if class_name.isprintable() else "".join(_word_letter(letter) for letter in class_name)
    return " ".join(plain.replace("_", " ").replace("<|", "< |").split())


def _word_letter(letter: str) -> str:
    if not is_hidden(letter):
        return letter
    return "" if unicodedata.category(letter) == "Cf" else " "
