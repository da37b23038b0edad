"""What the generator is told of each class: one template or several for all, templates of their own for some, attributes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Annotated

from pydantic import Field

from .class_words import PROMPT_TEMPLATE, class_prompt
from .errors import UserError
from .options import Text, Texts, options
from .rng import derive
from .types import Request

ALL = "*"  # in `attributes`: every class that has none of its own
Wording = Mapping[str, str | tuple[str, ...]]
"""What a class is called -> its prompt, or the prompts that are dealt to its requests."""

_BRACES = re.compile(r"\{([^{}]*)\}")


@options("prompts")
class Prompts:
    """The prompt of each class.

    In `classes`, the braces of a template may hold the words to call the class by instead of its name: "a photo of a {crane}
    at a harbour". These words are what the attention of the image guide is read at, and the name of the class from then on.
    A class has a prompt for every template and attribute; the seed of a request decides which one it is told.
    """

    template: Annotated[Text, Field(description="The prompt of a class; `{}` stands for its name as words.")] = PROMPT_TEMPLATE
    classes: Annotated[dict[Text, Text], Field(description="Name of a class in the data = a template of its own.")] = field(
        default_factory=dict
    )
    templates: Annotated[Texts, Field(description="Several in place of `template`.")] = ()
    attributes: Annotated[
        dict[Text, Texts],
        Field(
            description='Name of a class, or "*" for every other one = texts of which one stands before the name ("leather"), '
            'or around it where it has braces ("{} with laces"); "" leaves the name alone.'
        ),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _refuse_words("prompts.template", self.template)
        for template in self.templates:
            _refuse_words("prompts.templates", template)
        if self.templates and self.template != PROMPT_TEMPLATE:
            raise UserError(
                f"prompts.template = {self.template!r} would not be used beside prompts.templates. Give one of them."
            )
        _refuse_repeated("prompts.templates", self.templates)
        for name, texts in self.attributes.items():
            if not texts:
                raise UserError(f"prompts.attributes.{name} is empty. Give texts, or leave it out.")
            _refuse_repeated(f"prompts.attributes.{name}", texts)
            for text in texts:
                _refuse_words(f"prompts.attributes.{name}", _around(text))
        for name, template in self.classes.items():
            _words(f"prompts.classes.{name}", template)

    def names(self, class_names: Sequence[str]) -> tuple[str, ...]:
        """Return what the classes of the data are called; `UserError` for a class that is not there and for two of one name."""
        for key, given in (("classes", self.classes.keys()), ("attributes", self.attributes.keys() - {ALL})):
            if unknown := [name for name in given if name not in class_names]:
                raise UserError(
                    f"prompts.{key} names {unknown[0]!r}, which is no class of the data. Classes are "
                    f"{', '.join(class_names[:8])}{' and others' if len(class_names) > 8 else ''}."
                )
        names = tuple(_words(name, self.classes[name]) or name if name in self.classes else name for name in class_names)
        if twice := [name for name in names if names.count(name) > 1]:
            raise UserError(f"prompts.classes calls two classes {twice[0]!r}. Give each words of its own.")
        return names

    def of(self, class_names: Sequence[str]) -> dict[str, str]:
        """Return the usual prompt of each class of the data, by what the class is called: of the first template, without an
        attribute.
        """
        called = zip(self.names(class_names), class_names, strict=True)
        prompts = {told: class_prompt(told, self._templates(name)[0]) for told, name in called}
        _refuse_shared({told: (prompt,) for told, prompt in prompts.items()})
        return prompts

    def variants(self, class_names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return all prompts of each class, by what the class is called; `UserError` if two classes share one."""
        prompts = {
            told: tuple(
                class_prompt(told, template.replace("{}", _around(text)))
                for template in self._templates(name)
                for text in self.attributes.get(name, self.attributes.get(ALL, ("",)))
            )
            for told, name in zip(self.names(class_names), class_names, strict=True)
        }
        _refuse_shared(prompts)
        return prompts

    @property
    def vary(self) -> bool:
        """Whether a class may have more than one prompt."""
        return bool(self.templates or self.attributes)

    def _templates(self, name: str) -> tuple[str, ...]:
        """Return the templates of a class, their braces empty."""
        own = (self.classes[name],) if name in self.classes else self.templates or (self.template,)
        return tuple(_BRACES.sub("{}", template) for template in own)


def _around(attribute: str) -> str:
    """Return an attribute with the braces where the class's name stands."""
    return attribute if "{" in attribute or "}" in attribute else f"{attribute} {{}}".strip()


def _refuse_words(key: str, template: str) -> None:
    if _words(key, template):
        raise UserError(f"{key} = {template!r}: its braces must be empty, they stand for every class name.")


def _refuse_repeated(key: str, texts: Sequence[str]) -> None:
    if twice := [text for text in texts if texts.count(text) > 1]:
        raise UserError(f"{key} has {twice[0]!r} twice. Give every text once; all are dealt equally often.")


def _refuse_shared(prompts: Mapping[str, Sequence[str]]) -> None:
    """Raise `UserError` if two classes have a prompt in common: no image could be told which of them it is to show."""
    owners: dict[str, str] = {}
    for name, texts in prompts.items():
        for text in texts:
            if (other := owners.setdefault(text, name)) != name:
                raise UserError(
                    f"the classes {other!r} and {name!r} have the same prompt, {text!r}. Give one of them words of "
                    "its own in prompts.classes, or other attributes."
                )


def _words(key: str, template: str) -> str:
    """Return what the braces of a template hold; `UserError` unless there is one pair of them."""
    found = _BRACES.findall(template)
    if len(found) != 1 or template.count("{") != 1 or template.count("}") != 1:
        raise UserError(
            f"{key} = {template!r}: a template has one pair of braces where the class stands, as in "
            f"{PROMPT_TEMPLATE!r} or 'a photo of a {{crane}} at a harbour'."
        )
    return str(found[0]).strip()


def worded(requests: Sequence[Request], prompts: Wording) -> list[Request]:
    """Return the requests with prompts of their classes in place of the usual ones; what a strategy adds to it stays.

    Of several prompts of a class the request's seed decides.
    """

    def told(request: Request) -> Request:
        usual = class_prompt(request.class_name)
        return replace(
            request, prompt=request.prompt.replace(usual, _dealt(prompts.get(request.class_name, usual), request.seed))
        )

    return [told(request) for request in requests]


def _dealt(prompts: str | tuple[str, ...], seed: int) -> str:
    return prompts if isinstance(prompts, str) else prompts[derive(seed, "prompt") % len(prompts)]
