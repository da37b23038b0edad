"""What mkdocs adds to docs/: pages from files at the root, the reference of all public names, links that lead out of docs/.

On the code host the files in docs/ are read as they are, so their links are those of the repository. On the site a link to a
file that is a page leads to that page; of one to another file of the repository only its text stays.
"""

from __future__ import annotations

import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
REFERENCE = "reference/python.md"
_LINK = re.compile(r"\[([^\]]*)\]\(([^)#\s:]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are not in docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    files.append(File.generated(config, REFERENCE, content=reference()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn the repository's links into those of the site."""
    return relinked(markdown, page.file.src_uri)


def reference() -> str:
    """Return the page of all public names, in the place where each is written."""
    sys.path.insert(0, str(ROOT / "src"))
    import actgen

    names = sorted(actgen._HOMES.items(), key=lambda item: item[0].lower())
    return "# Python\n\nThe public names: `from actgen import NAME`.\n\n" + "\n".join(
        f"::: actgen.{home}.{name}\n" for name, home in names
    )


def relinked(markdown: str, page: str) -> str:
    """Return the text of a page with links as they are on the site; one that leads nowhere stays, and mkdocs tells."""
    source = {site: name for name, site in PAGES.items()}.get(page, f"docs/{page}")

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found[1], posixpath.normpath(posixpath.join(posixpath.dirname(source), found[2])), found[3] or ""
        site = PAGES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else "")
        if site:
            return f"[{text}]({posixpath.relpath(site, posixpath.dirname(page) or '.')}{anchor})"
        return text if (ROOT / target).exists() else found[0]

    return _LINK.sub(link, markdown)
