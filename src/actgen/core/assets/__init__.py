"""What comes with the package: a generator, a CLIP model that judges its generated images, and recipes."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ..errors import UserError

BUNDLED = "bundled"
"""How a recipe calls the generator and the CLIP model that come with the package."""


def bundled_generator() -> Path:
    """Return the folder of the generator that comes with the package (Fashion-MNIST, 32 pixels)."""
    return Path(str(resources.files("actgen") / "core" / "assets" / "fashion-mnist-generator"))


def bundled_clip() -> Path:
    """Return the folder of the CLIP model that comes with the package: of the generator's images and captions."""
    return Path(str(resources.files("actgen") / "core" / "assets" / "fashion-mnist-clip"))


def recipes_folder() -> Path:
    """Return the folder of the shipped recipes."""
    return Path(str(resources.files("actgen") / "core" / "assets" / "recipes"))


def shipped_recipes() -> list[str]:
    """Return the names of the shipped recipes."""
    return sorted(path.stem for path in recipes_folder().glob("*.toml") if "." not in path.stem)  # NAME.arms.toml is none


def find_recipe(given: Path) -> Path:
    """Return the file that `given` names: a path, or the name of a shipped recipe with or without `recipes/` and `.toml`.

    A file that is there wins. `UserError` that lists the shipped recipes for a bare name that is none of them.
    """
    if given.exists():
        return given
    bare = given.parent in (Path("."), Path("recipes")) and given.suffix in ("", ".toml") and not given.is_absolute()
    if bare and (path := recipes_folder() / f"{given.name.removesuffix('.toml')}.toml").is_file():
        return path
    if given.parent == Path(".") and not given.suffix:
        raise UserError(
            f"--recipe {given}: there is no such file and no shipped recipe of that name. Shipped are "
            f"{', '.join(shipped_recipes())}."
        )
    return given
