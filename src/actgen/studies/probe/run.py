"""A probe's folder: generates and measures what is missing, and writes what follows from it.

OUT/probe.json  table.md  samples.png  probe.html   what was measured, for programs and people
OUT/CANDIDATE/store/                  the generated images: a store like any other
OUT/CANDIDATE/measures.json           its numbers, and what they were measured with
OUT/CANDIDATE/trained-*/              the classifier trained on its generated images alone (--train)
OUT/real/                             the same of real images
OUT/classifier-*/                     the run of the classifier, unless one was given

Test images are dropped where the data are opened; nothing after that can look at them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...core import files
from ...core.errors import UserError, refuse_file
from ...core.lock import is_unused, locked, refuse_in_use
from ...core.marker import mark
from ...report.html import write_page
from ...report.values import read_object
from .config import Probe
from .judge import refuse_unfinished
from .measures import Measures
from .page import png, render
from .parts import REAL
from .session import DAMAGED, MARK, OnProgress, ProbeSession
from .sheet import draw_sheet
from .table import EXPLAINED, markdown
from .words import Advice, advise, remarks

RESULT, TABLE, SHEET, PAGE = "probe.json", "table.md", "samples.png", "probe.html"


@dataclass(frozen=True)
class Found:
    """What a probe found: the measures by name, real images first; what to try; what to know beside it."""

    measures: dict[str, Measures]
    advice: Advice
    remarks: tuple[str, ...]


def probe(config: Probe, out: Path, on_progress: OnProgress) -> Found:
    """Probe in folder `out`, or go on there; a finished probe is only read. `on_progress` hears of progress: what, done, of
    how many.

    `UserError` for whatever cannot be used, before anything is written.
    """
    refuse_file(out)
    if config.classifier is not None:
        refuse_unfinished(config.classifier)
    if (finished := read_finished(config, out)) is not None:
        return finished
    if not (out / MARK).is_file() and not is_unused(out):
        raise UserError(f"--out {out} is not empty and holds no probe. Give a new or empty folder.")
    refuse_in_use(out)
    session = ProbeSession(config, out, on_progress)
    session.check()
    with locked(out):
        files.write_text(out / MARK, json.dumps(session.data_facts, indent=1, ensure_ascii=False) + "\n")
        mark(out)
        measured = {REAL: session.real(), **{one.name: session.candidate(one) for one in config.candidates}}
        return _write(config, out, measured, session)


def read_finished(config: Probe, out: Path) -> Found | None:
    """Return what a finished probe found, None if `out` holds no such one that was asked the same."""
    known = read_object(out / RESULT)
    whole = all((out / name).is_file() for name in (TABLE, SHEET, PAGE))
    if not whole or known.get("asked") != json.loads(json.dumps(config.facts)):
        return None
    facts: Any = known
    try:
        measured = {one["name"]: Measures.from_data(one["measures"]) for one in facts["measured"]}
        return Found(measured, Advice(**facts["advice"]), tuple(facts["remarks"]))
    except DAMAGED:
        return None


def _write(config: Probe, out: Path, measured: dict[str, Measures], session: ProbeSession) -> Found:
    """Write what people look at, then the result, which says that all is there."""
    candidates = {name: one for name, one in measured.items() if name != REAL}
    advice = advise(candidates)
    said = tuple(remarks(candidates, measured[REAL], given=config.classifier is not None, left_out=session.left_out))
    generated = {one.name: session.generated(one) for one in config.candidates}
    sheet = draw_sheet({REAL: session.parts.control, **generated})
    files.write_bytes(out / SHEET, png(sheet))
    origin = f"actgen probe · {config.data} · {config.count} generated images each · seed {config.seed}"
    write_page(out / PAGE, render(origin, measured, advice, said, sheet, config.recipes))
    lines = [markdown(measured), f"Try `{advice.name}`: {advice.reason}", *said, EXPLAINED]
    files.write_text(out / TABLE, "\n\n".join(line.strip() for line in lines) + "\n")
    rows = [{"name": name, "folder": folder.name, "measures": asdict(measured[name])} for name, folder in _folders(config, out)]
    facts = {"asked": config.facts, "advice": asdict(advice), "remarks": said, "searched": len(session.album), "measured": rows}
    files.write_text(out / RESULT, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return Found(measured, advice, said)


def _folders(config: Probe, out: Path) -> Iterator[tuple[str, Path]]:
    yield REAL, out / "real"
    for candidate in config.candidates:
        yield candidate.name, candidate.folder(out)
