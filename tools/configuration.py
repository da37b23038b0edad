"""What follows from the fields of the options: the configuration reference, the recipe's JSON schema, the words of --help.

    python tools/configuration.py          # writes them; a test says whether they are current

`actgen --help` loads no torch, so it reads its words from a file that is written here and not from the options.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import tomli_w

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))

from actgen.core.options import Option, describe, json_schema, section_of  # noqa: E402
from actgen.experiment.config import Recipe, flat  # noqa: E402
from actgen.experiment.renamed_keys import KEYS  # noqa: E402
from actgen.finetune.options import AdaptOptions, LoraOptions  # noqa: E402
from actgen.generation.presets import PRESETS  # noqa: E402

PAGE = ROOT / "docs" / "reference" / "configuration.md"
SCHEMA = ROOT / "docs" / "reference" / "recipe.schema.json"
HELP = ROOT / "src" / "actgen" / "cli" / "field_help.json"
HELPED = {
    *("data", "generator", "strategy", "seed", "masks", "on_bad_image", "model.name"),
    *("training.epochs", "generation.budget", "generation.on", "reading.layout", "reading.follow_links"),
}
"""Keys of a recipe that have a flag."""
HEAD = """# Configuration

What a recipe may say: in a TOML file, by `--set section.key=value`, or in Python by the class of the section. All three
refuse the same with the same words. `actgen train --dry-run` prints a complete recipe;
[recipe.schema.json](recipe.schema.json) is its JSON schema, for editors. This page is written by `tools/configuration.py`
from the fields of the classes.
"""
_LINES = "| key | default | allowed | |\n|---|---|---|---|"


def page() -> str:
    """Return the configuration reference."""
    parts = [HEAD, *_sections(Recipe), *_presets(), *_flags(), *_earlier()]
    return "\n".join(parts)


def schema() -> str:
    """Return the JSON schema of a recipe."""
    own = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A recipe of actgen"}
    return json.dumps(own | json_schema(Recipe) | {"title": own["title"]}, indent=1, ensure_ascii=False) + "\n"


def help_words() -> str:
    """Return what --help says of the fields that have a flag."""
    words = {key: _help(option, "the recipe's, else {}") for key, option in _fields(Recipe) if key in HELPED}
    flags = {
        f"--{one.name.replace('_', '-')}": _help(one, "{} if not given") for one in (*_own(LoraOptions), *_own(AdaptOptions))
    }
    return json.dumps(words | flags, indent=1, ensure_ascii=False) + "\n"


def _own(options_class: type) -> Iterator[Option]:
    return (one for one in describe(options_class) if one.part is None)


def _fields(options_class: type) -> Iterator[tuple[str, Option]]:
    """Yield the dotted keys of a class and its parts, with their fields."""
    for option in describe(options_class):
        if option.part is None:
            yield section_of(options_class) + option.name, option
        else:
            yield from _fields(option.part)


def _help(option: Option, otherwise: str) -> str:
    default = "" if option.default in (None, False, "", ()) else otherwise.format(_plain(option.default))
    more = "; ".join(part for part in (option.allowed, default) if part)
    return f"{option.text.removesuffix('.')}. ({more})" if more else option.text


def _sections(options_class: type, default: object = None) -> Iterator[str]:
    section, made = section_of(options_class).removesuffix("."), default or options_class()
    yield f"## `[{section}]`\n" if section else "## At the top\n"
    yield f"`{options_class.__module__}.{options_class.__name__}`. {inspect.getdoc(options_class)}\n"
    yield _LINES
    yield from (_row(option, getattr(made, option.name)) for option in _own(options_class))
    yield ""
    for option in describe(options_class):
        if option.part is not None:
            yield from _sections(option.part, getattr(made, option.name))


def _row(option: Option, default: object) -> str:
    allowed = ", ".join(f"`{one}`" for one in option.choices) or option.allowed or option.kind
    if option.kind == "whole number" and option.allowed:
        allowed = f"whole, {allowed}"
    return f"| `{option.name}` | {'' if default is None else f'`{_toml(default)}`'} | {allowed} | {option.text} |"


def _presets() -> Iterator[str]:
    """Yield the table of what the presets set otherwise than each other."""
    all_values = {name: flat(preset) for name, preset in PRESETS.items()}
    keys = [key for key in all_values["default"] if len({values[key] for values in all_values.values()}) > 1]
    yield "## Presets\n\n`generation.preset` says where `[sampling]` starts from; what they do not agree on:\n"
    yield f"| key | {' | '.join(f'`{name}`' for name in PRESETS)} |\n|---|{'---|' * len(PRESETS)}"
    for key in keys:
        yield f"| `{key}` | {' | '.join(f'`{_toml(values[key])}`' for values in all_values.values())} |"
    yield ""


def _flags() -> Iterator[str]:
    """Yield the flags of `actgen finetune --lora` and `--full`."""
    yield "## `actgen finetune --lora` and `--full`\n\nIn Python `AdaptOptions` and its `LoraOptions`.\n"
    yield "| flag | default | allowed | |\n|---|---|---|---|"
    for options_class in (LoraOptions, AdaptOptions):
        made = options_class()
        for option in _own(options_class):
            name = f"--{option.name.replace('_', '-')}"
            yield _row(option, getattr(made, option.name)).replace(f"`{option.name}`", f"`{name}`", 1)
    yield ""


def _earlier() -> Iterator[str]:
    yield "## Old names\n\nFor one release the old names are taken, too, with a warning. Both at once are refused.\n"
    yield "| old | new |\n|---|---|"
    yield from (f"| `{old}` | `{new}` |" for old, new in KEYS.items())
    yield ""


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{}" if not value else json.dumps(value)
    return tomli_w.dumps({"v": list(value) if isinstance(value, tuple) else value})[4:].strip()


def _plain(value: object) -> str:
    return value if isinstance(value, str) else _toml(value)


def main() -> None:
    """Write what follows from the fields."""
    for path, text in written().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def written() -> dict[Path, str]:
    """Return the files and what is to be in them."""
    return {PAGE: page(), SCHEMA: schema(), HELP: help_words()}


if __name__ == "__main__":
    main()
