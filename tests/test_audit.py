"""The dependency audit: what it finds is told and fails, what it cannot find out is told and does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tools import audit

ROOT = Path(__file__).parents[1]


def test_other_versions_than_the_tested_ones_are_told() -> None:
    tested = audit.pinned("Pillow==13.0.0  # images\n\ntyping_extensions==4.16.0\n")
    here = {"pillow": "12.0.0", "typing-extensions": "4.16.0", "mine": "1.0", "pip": "26.0", "actgen": "0.1.0"}
    assert list(audit.unpinned(here, tested)) == [
        "mine 1.0 is installed, constraints.txt has no version of it",
        "pillow 12.0.0 is installed, constraints.txt has 13.0.0",
    ]


def test_a_vulnerability_is_told_and_so_is_what_was_not_looked_up() -> None:
    hole = {"id": "PYSEC-2026-1", "fix_versions": ["13.0.1"], "aliases": [], "description": ""}
    report = json.dumps(
        {
            "dependencies": [
                {"name": "pillow", "version": "13.0.0", "vulns": [hole]},
                {"name": "numpy", "version": "2.4.6", "vulns": []},
                {"name": "mine", "skip_reason": "not found"},
            ],
            "fixes": [],
        }
    )
    assert list(audit.vulnerable(report)) == ["pillow 13.0.0 is vulnerable: PYSEC-2026-1, fixed in 13.0.1"]
    assert audit.not_looked_up(report) == ["mine"]


def test_without_a_network_it_says_what_it_did_not_do(tmp_path: Path) -> None:
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "audit.py")],
        env={**os.environ, **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines()[0] == ("audit: osv.dev could not be reached, so known vulnerabilities were NOT looked up")
