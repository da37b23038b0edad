"""Options: what a field may be and what it means stand at the field; every way in is refused with the same words.

    @options("training.loss")
    class Loss:
        gamma: Annotated[float, Field(ge=0, le=100, description="0 is cross entropy.")] = 2.0

pydantic checks types, ranges and choices whenever such a frozen, keyword-only dataclass is made, be it in Python, from a
recipe or from the command line; what it says becomes a `UserError` with the field's dotted name, the value and what is allowed.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar, cast, dataclass_transform, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass as validated
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails
from pydantic_core.core_schema import no_info_after_validator_function

from .errors import UserError
from .text import LONGEST, brief, is_storable, shown

T = TypeVar("T")
LARGEST_WHOLE: Final = 2**62
_CONFIG = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_SECTION = "__actgen_section__"
_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": 'a list of texts; write it as ["text", "text"]',
}
_TABLE = 'it is a table of names and texts; write it as [{name}] with lines "name" = "text".'
_TABLE_OF_LISTS = 'it is a table of names and lists; write it as [{name}] with lines "name" = ["text"].'


@dataclass(frozen=True)
class Choices:
    """The texts that a field may be: a part of its annotation."""

    allowed: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the text against the choices."""
        return no_info_after_validator_function(self._chosen, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Name the choices in the JSON schema."""
        return {**handler(schema), "enum": list(self.allowed)}

    def _chosen(self, value: str) -> str:
        if value not in self.allowed:
            raise ValueError(f"is unknown; allowed: {', '.join(self.allowed)}.")
        return value


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("cannot be written in a recipe, which holds UTF-8 text. Rename what it names.")
    return text


Text = Annotated[str, AfterValidator(_storable)]
"""Any text that a file can hold."""


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[Text, ...], BeforeValidator(_as_tuple)]
"""Any number of texts; a list, as files have it, becomes a tuple."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dataclasses.field,))
def options(section: str) -> Callable[[type[T]], type[T]]:
    """Make a class a frozen, keyword-only dataclass whose fields are checked; `section` names it in messages.

    `section` is the part of a recipe that it is ("training.loss"; "" for the whole), or "--" where every field is a flag of
    the command line. `__post_init__` may check what concerns several fields, by a `UserError`.
    """

    def decorate(cls: type[T]) -> type[T]:
        made = validated(frozen=True, kw_only=True, config=_CONFIG)(cls)
        check = made.__init__

        def create(self: object, **values: object) -> None:
            try:
                check(self, **values)
            except ValidationError as error:
                raise _refusal(type(self), error.errors(include_url=False)[0]) from None

        made.__init__ = functools.wraps(check)(create)  # type: ignore[method-assign]
        setattr(made, _SECTION, section)
        return cast(type[T], made)

    return decorate


@dataclass(frozen=True, kw_only=True)
class Option:
    """A field as documentation and tests see it. `low`, `high`: the range, both allowed but a `low` that is `above`.

    `kind` is the word for its type: "number", "whole number", "true or false", "text", "list" (of texts), "table" (of texts),
    "table of lists" or "part"; `part` is the class of the latter.
    """

    name: str
    kind: str
    default: object
    text: str
    low: float | None = None
    high: float | None = None
    above: bool = False
    choices: tuple[str, ...] = ()
    part: type | None = None

    @property
    def allowed(self) -> str:
        """The range or the choices in words; "" for anything of its type."""
        if self.choices:
            return ", ".join(self.choices)
        if self.low is None or self.high is None:
            return ""
        return f"{'more than ' if self.above else ''}{_number(self.low)} to {_number(self.high)}"


def _number(value: float) -> str:
    """Return a limit as people write it."""
    if value == LARGEST_WHOLE:
        return "2^62"
    return f"{int(value):,}" if value == int(value) and 1e4 <= abs(value) < 1e12 else f"{value:g}"


def is_options(value: object) -> bool:
    """Whether this is an options class or an instance of one."""
    return hasattr(value, _SECTION)


def section_of(options_class: type) -> str:
    """Return what stands before the fields' names in messages: "training.", "--" or nothing."""
    section: str = getattr(options_class, _SECTION)
    return section if section in ("", "--") else f"{section}."


def describe(options_class: type) -> Iterator[Option]:
    """Yield the fields of an options class in their order."""
    found: Mapping[str, FieldInfo] = getattr(options_class, "__pydantic_fields__")  # noqa: B009
    for name, field in found.items():
        part = _part(field.annotation)
        limits = ((key, getattr(one, key, None)) for one in field.metadata for key in ("ge", "gt", "le"))
        marks = {key: value for key, value in limits if value is not None}
        yield Option(
            name=name,
            kind="part" if part else _kind(field.annotation),
            default=field.get_default(call_default_factory=True),
            text=field.description or "",
            low=marks.get("ge", marks.get("gt")),
            high=marks.get("le"),
            above="gt" in marks,
            choices=next((one.allowed for one in field.metadata if isinstance(one, Choices)), ()),
            part=part,
        )


def json_schema(options_class: type) -> dict[str, object]:
    """Return the JSON schema of an options class, ranges, choices, defaults and explanations in it."""
    return TypeAdapter(options_class).json_schema()


def fill(part: T, tree: Mapping[str, object]) -> T:
    """Return the options `part` changed by `tree`; `UserError` for a key, type or value that it cannot have."""
    changes: dict[str, object] = {}
    for key, value in tree.items():
        old = getattr(part, key, None) if any(key == one.name for one in describe(type(part))) else None
        if not is_options(old):
            changes[key] = dict(value) if isinstance(value, Mapping) else value
        elif isinstance(value, Mapping):
            changes[key] = fill(old, value)
        else:
            raise _no_part(section_of(type(part)) + key, value)
    return dataclasses.replace(part, **changes)  # type: ignore[type-var]


def _part(annotation: object) -> type | None:
    """Return the options class that an annotation is, or may be besides None."""
    return next((one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and is_options(one)), None)


def _kind(annotation: object) -> str:
    plain = [(int, "whole number"), (float, "number"), (bool, "true or false"), (str, "text")]
    rest = [(dict[Text, Text], "table"), (dict[Text, Texts], "table of lists"), (tuple[Text, ...], "list")]
    for kind, word in [*plain, *rest]:
        if annotation in (kind, kind | None):
            return word
    raise TypeError(f"{annotation} is no kind of option")


def _refusal(options_class: type, error: ErrorDetails) -> UserError:
    context = error.get("ctx", {})
    if not error["loc"]:  # of __post_init__
        reason = context.get("error", error["msg"])
        return reason if isinstance(reason, UserError) else UserError(str(reason))
    section, key = section_of(options_class), str(error["loc"][0])
    name = section + ".".join(shown(part) for part in error["loc"] if isinstance(part, str))
    if error["type"] == "unexpected_keyword_argument":
        return _unknown(section, key, [one.name for one in describe(options_class)])
    if error["type"] == "dataclass_exact_type":
        return _no_part(name, error["input"])
    if error["type"] == "dict_type":
        of_lists = next(one.kind for one in describe(options_class) if one.name == key) == "table of lists"
        return UserError(f"{name}: {(_TABLE_OF_LISTS if of_lists else _TABLE).format(name=name)}")
    given = f"--{key.replace('_', '-')}" if section == "--" else f"{name} ="
    return UserError(f"{given} {brief(error['input'])}{_reason(options_class, key, error)}")


def _reason(options_class: type, key: str, error: ErrorDetails) -> str:
    if (kind := _KINDS.get(error["type"])) is not None:
        return f" is not {kind}."
    if error["type"] == "value_error":
        said = str(error["ctx"]["error"])
        return said if said.startswith(":") else f" {said}"
    allowed = next(one.allowed for one in describe(options_class) if one.name == key)
    return f": allowed is {allowed}." if allowed else f": {error['msg'].lower()}."


def _unknown(section: str, key: str, allowed: list[str]) -> UserError:
    before = "" if section == "--" else section
    near = difflib.get_close_matches(key[:LONGEST], allowed, 1)
    hint = f"Did you mean {before}{near[0]}?" if near else f"Allowed: {', '.join(before + name for name in allowed)}."
    return UserError(f"unknown key {shown(before + key)}. {hint}")


def _no_part(name: str, value: object) -> UserError:
    return UserError(f"{name} = {brief(value)}: it has parts; write them as [{name}] or {name}.KEY=value.")
