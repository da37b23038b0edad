"""The dependency audit of `make lint`: what is installed is what was tested, fits together, and has no known vulnerability.

Vulnerabilities are looked up by pip-audit at osv.dev. Without a network that part is left out, and said to be.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
OURS = frozenset({"actgen", "pip", "setuptools", "wheel"})  # the package itself, and what installs it
SECONDS = 120


def installed() -> dict[str, str]:
    """Return the versions of the distributions in this environment, by normalised name."""
    return {_normal(found.metadata["Name"]): found.version for found in distributions()}


def pinned(text: str) -> dict[str, str]:
    """Return the versions that a constraints file names."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return {_normal(name): version for name, _, version in (line.partition("==") for line in lines if line)}


def unpinned(here: Mapping[str, str], tested: Mapping[str, str]) -> Iterator[str]:
    """Yield what is installed in another version than the tested one, or was never tested."""
    for name, version in sorted(here.items()):
        if name not in OURS and tested.get(name) != version:
            yield f"{name} {version} is installed, constraints.txt has {tested.get(name, 'no version of it')}"


def broken() -> Iterator[str]:
    """Yield what `pip check` finds: requirements of installed distributions that are not met."""
    ended = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    if ended.returncode:
        yield from ended.stdout.strip().splitlines()


def look_up() -> str:
    """Return what pip-audit finds about the pinned versions, as JSON; "" if it cannot be found out."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        str(CONSTRAINTS),
        "--no-deps",
        "--disable-pip",
        "--vulnerability-service",
        "osv",
        "--timeout",
        "10",
        "--format",
        "json",
        "--progress-spinner=off",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS).stdout.strip()
    except subprocess.TimeoutExpired:
        return ""


def vulnerable(report: str) -> Iterator[str]:
    """Yield the known vulnerabilities in a report of pip-audit."""
    for found in json.loads(report)["dependencies"]:
        for hole in found.get("vulns", []):
            fixed = ", ".join(hole["fix_versions"]) or "no version yet"
            yield f"{found['name']} {found['version']} is vulnerable: {hole['id']}, fixed in {fixed}"


def not_looked_up(report: str) -> list[str]:
    """Return the packages about which a report of pip-audit says nothing."""
    return [found["name"] for found in json.loads(report)["dependencies"] if "skip_reason" in found]


def main() -> int:
    """Say what is wrong; return 1 if anything is."""
    problems = [*unpinned(installed(), pinned(CONSTRAINTS.read_text(encoding="utf-8"))), *broken()]
    report = look_up()
    if not report:
        print("audit: osv.dev could not be reached, so known vulnerabilities were NOT looked up")
    else:
        problems += vulnerable(report)
        if left := not_looked_up(report):
            print(f"audit: NOT looked up: {', '.join(left)}")
    for problem in problems:
        print(f"audit: {problem}")
    print(f"audit: {len(problems)} problems" if problems else "audit: versions as tested, nothing broken")
    return min(len(problems), 1)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
