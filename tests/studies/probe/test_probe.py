"""The command: what it writes, that it goes on where it stopped, and what it refuses."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

import actgen
from actgen.core.lock import locked
from actgen.data.store.store import Store
from actgen.report.page import policy
from actgen.studies.probe.candidates import parse_candidates
from actgen.studies.probe.config import Probe
from actgen.studies.probe.judge import make_learner
from actgen.studies.probe.run import probe
from actgen.studies.probe.sheet import EACH, GAP, SIDE
from tests.conftest import CLASSES, Refuse, read_lines, tree, write_digits
from tests.studies.probe.conftest import FAST, call, command, measured


def test_it_measures_everything(probed: Path) -> None:
    found = measured(probed)
    assert [name.partition(":")[2].partition("=")[0] for name in found] == ["", "", "guidance_scale", "prompts"]
    for name, one in found.items():
        assert one["images"] == len(one["keys"]) == 8
        assert one["low"] <= one["consistency"] <= one["high"]
        assert 0 <= one["precision"] <= 1 and 0 <= one["coverage"] <= 1  # noqa: PT018
        assert one["frechet"] >= 0 and len(one["frechet_resampled"]) == 100  # noqa: PT018
        assert set(one["by_class"]) == set(CLASSES)
        assert len(one["trained"]["right"]) == 4 * 12  # the held-out images
        assert one["nearest_pairs"][0]["training_key"].startswith("train/"), name
        assert (one["clip"], one["inception"]) == (None, None)


def test_all_candidates_draw_the_same_requests(probed: Path) -> None:
    rows = [read_lines(store / "metadata.jsonl") for store in sorted(probed.glob("*/store"))]
    assert len(rows) == 3
    config = [[(row["key"], row["seed"], row["label"]) for row in some] for some in rows]
    assert config[0] == config[1] == config[2]
    assert sorted(row["label"] for row in rows[0]) == [0, 0, 1, 1, 2, 2, 3, 3]
    prompts = [{row["label"]: row["prompt"] for row in some} for some in rows]
    assert sorted(some[0] for some in prompts) == ["a photo of one", "a photo of one", "a picture of zero"]


def test_what_people_look_at(probed: Path) -> None:
    page, table = ((probed / name).read_text(encoding="utf-8") for name in ("probe.html", "table.md"))
    assert html.escape(policy("data:")) in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    for name in measured(probed):
        assert name.replace("|", "\\|") in table
    assert "Frechet, classifier features" in table
    with Image.open(probed / "samples.png") as sheet:
        assert sheet.size[1] == 2 * GAP + len(CLASSES) * SIDE
        left = sheet.size[0] - 4 * (EACH * SIDE + GAP)
        tile = sheet.convert("RGB").crop((left, 2 * GAP, left + SIDE, 2 * GAP + SIDE)).resize((8, 8), Image.Resampling.NEAREST)
    data = json.loads((probed / "data.json").read_text(encoding="utf-8"))["data"]
    real = actgen.load_data(data).train
    assert any(real.image(i).tobytes() == tile.tobytes() for i in range(30))  # a real zero


def test_a_second_call_reads_only(probed: Path, digits: Path, generators: list[str], tmp_path: Path) -> None:
    out = tmp_path / "again"
    shutil.copytree(probed, out)
    shutil.rmtree(next(out.glob("classifier-*")))  # would be trained again if anything were measured
    before = tree(out)
    assert "try " in call(command(digits, generators, out, "--train"))
    assert tree(out) == before


def test_files_that_somebody_edited_are_written_again(
    probed: Path, digits: Path, generators: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "edited"
    shutil.copytree(probed, out)
    (out / "real" / "measures.json").write_text("{", encoding="utf-8")
    known = json.loads((out / "probe.json").read_text(encoding="utf-8"))
    (out / "probe.json").write_text(json.dumps({**known, "measured": [{"name": 3}]}), encoding="utf-8")
    call(command(digits, generators, out, "--train"))
    assert measured(out) == measured(probed)


def test_a_new_candidate_leaves_the_others_as_they_are(
    probed: Path, digits: Path, generators: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "more"
    shutil.copytree(probed, out)
    call(command(digits, [*generators, f"{generators[0]}:sampling.eta=1"], out, "--train"))
    before, after = measured(probed), measured(out)
    assert len(after) == len(before) + 1
    assert {name: after[name] for name in before} == before


def test_it_goes_on_where_it_stopped(probed: Path, digits: Path, generators: list[str], tmp_path: Path) -> None:
    """Stopped while the second candidate generates, and while its classifier learns."""
    out = tmp_path / "stopped"
    settings = [FAST[k + 1] for k, part in enumerate(FAST) if part == "--set"]
    config = Probe(
        data=str(digits),
        candidates=parse_candidates(generators[:2], settings),
        count=8,
        train=True,
        learner=make_learner(str(digits), settings, "actgen/tiny-cnn", 0),
    )
    for when in ("generating", "learning"):

        def stop(what: str, done: int, of: int, when: str = when) -> None:
            if what.startswith(when) and "guidance" in what:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            probe(config, out, stop)
        assert not (out / "probe.json").exists()
    probe(config, out, lambda what, done, of: None)
    assert measured(out) == {name: one for name, one in measured(probed).items() if name in measured(out)}
    for store in out.glob("*/store"):
        assert len(Store(store)) == 8


def test_a_given_classifier_measures_what_the_one_trained_here_does(
    probed: Path, digits: Path, generators: list[str], tmp_path: Path
) -> None:
    (run,) = probed.glob("classifier-*")
    output = call(command(digits, generators[:1], tmp_path / "out", "--classifier", str(run)))
    assert "The classifier was given" in output.replace("\n", " ")
    given, trained = measured(tmp_path / "out"), measured(probed)
    assert given == {name: {**trained[name], "trained": None} for name in given}


def test_test_images_are_never_looked_at(probed: Path, digits: Path, generators: list[str], tmp_path: Path) -> None:
    """Without them all numbers are the same."""
    shutil.copytree(digits / "train", tmp_path / "data" / "train")
    call(command(tmp_path / "data", generators[:1], tmp_path / "out", "--train"))
    without, with_them = measured(tmp_path / "out"), measured(probed)
    assert without == {name: with_them[name] for name in without}


def test_clip_is_asked_too(clip_folder: Path, digits: Path, generators: list[str], tmp_path: Path) -> None:
    output = call(command(digits, generators[:1], tmp_path / "out", "--clip", str(clip_folder)))
    assert "CLIP agrees" in output
    assert all(0 <= one["clip"] <= 100 for one in measured(tmp_path / "out").values())


def test_what_cannot_be_probed(refuse: Refuse, digits: Path, generators: list[str], probed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_digits(tmp_path / "few", "", 0, 5)

    def said(*more: str, data: Path = digits, given: list[str] | None = None, count: int = 8) -> str:
        return refuse(*command(data, generators[:1] if given is None else given, out, *more, count=count))

    assert "no data set and no folder called" in said(data=tmp_path / "nowhere")
    assert "fewer than 6 training images" in said(data=tmp_path / "few")
    assert "cannot load the generator 'nowhere'" in said(given=[generators[0], "nowhere"])  # before the first one generates
    assert "the bundled generator knows Fashion-MNIST only" in said(given=["bundled"])
    assert "--count 3" in said(count=3)
    assert "--fid" in said("--fid", "vgg")
    assert "is no finished run" in said("--classifier", str(digits))
    assert "--clip" in said("--clip", str(digits))
    assert "unknown key sampling.steps" in said("--set", "sampling.steps=3")
    assert "'resnet81' is unknown" in said("--model", "resnet81")


def test_where_it_cannot_write(refuse: Refuse, digits: Path, generators: list[str], probed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "holiday.txt").write_text("mine", encoding="utf-8")
    assert "holds no probe" in refuse(*command(digits, generators[:1], out))
    assert "is a file" in refuse(*command(digits, generators[:1], out / "holiday.txt"))
    write_digits(tmp_path / "other", "", 0, 7)
    assert "a probe on other data" in refuse(*command(tmp_path / "other", generators[:1], probed))
    with locked(probed):
        assert "is in use by process" in refuse(*command(digits, generators[:1], probed))


def test_a_classifier_of_other_classes(refuse: Refuse, probed: Path, generators: list[str], tmp_path: Path) -> None:
    write_digits(tmp_path / "data", "", 0, 7, ("zero", "one", "two", "four"))
    (run,) = probed.glob("classifier-*")
    assert "knows other classes" in refuse(
        *command(tmp_path / "data", generators[:1], tmp_path / "out", "--classifier", str(run))
    )
