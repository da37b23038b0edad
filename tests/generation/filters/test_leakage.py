"""The leakage guard: ten test images planted into a store are named, and nothing else is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.data.store.store import Store
from actgen.experiment.leaks import check_leaks
from actgen.generation.filters import open_chain
from actgen.generation.filters.leakage import refuse_leaks
from actgen.generation.filters.options import Filters
from actgen.generation.filters.thumbnails import LOOKS
from tests.conftest import Refuse
from tests.support.pictures import fashion, jpeg, mirrored, picture, resized, store_of

PLANTED = (17, 404, 1203, 2750, 3111, 4096, 5005, 6789, 8000, 9999)
OTHERS = 150


def planted() -> dict[str, str]:
    """Return the keys of the planted images in the store, and of the test images that they are."""
    return {f"r000-{OTHERS + number:05d}": f"test/{index}" for number, index in enumerate(PLANTED)}


@pytest.fixture(scope="module")
def infected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of training images among which are ten test images: mirrored, compressed, resized, as 28 pixels, exact."""
    copies = [picture("test", index) for index in PLANTED]
    copies[0] = mirrored(copies[0])
    copies[1] = jpeg(copies[1])
    copies[2] = resized(copies[2], 30)
    copies[3] = copies[3].crop((2, 2, 30, 30))
    folder = tmp_path_factory.mktemp("infected") / "store"
    store_of(folder, [*(picture("train", number) for number in range(OTHERS)), *copies])
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "store"
    store_of(folder, [picture("train", number) for number in range(OTHERS)])
    return folder


def test_ten_planted_test_images_are_named_and_no_other(infected: Path) -> None:
    leaks, images, tests = check_leaks(infected, "fashion-mnist-mini", Filters().leakage_distance)
    assert {leak.key: leak.test_key for leak in leaks} == planted()
    assert (images, tests) == (OTHERS + len(PLANTED), 10_000)
    assert [leak.look for leak in leaks] == [LOOKS[1], "", "", LOOKS[2], *[""] * 6]
    assert [leak.distance for leak in leaks[4:]] == pytest.approx([0.0] * 6, abs=1e-5)


def test_the_command_lists_them_and_ends_with_2(infected: Path) -> None:
    result = CliRunner().invoke(app, ["store", "leaks", str(infected), "--data", "fashion-mnist-mini"])
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert len(lines) == len(PLANTED) + 1
    for line, (key, test_key) in zip(lines, planted().items(), strict=False):
        assert line.startswith(f"{key} is the test image {test_key}")
    assert lines[0].endswith("(mirrored), distance 0.000")


def test_a_clean_store_ends_with_0(clean: Path) -> None:
    result = CliRunner().invoke(app, ["store", "leaks", str(clean), "--data", "fashion-mnist-mini"], catch_exceptions=False)
    assert result.exit_code == 0
    assert result.output.startswith(f"0 of {OTHERS} images")


@pytest.mark.parametrize("given", ["nothing", "a run"])
def test_what_is_no_store_is_refused(tmp_path: Path, clean: Path, refuse: Refuse, given: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    if given == "a run":
        shutil.copytree(clean, folder / "store")
    message = refuse("store", "leaks", str(folder), "--data", "fashion-mnist-mini")
    assert "it is no store" in message
    assert (f"Give {folder / 'store'}." in message) == (given == "a run")


def test_data_without_test_images_is_refused(digits: Path, clean: Path, refuse: Refuse) -> None:
    assert "has no test images" in refuse("store", "leaks", str(clean), "--data", str(digits / "train"))


def test_a_run_names_what_was_planted_in_its_store(infected: Path) -> None:
    data = fashion()
    chain = open_chain(Filters(), data.train, data.test)
    with pytest.raises(UserError, match="holds 10 image") as error:
        refuse_leaks(chain, Store(infected).snapshot(), 0)
    for key, test_key in planted().items():
        assert f"{key} is {test_key}" in str(error.value)


def test_only_what_is_new_or_changed_is_looked_at(clean: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(clean, folder)
    data = fashion()
    chain = open_chain(Filters(), data.train, data.test)
    refuse_leaks(chain, Store(folder).snapshot(), OTHERS)
    assert "album" not in vars(chain.filters[1])  # nothing was new: the test images were not even read
    picture("test", 7).save(folder / "images" / "r000-00004.png")  # under the name of an image that passed
    with pytest.raises(UserError, match="r000-00004 is test/7"):
        refuse_leaks(chain, Store(folder).snapshot(), OTHERS)


def test_what_was_added_after_the_checkpoint_is_looked_at(clean: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(clean, folder)
    data = fashion()
    chain = open_chain(Filters(), data.train, data.test)
    store_of(folder, [picture("test", 8)], first=OTHERS)
    with pytest.raises(UserError, match=f"holds 1 image.*r000-{OTHERS:05d} is test/8"):
        refuse_leaks(chain, Store(folder).snapshot(), OTHERS)


def test_a_guard_that_is_off_looks_at_nothing(infected: Path) -> None:
    data = fashion()
    refuse_leaks(open_chain(Filters(leakage=False), data.train, data.test), Store(infected).snapshot(), 0)
    refuse_leaks(open_chain(Filters(), data.train, None), Store(infected).snapshot(), 0)


def test_a_stored_image_that_cannot_be_read_is_named(clean: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(clean, folder)
    (folder / "images" / "r000-00002.png").write_bytes(b"no image")
    with pytest.raises(UserError, match=r"r000-00002\.png.*cannot be read"):
        check_leaks(folder, "fashion-mnist-mini", 0.1)
    assert json.loads((folder / "metadata.jsonl").read_text().splitlines()[2])["key"] == "r000-00002"
