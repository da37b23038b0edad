"""The site builds without a warning from docs/ and the files at the root, has all public names, and fetches nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import actgen

pytest.importorskip("mkdocs")
from tools.documentation import PAGES, relinked

ROOT = Path(__file__).parents[1]
_FETCHED = re.compile(r"""<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=["']?(?:https?:)?//[^>]*>""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    return out


def pages(site: Path) -> dict[str, str]:
    return {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")}


def test_every_page_is_there(site: Path) -> None:
    wanted = {path.relative_to(ROOT / "docs").with_suffix(".html").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert wanted | {page.replace(".md", ".html") for page in PAGES.values()} | {"reference/python.html"} <= pages(site).keys()


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    text = pages(site)["reference/python.html"]
    for name, home in actgen._HOMES.items():
        assert f'id="actgen.{home}.{name}"' in text, name


def test_nothing_is_fetched(site: Path) -> None:
    for name, text in pages(site).items():
        assert not _FETCHED.findall(text), name
    for style in site.rglob("*.css"):
        assert not re.search(r"""url\(["']?(?:https?:)?//""", style.read_text(encoding="utf-8")), style


@pytest.mark.parametrize(
    ("page", "text", "wanted"),
    [
        ("index.md", "[a](docs/data.md#x) ![b](docs/demo.png)", "[a](data.md#x) ![b](demo.png)"),
        ("index.md", "[log](CHANGELOG.md), [all](benchmarks/generation.py)", "[log](changelog.md), all"),
        ("tutorials/paper.md", "[a](../data.md) [b](../../SECURITY.md)", "[a](../data.md) [b](../security.md)"),
        ("data.md", "[a](https://x.org/b) [c](#d) [e](missing.md)", "[a](https://x.org/b) [c](#d) [e](missing.md)"),
        ("data.md", "[gone](../gone.md)", "[gone](../gone.md)"),
    ],
)
def test_links_of_the_repository_become_those_of_the_site(page: str, text: str, wanted: str) -> None:
    assert relinked(text, page) == wanted


def test_links_work_on_the_code_host() -> None:
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#\s:]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path}: {target}"
