"""A probe's folder: draws and measures what is missing, and writes what follows from it.

OUT/probe.json  table.md  samples.png  probe.html   what was measured, for programs and people
OUT/CANDIDATE/store/                  the drawings: a store like any other
OUT/CANDIDATE/measures.json           its numbers, and what they were measured with
OUT/CANDIDATE/trained-*/              the classifier trained on its drawings alone (--train)
OUT/real/                             the same of real images
OUT/classifier-*/                     the run of the classifier, unless one was given

Test images are dropped where the data are opened; nothing after that can look at them.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accelerate import PartialState

from .. import checkpoint
from ..class_prompts import worded
from ..classify.classifier import Classifier
from ..data.imageset import ImageSet, Subset, names_digest
from ..data.sources import load_data
from ..data.store import Store
from ..diffuse.backbone import Backbone
from ..drawing import Artist
from ..errors import UserError, refuse_file
from ..filters.clip import ClipConsistency
from ..filters.thumbnails import Album
from ..generating import draw_missing
from ..lock import is_unused, locked, refuse_in_use
from ..recipe import to_toml
from ..records import Progress, Request
from ..report.html import write_page
from ..report.values import read_object
from ..runs import open_generator
from ..strategies.text_only import TextOnly
from .candidates import Candidate
from .copies import MOST_SEARCHED, add_all
from .drawn import Drawn
from .inception import Inception
from .judge import WEIGHTS, Learner, digest, look, open_given, refuse_unfinished, right
from .measures import Measures, Ruler, Trained
from .noise import share_interval
from .page import png, render
from .parts import REAL, Parts, at_most, cut
from .sheet import draw_sheet
from .table import EXPLAINED, markdown
from .words import Advice, advise, remarks

FORMAT = 1  # of the measures: those of another are measured again
RESULT, TABLE, SHEET, PAGE, MARK = "probe.json", "table.md", "samples.png", "probe.html", "data.json"
Told = Callable[[str, int, int], None]
_DAMAGED = (KeyError, TypeError, AttributeError, ValueError)  # a file that somebody edited: it is measured again


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is asked: which candidates, on which data, measured how.

    `count`: drawings a candidate, evenly over the classes. `classifier`: folder of a finished run; None: `learner` trains one.
    `clip`: folder or id of a CLIP model, "" for none. `inception`: FID too. `train`: train a classifier on the drawings alone.
    """

    data: str
    candidates: tuple[Candidate, ...]
    learner: Learner
    count: int = 200
    seed: int = 0
    classifier: Path | None = None
    clip: str = ""
    inception: bool = False
    train: bool = False
    on_bad_image: str = "refuse"

    @cached_property
    def judge(self) -> str:
        """Which classifier looks at the drawings: a digest of its weights, or of how it is trained."""
        return _short(self._learning if self.classifier is None else digest(self.classifier / WEIGHTS))

    @property
    def _learning(self) -> str:
        return f"{to_toml(self.learner.recipe)}{self.learner.epochs_given}"

    @cached_property
    def how(self) -> dict[str, Any]:
        """What numbers depend on beside the drawings and the data."""
        return {"format": FORMAT, "count": self.count, "seed": self.seed, "classifier": str(self.classifier or ""),
                "judge": self.judge, "clip": self.clip, "inception": self.inception, "train": self.train,
                "learning": _short(self._learning)}  # fmt: skip

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that was asked, as in probe.json."""
        recipes = {one.name: one.toml for one in self.candidates}
        return {"data": self.data, "on_bad_image": self.on_bad_image, **self.how, "candidates": recipes}


@dataclass(frozen=True)
class Found:
    """What a probe found: the measures by name, real images first; what to try; what to know beside it."""

    measures: dict[str, Measures]
    advice: Advice
    remarks: tuple[str, ...]


def probe(asked: Probe, out: Path, told: Told) -> Found:
    """Probe in folder `out`, or go on there; a finished probe is only read. `told` hears of progress: what, done, of how many.

    `UserError` for whatever cannot be used, before anything is written.
    """
    refuse_file(out)
    if asked.classifier is not None:
        refuse_unfinished(asked.classifier)
    if (finished := read_finished(asked, out)) is not None:
        return finished
    if not (out / MARK).is_file() and not is_unused(out):
        raise UserError(f"--out {out} is not empty and holds no probe. Give a new or empty folder.")
    refuse_in_use(out)
    work = _Work(asked, out, told)
    work.check()
    with locked(out):
        checkpoint.write_text(out / MARK, json.dumps(work.data_facts, indent=1, ensure_ascii=False) + "\n")
        measured = {REAL: work.real(), **{one.name: work.candidate(one) for one in asked.candidates}}
        return _write(asked, out, measured, work)


def read_finished(asked: Probe, out: Path) -> Found | None:
    """Return what a finished probe found, None if `out` holds no such one that was asked the same."""
    known = read_object(out / RESULT)
    whole = all((out / name).is_file() for name in (TABLE, SHEET, PAGE))
    if not whole or known.get("asked") != json.loads(json.dumps(asked.facts)):
        return None
    facts: Any = known
    try:
        measured = {one["name"]: Measures.from_data(one["measures"]) for one in facts["measured"]}
        return Found(measured, Advice(**facts["advice"]), tuple(facts["remarks"]))
    except _DAMAGED:
        return None


class _Work:
    """The opened parts of a probe."""

    def __init__(self, asked: Probe, out: Path, told: Told) -> None:
        self.asked, self.out, self.told = asked, out, told
        data = load_data(asked.data, asked.on_bad_image)
        self.images, self.left_out = data.train, data.left_out
        self.parts: Parts = cut(self.images, asked.count, asked.seed)
        self._generator: tuple[str, Backbone] | None = None
        self.data_facts = {"data": asked.data, "digest": names_digest(self.images)}
        self._refuse_other_data()

    def _refuse_other_data(self) -> None:
        held = read_object(self.out / MARK)
        if held and held.get("digest") != self.data_facts["digest"]:
            raise UserError(f"--out {self.out} holds a probe on other data ({held.get('data')}). Choose another --out.")
        classes = len(self.images.class_names)
        if self.asked.count < classes:
            raise UserError(f"--count {self.asked.count}: the data have {classes} classes. Give one drawing of each or more, "
                            f"best {20 * classes} and more.")  # fmt: skip

    def check(self) -> None:
        """Open all that is still needed, so that a fault in the last is found before the first is drawn."""
        if self.asked.classifier is not None:
            _ = self.judge
        if self.asked.classifier is None or self.asked.train:
            self.asked.learner.check(self.parts.fit)
        _ = self.clip, self.inception
        for candidate in reversed(self.asked.candidates):  # the first one stays open
            if self._held(candidate.folder(self.out)) is None:
                self._artist(candidate)

    @cached_property
    def clip(self) -> ClipConsistency | None:
        """CLIP, if it was given."""
        device = str(PartialState().device)
        return ClipConsistency(self.asked.clip, 1, self.images.class_names, device, given="--clip") if self.asked.clip else None

    @cached_property
    def inception(self) -> Inception | None:
        """Inception v3, if it was asked for."""
        if not self.asked.inception:
            return None
        some = range(0, len(self.images.labels), max(1, len(self.images.labels) // 32))
        return Inception(int(statistics.median(min(self.images.image(i).size) for i in some)))

    @cached_property
    def judge(self) -> Classifier:
        """The classifier that looks at drawings; trained in the probe's folder unless one was given."""
        if self.asked.classifier is not None:
            return open_given(self.asked.classifier, self.parts.fit)
        folder = self.out / f"classifier-{self.asked.judge[:8]}"
        return self.asked.learner.train(self.parts.fit, self.parts.held, folder, self._telling("classifier"))

    @cached_property
    def ruler(self) -> Ruler:
        """What measures."""
        return Ruler(self.judge, self.parts.reference, clip=self.clip, inception=self.inception)

    @cached_property
    def rest(self) -> Album:
        """Training images without those that are measured as if drawn."""
        control = set(self.parts.control.keys)
        rows = tuple(i for i, key in enumerate(self.images.keys) if key not in control)
        return Album.of(at_most(Subset(self.images, rows), MOST_SEARCHED))

    @cached_property
    def album(self) -> Album:
        """Training images, with those that are measured as if drawn."""
        add_all(self.rest, self.parts.control)
        return self.rest

    def real(self) -> Measures:
        """Return the measures of real images, as if they had been drawn."""
        folder = self.out / "real"
        if (held := self._held(folder)) is not None:
            return held
        trained = self._trained(at_most(self.parts.fit, self.asked.count), folder, REAL)
        return self._keep(folder, self.ruler.measure(self.parts.control, self.rest, trained=trained))

    def candidate(self, candidate: Candidate) -> Measures:
        """Draw what is missing of a candidate, and return its measures."""
        folder = candidate.folder(self.out)
        if (held := self._held(folder)) is not None:
            return held
        artist, store, requests = self._artist(candidate), Store(folder / "store"), self._requests(candidate)
        for done in draw_missing(artist, requests, store):
            self.told(f"drawing {candidate.name}", done, len(requests))
        drawn = self.drawn(candidate)
        if len(drawn.rows) < 2:
            raise UserError(f"{candidate.name} draws nothing but broken pictures ({artist.refused[0].reason}). Leave it out, "
                            "or try loading.dtype=float32 or another drawing.scheduler.")  # fmt: skip
        trained = self._trained(drawn, folder, candidate.name)
        seconds = statistics.median(float(row["seconds"]) for row in drawn.rows)  # the first batch warms up
        measures = self.ruler.measure(
            drawn, self.album, broken=len(requests) - len(drawn.rows), seconds=seconds, trained=trained
        )
        return self._keep(folder, measures)

    def drawn(self, candidate: Candidate) -> Drawn:
        """Return the drawings of a candidate, their classes called as in the data."""
        store = Store(candidate.folder(self.out) / "store")
        return Drawn.of(store, self._requests(candidate), self.images.class_names)

    def _trained(self, images: ImageSet, folder: Path, name: str) -> Trained | None:
        if not self.asked.train:
            return None
        place = folder / f"trained-{_short(self.asked.how['learning'], len(images.labels))[:8]}"
        classifier = self.asked.learner.train(images, self.parts.held, place, self._telling(f"learning {name}"))
        hits = right(look(classifier, self.parts.held), self.parts.held.labels)
        interval = share_interval(hits)
        return Trained(accuracy=interval.mean, low=interval.low, high=interval.high, right=hits)

    def _requests(self, candidate: Candidate) -> list[Request]:
        prompts, names = candidate.recipe.prompts, self.images.class_names
        plan = TextOnly().plan([], prompts.names(names), self.asked.count, Progress(epoch=0, epochs=1), self.asked.seed)
        return worded(plan, prompts.of(names))

    def _artist(self, candidate: Candidate) -> Artist:
        """Open a candidate; one generator is kept, for the next candidate may be the same with other settings."""
        recipe, names = candidate.recipe, candidate.recipe.prompts.names(self.images.class_names)
        wanted = f"{recipe.generator} {recipe.loading} {names}"
        if self._generator is None or self._generator[0] != wanted:
            self._generator = None
            opened = open_generator(recipe.generator, names, str(PartialState().device), recipe.loading)
            self._generator = wanted, opened
        return Artist(self._generator[1], recipe.drawing)

    @cached_property
    def _measured_with(self) -> str:
        return _short(json.dumps(self.asked.how, sort_keys=True), self.data_facts["digest"])

    def _held(self, folder: Path) -> Measures | None:
        known: Any = read_object(folder / "measures.json")
        try:
            return Measures.from_data(known["measures"]) if known.get("measured_with") == self._measured_with else None
        except _DAMAGED:
            return None

    def _keep(self, folder: Path, measures: Measures) -> Measures:
        facts = {"measured_with": self._measured_with, "measures": asdict(measures)}
        checkpoint.write_text(folder / "measures.json", json.dumps(facts, ensure_ascii=False) + "\n")
        return Measures.from_data(json.loads(json.dumps(facts["measures"])))

    def _telling(self, what: str) -> Callable[[int, int], None]:
        return lambda done, of: self.told(what, done, of)


def _write(asked: Probe, out: Path, measured: dict[str, Measures], work: _Work) -> Found:
    """Write what people look at, then the result, which says that all is there."""
    candidates = {name: one for name, one in measured.items() if name != REAL}
    advice = advise(candidates)
    said = tuple(remarks(candidates, measured[REAL], given=asked.classifier is not None, left_out=work.left_out))
    drawn = {one.name: work.drawn(one) for one in asked.candidates}
    sheet = draw_sheet({REAL: work.parts.control, **drawn})
    checkpoint.write_bytes(out / SHEET, png(sheet))
    origin = f"actgen probe · {asked.data} · {asked.count} drawings each · seed {asked.seed}"
    write_page(out / PAGE, render(origin, measured, advice, said, sheet, asked.facts["candidates"]))
    lines = [markdown(measured), f"Try `{advice.name}`: {advice.reason}", *said, EXPLAINED]
    checkpoint.write_text(out / TABLE, "\n\n".join(line.strip() for line in lines) + "\n")
    rows = [{"name": name, "folder": folder.name, "measures": asdict(measured[name])} for name, folder in _folders(asked, out)]
    facts = {"asked": asked.facts, "advice": asdict(advice), "remarks": said, "searched": len(work.album), "measured": rows}
    checkpoint.write_text(out / RESULT, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    return Found(measured, advice, said)


def _folders(asked: Probe, out: Path) -> Iterator[tuple[str, Path]]:
    yield REAL, out / "real"
    for candidate in asked.candidates:
        yield candidate.name, candidate.folder(out)


def _short(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]
