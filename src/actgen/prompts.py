"""Class names as words, and words as prompts."""

from __future__ import annotations

PROMPT_TEMPLATE = "a photo of {}"


def class_prompt(class_name: str, template: str = PROMPT_TEMPLATE) -> str:
    """Return the text prompt of a class: underscores become spaces, the template's `{}` becomes the name."""
    return template.replace("{}", class_words(class_name))


def class_words(class_name: str) -> str:
    """Return a class name as words: "aquarium_fish" -> "aquarium fish"."""
    return " ".join(class_name.replace("_", " ").split())
