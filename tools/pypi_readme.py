"""The README as a package index shows it: links within the repository become absolute ones.

    python tools/pypi_readme.py https://HOST/OWNER/actgen/blob/v0.1.0 > README.pypi.md

An index knows nothing of the repository's other files, so relative links are dead there. Where the repository lies is not known
before it is published: give its address, with the tag, when the wheel is built, and this file in place of README.md.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def absolute(text: str, base: str) -> str:
    """Return a page with its relative links below `base`; pictures as the file itself ("/raw/" in place of "/blob/")."""

    def linked(found: re.Match[str]) -> str:
        target = found["target"]
        if target.startswith(("http:", "https:", "#", "mailto:")):
            return found[0]
        where = base.replace("/blob/", "/raw/") if found["image"] else base
        return f"{found['image']}[{found['text']}]({where.rstrip('/')}/{target})"

    return _LINK.sub(linked, text)


def main() -> None:
    """Print the page for the address that was given."""
    if len(sys.argv) != 2 or not sys.argv[1].startswith("https://"):
        sys.exit("give the address of the repository's files, as https://HOST/OWNER/actgen/blob/v0.1.0")
    print(absolute((ROOT / "README.md").read_text(encoding="utf-8"), sys.argv[1]))


if __name__ == "__main__":
    main()
