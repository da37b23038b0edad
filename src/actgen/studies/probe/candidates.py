"""What is compared: a generator with settings of its own, as a name for people, a folder, and a complete recipe."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

import tomli_w

from ...core.errors import UserError
from ...core.text import brief, visible
from ...experiment.config import Recipe, build_recipe, parse_value
from ...experiment.renamed_keys import current_name
from .parts import REAL

OF_SAMPLING = ("sampling.", "loading.", "prompts", "generation.preset")
OF_CLASSIFIER = ("model.", "training.", "reading.")
_CHANGE = r"[a-z_]+(?:\.[^\s=,]+)*="
_OWN = re.compile(rf"(.+?):((?:{_CHANGE}).*)", re.DOTALL)
_COMMA = re.compile(rf",\s*(?={_CHANGE})")
_LONGEST = 40


@dataclass(frozen=True, kw_only=True)
class ProbeCandidate:
    """A generator and how it generates. `name` is unique in a probe; of `recipe` only what `toml` holds is of use."""

    name: str
    recipe: Recipe

    @property
    def toml(self) -> str:
        """What its generated images depend on beside the classes."""
        parts = {part: asdict(getattr(self.recipe, part)) for part in ("prompts", "loading", "sampling")}
        return tomli_w.dumps({"generator": self.recipe.generator, "seed": self.recipe.seed, **parts})

    def folder(self, out: Path) -> Path:
        """Return where its generated images live: a function of what they depend on, whatever else is probed."""
        plain = re.sub(r"[^A-Za-z0-9_.=+-]+", "-", self.name)[:_LONGEST].strip("-.")
        return out / f"{plain}-{hashlib.sha256(self.toml.encode()).hexdigest()[:8]}"


def parse_candidates(
    texts: Sequence[str], settings: Sequence[str] = (), *, lora: str | None = None, seed: int = 0
) -> tuple[ProbeCandidate, ...]:
    """Read "NAME" or "NAME:a.b=c,d.e=f" for every candidate; `settings` ("a.b=c") and `lora` hold for all of them.

    `UserError` for none, for one given twice, and for settings that no generated image has.
    """
    if not texts:
        raise UserError("probe needs a generator: give --generator bundled, a diffusers folder or a hub id; more to compare.")
    split = [_split(text) for text in texts]
    last = Counter({generator: PurePath(generator).name for generator, _ in split}.values())
    shared = [one for one in settings if not one.startswith(OF_CLASSIFIER)]
    refuse_other_keys(shared, "--set", OF_SAMPLING + OF_CLASSIFIER)
    found = tuple(_candidate(generator, own, shared, lora, seed, last) for generator, own in split)
    if twice := [name for name, count in Counter(one.name for one in found).items() if count > 1]:
        raise UserError(
            f"--generator {visible(twice[0])} is given more than once. Give each once, or settings of its own: "
            "NAME:sampling.guidance_scale=2."
        )
    if any(one.name == REAL for one in found):
        raise UserError(f"--generator {REAL!r}: a row of the table has this name. Give it as ./{REAL}/, or rename the folder.")
    return found


def refuse_other_keys(settings: Sequence[str], what: str, allowed: Sequence[str]) -> None:
    """Raise `UserError` for a setting that has no place here."""
    for setting in settings:
        key = setting.partition("=")[0].strip()
        if "=" not in setting or not current_name(key).startswith(tuple(allowed)):
            raise UserError(
                f"{what}: {brief(setting)} is no setting of a probe; allowed: KEY=value with KEY of "
                f"{', '.join(f'{one}...' if one[-1] == '.' else one for one in allowed)}."
            )


def _split(text: str) -> tuple[str, list[str]]:
    """Return the generator and its own settings; the name of a folder that is there may hold colons."""
    match = None if Path(text).exists() else _OWN.fullmatch(text)
    if match is None:
        if not text.strip():
            raise UserError("--generator is empty. Give bundled, a diffusers folder or a hub id.")
        return text, []
    return match[1], [one.strip() for one in _COMMA.split(match[2])]


def _candidate(
    generator: str, own: Sequence[str], shared: Sequence[str], lora: str | None, seed: int, last: Counter[str]
) -> ProbeCandidate:
    refuse_other_keys(own, f"--generator {visible(generator)}", OF_SAMPLING)
    changes: dict[str, object] = {} if lora is None else {"loading.lora": lora}
    for setting in own:  # after those of all, which they win over
        key, _, value = setting.partition("=")
        changes[key.strip()] = parse_value(value.strip())
    recipe = build_recipe(None, shared, {"generator": generator, "seed": seed, **changes})
    short = PurePath(generator).name
    name = short if short not in ("", REAL) and last[short] == 1 else generator
    changed = ",".join(re.sub(r"^(sampling|loading|generation)\.", "", one) for one in own)
    return ProbeCandidate(name=f"{name}:{changed}" if changed else name, recipe=recipe)
