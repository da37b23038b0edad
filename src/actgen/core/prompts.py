"""What the generator is told of each class: one template for all, and templates of their own for some."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Annotated

from pydantic import Field

from .class_words import PROMPT_TEMPLATE, class_prompt
from .errors import UserError
from .options import Text, options
from .types import Request

_BRACES = re.compile(r"\{([^{}]*)\}")


@options("prompts")
class Prompts:
    """The prompt of each class.

    In `classes`, the braces of a template may hold the words to call the class by instead of its name: "a photo of a {crane}
    at a harbour". These words are what the attention of the image guide is read at, and the name of the class from then on.
    """

    template: Annotated[Text, Field(description="The prompt of a class; `{}` stands for its name as words.")] = PROMPT_TEMPLATE
    classes: Annotated[dict[Text, Text], Field(description="Name of a class in the data = a template of its own.")] = field(
        default_factory=dict
    )

    def __post_init__(self) -> None:
        if _words("prompts.template", self.template):
            raise UserError(f"prompts.template = {self.template!r}: its braces must be empty, they stand for every class name.")
        for name, template in self.classes.items():
            _words(f"prompts.classes.{name}", template)

    def names(self, class_names: Sequence[str]) -> tuple[str, ...]:
        """Return what the classes of the data are called; `UserError` for a class that is not there and for two of one name."""
        if unknown := [name for name in self.classes if name not in class_names]:
            raise UserError(
                f"prompts.classes names {unknown[0]!r}, which is no class of the data. Classes are "
                f"{', '.join(class_names[:8])}{' and others' if len(class_names) > 8 else ''}."
            )
        names = tuple(_words(name, self.classes[name]) or name if name in self.classes else name for name in class_names)
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"prompts.classes calls two classes {twice[0]!r}. Give each words of its own.")
        return names

    def of(self, class_names: Sequence[str]) -> dict[str, str]:
        """Return the prompt of each class of the data, by what the class is called."""
        templates = [_BRACES.sub("{}", self.classes.get(name, self.template)) for name in class_names]
        return {name: class_prompt(name, text) for name, text in zip(self.names(class_names), templates, strict=True)}


def _words(key: str, template: str) -> str:
    """Return what the braces of a template hold; `UserError` unless there is one pair of them."""
    found = _BRACES.findall(template)
    if len(found) != 1 or template.count("{") != 1 or template.count("}") != 1:
        raise UserError(
            f"{key} = {template!r}: a template has one pair of braces where the class stands, as in "
            f"{PROMPT_TEMPLATE!r} or 'a photo of a {{crane}} at a harbour'."
        )
    return str(found[0]).strip()


def worded(requests: Sequence[Request], prompts: Mapping[str, str]) -> list[Request]:
    """Return the requests with the prompts of their classes in place of the usual ones; what a strategy adds to it stays."""

    def told(request: Request) -> Request:
        usual = class_prompt(request.class_name)
        return replace(request, prompt=request.prompt.replace(usual, prompts.get(request.class_name, usual)))

    return [told(request) for request in requests]
