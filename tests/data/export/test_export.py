"""Laws of an export: every format gives back pixels, labels and class names; nothing damaged gets in, nothing half stays."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from actgen.cli.app import app
from actgen.core.errors import UserError
from actgen.data.datasets.names import folder_name
from actgen.data.datasets.sources import load_data
from actgen.data.export import FORMATS
from actgen.data.export.columns import find_columns
from actgen.data.store.store import MANIFEST, Store
from actgen.experiment.config import build_recipe, to_toml
from actgen.experiment.export import export_store
from tests.conftest import Refuse, make_sample, read_lines

ODD = ("a/b\\c", "🦆 duck", '"quoted" <br>', "test", ".hidden", "crash test dummy", "zero", "é" * 200)
EACH = 2
Read = dict[str, tuple[bytes, int, str]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of two images of every odd class; its manifest has numbers, gaps, lists and tables."""
    folder = tmp_path / "store"
    filled = Store(folder)
    for number in range(EACH * len(ODD)):
        label = number % len(ODD)
        facts = {
            "guidance": {"steps": number},
            "probability": None if number < 8 else number / 7,
            "class_margin": 1 if number else 0.5,
        }
        filled.add(make_sample(f"r000-{number:05d}", shade=number, label=label, class_name=ODD[label]), facts)
    return folder


def export(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["store", "export", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def expected(folder: Path) -> Read:
    return {
        row["key"]: (pixels(Image.open(folder / row["file_name"])), row["label"], row["class_name"])
        for row in read_lines(folder / MANIFEST)
    }


def pixels(image: Image.Image) -> bytes:
    return image.convert("RGB").tobytes()


def hugging_face(kind: str, out: Path, cache: Path) -> Any:
    import datasets

    return datasets.load_dataset(kind, data_dir=str(out), cache_dir=str(cache))


# every format, read by its own libraries


def test_class_folders_are_read_by_imagefolder_torchvision_and_actgen(store: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    out = tmp_path / "out"
    export(store, "--format", "imagefolder", "--out", out)
    classes = {one["folder"]: one for one in json.loads((out / "classes.json").read_text(encoding="utf-8"))}
    assert [one["class_name"] for one in classes.values()] == list(ODD)

    read = hugging_face("imagefolder", out, tmp_path / "cache")
    assert list(read) == ["train"]
    assert {row["key"]: (pixels(row["image"]), row["label"], row["class_name"]) for row in read["train"]} == expected(store)
    assert [json.loads(row["probability"]) for row in read["train"]][7:9] == [None, 8 / 7]

    seen = ImageFolder(out / "train")
    again = {
        Path(path).stem: (pixels(image), seen.classes[label])
        for (path, _), (image, label) in zip(seen.samples, seen, strict=True)
    }
    assert {key: (data, classes[folder]["label"], classes[folder]["class_name"]) for key, (data, folder) in again.items()} == (
        expected(store)
    )
    ours = load_data(str(out)).train
    assert sorted(ours.class_names) == sorted(classes)
    assert len(ours.labels) == len(ODD) * EACH


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves its shards open
def test_shards_are_read_by_webdataset_and_datasets(store: Path, tmp_path: Path) -> None:
    import webdataset

    out = tmp_path / "out"
    export_store(store, out, "webdataset", shard_bytes=300)
    shards = sorted(map(str, out.glob("train-*.tar")))
    assert len(shards) > 2
    read = webdataset.WebDataset(shards, shardshuffle=False).decode("pil")
    rows = {row["__key__"]: (pixels(row["png"]), row["cls"], row["json"]["class_name"]) for row in read}
    assert rows == expected(store)
    del read
    gc.collect()

    split = hugging_face("webdataset", out, tmp_path / "cache")["train"]
    assert {row["json"]["key"]: (pixels(row["png"]), row["cls"], row["json"]["class_name"]) for row in split} == expected(store)
    assert [json.loads(row["json"]["probability"]) for row in split][7:9] == [None, 8 / 7]
    names = [one["class_name"] for one in json.loads((out / "classes.json").read_text(encoding="utf-8"))]
    assert names == list(ODD)


def test_parquet_is_read_by_datasets_with_all_columns(store: Path, tmp_path: Path) -> None:
    import datasets

    out = tmp_path / "out"
    export_store(store, out, "parquet", shard_bytes=300)
    assert len(list(out.rglob("train-*-of-*.parquet"))) > 2
    split = hugging_face("parquet", out, tmp_path / "cache")["train"]
    assert isinstance(split.features["label"], datasets.ClassLabel)
    names = split.features["label"].names
    assert names == list(ODD)
    assert {row["key"]: (pixels(row["image"]), row["label"], names[row["label"]]) for row in split} == expected(store)
    for row, line in zip(split, read_lines(store / MANIFEST), strict=True):
        for name in line.keys() - {"file_name"}:
            assert row[name] == line[name] or json.loads(row[name]) == line[name], name


def test_the_bytes_are_those_of_the_store(store: Path, tmp_path: Path) -> None:
    import datasets

    wanted = sorted((store / "images").glob("*.png"))
    export(store, "--format", "imagefolder", "--out", tmp_path / "copies")
    export(store, "--format", "imagefolder", "--link", "--out", tmp_path / "links")
    for folder, links in (("copies", 1), ("links", 2)):
        found = sorted((tmp_path / folder).rglob("*.png"), key=lambda path: path.name)
        assert [path.read_bytes() for path in found] == [path.read_bytes() for path in wanted]
        assert {path.stat().st_nlink for path in found} == {links}
        for path in found:
            path.unlink()
    export(store, "--format", "parquet", "--out", tmp_path / "packed")
    split = hugging_face("parquet", tmp_path / "packed", tmp_path / "cache")["train"]
    raw = split.cast_column("image", datasets.Image(decode=False))
    assert [row["image"]["bytes"] for row in raw] == [path.read_bytes() for path in wanted]


# real images beside


@pytest.mark.parametrize("form", FORMATS)
def test_real_images_join_and_test_images_stay_apart(form: str, digits: Path, tmp_path: Path) -> None:
    data = load_data(str(digits))
    assert data.test is not None
    filled = Store(tmp_path / "store")
    filled.add(make_sample("r000-00000", label=1, class_name="three"), {"class_margin": 0.5})
    out = tmp_path / "out"
    assert "1 generated images and 160 real ones" in export(
        tmp_path / "store", "--format", form, "--out", out, "--with-real", digits
    )
    read = hugging_face(form, out, tmp_path / "cache")
    assert {name: len(split) for name, split in read.items()} == {"train": 121, "test": 40}
    for split, real in ((read["train"], data.train), (read["test"], data.test)):
        rows = [row["json"] | {"image": row["png"]} if form == "webdataset" else row for row in split]
        rows = sorted((row for row in rows if not row["generated"]), key=lambda row: str(row["key"]))
        order = sorted(range(len(real.keys)), key=lambda index: real.keys[index])
        assert [row["key"] for row in rows] == [real.keys[index] for index in order]
        assert [row["label"] for row in rows] == [real.labels[index] for index in order]
        assert [pixels(row["image"]) for row in rows] == [pixels(real.image(index)) for index in order]


def test_beside_a_run_the_real_images_are_those_that_it_saw(digits: Path, tmp_path: Path) -> None:
    settings = ['prompts.classes={"two" = "a photo of a {pair}"}', "images=20", "evaluation.on=validation"]
    recipe = build_recipe(settings=settings, flags={"data": "moved away"})
    (tmp_path / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    Store(tmp_path / "store").add(make_sample("k", label=2, class_name="pair"), {})
    export_store(tmp_path / "store", tmp_path / "out", "parquet", with_real=str(digits))
    read = hugging_face("parquet", tmp_path / "out", tmp_path / "cache")
    assert {name: len(split) for name, split in read.items()} == {"train": 17, "validation": 4}
    assert read["train"].features["label"].names == ["one", "three", "pair", "zero"]


def test_a_class_without_a_drawn_image_has_its_place(tmp_path: Path) -> None:
    import datasets

    Store(tmp_path / "store").add(make_sample("k", label=2, class_name="coat"), {})
    export(tmp_path / "store", "--format", "parquet", "--out", tmp_path / "out")
    features = hugging_face("parquet", tmp_path / "out", tmp_path / "cache")["train"].features
    assert features["label"] == datasets.ClassLabel(names=["(no image) 0", "(no image) 1", "coat"])


# what is refused leaves nothing


def damage(store: Path, how: str) -> None:
    image = store / "images" / "r000-00005.png"
    if how == "altered":
        Image.new("RGB", (8, 8), (1, 2, 3)).save(image)
    elif how == "missing":
        image.unlink()
    elif how == "a link":
        image.rename(store.parent / "elsewhere.png")
        image.symlink_to(store.parent / "elsewhere.png")
    else:
        lines = (store / MANIFEST).read_text(encoding="utf-8").splitlines(keepends=True)
        lines[5] = lines[5].replace('"label": 5', '"label": 4')
        (store / MANIFEST).write_text("".join(lines), encoding="utf-8")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("how", ["altered", "missing", "a link", "the chain breaks"])
def test_what_is_damaged_is_named_and_nothing_is_left(form: str, how: str, store: Path, tmp_path: Path, refuse: Refuse) -> None:
    damage(store, how)
    message = refuse("store", "export", str(store), "--format", form, "--out", str(tmp_path / "out"))
    assert "r000-00005" in message
    assert how in message


def test_what_a_killed_export_left_is_done_again(store: Path, tmp_path: Path) -> None:
    left = tmp_path / "out.part" / "unfinished" / "train"
    left.mkdir(parents=True)
    (left / "half.png").write_bytes(b"half")
    export(store, "--format", "imagefolder", "--out", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "store"]
    assert not list((tmp_path / "out").rglob("half.png"))


def test_the_empty_working_folder_may_be_filled(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export(store, "--format", "webdataset", "--out", ".")
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["classes.json", "train-00000.tar"]


def test_only_what_is_committed_is_exported(store: Path, tmp_path: Path) -> None:
    (store / "images" / "r000-00099.png").write_bytes(b"no line yet")
    with (store / MANIFEST).open("ab") as file:
        file.write(b'{"key": "r000-00099", "file_na')
    export(store, "--format", "imagefolder", "--out", tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("*.png"))) == len(ODD) * EACH


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--format", "zip"], "imagefolder, webdataset, parquet"),
        (["--format", "parquet", "--link"], "--link goes with --format imagefolder"),
        (["--format", "parquet", "--out", "store/inside"], "inside the store"),
        (["--format", "parquet", "--out", "store"], "inside the store"),
        (["--format", "parquet", "--out", "full"], "not empty"),
        (["--format", "parquet", "--with-real", "fashion-mnist-mini"], "is of class"),
        (["--format", "parquet", "--with-real", "nothing"], "there is no data set"),
    ],
)
def test_what_cannot_be_exported_is_refused(arguments: list[str], said: str, store: Path, refuse: Refuse) -> None:
    (store.parent / "full").mkdir()
    (store.parent / "full" / "file").touch()
    message = refuse("store", "export", str(store), "--out", "out", *arguments)
    assert said in message


def test_an_empty_store_and_no_store_are_refused(tmp_path: Path, refuse: Refuse) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / MANIFEST).touch()
    assert "no images yet" in refuse("store", "export", "empty", "--format", "parquet", "--out", "out")
    assert "it is no store" in refuse("store", "export", "none", "--format", "parquet", "--out", "out")


def test_two_names_of_a_label_are_refused(tmp_path: Path) -> None:
    filled = Store(tmp_path / "store")
    filled.add(make_sample("a", label=1, class_name="coat"), {})
    filled.add(make_sample("b", label=1, class_name="bag"), {})
    with pytest.raises(UserError, match="image b is of class 'bag' and label 1, which is 'coat'"):
        export_store(tmp_path / "store", tmp_path / "out", "imagefolder")


def test_parquet_without_datasets_names_the_extra(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuse: Refuse
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    message = refuse("store", "export", str(store), "--format", "parquet", "--out", str(tmp_path / "out"))
    assert "pip install 'actgen[datasets]'" in message


# names and columns


def test_folder_names_are_safe_and_different() -> None:
    odd = [
        *ODD,
        "a%2Fb%5Cc",
        "%74est",
        "",
        ".",
        "..",
        "zero\u202e",
        "a\nb",
        "nul\0",
        "é" * 199,
        "b. ",
        "training_set",
        "attest",
    ]
    names = [folder_name(name) for name in odd]
    assert len(set(names)) == len(odd)
    for name in names:
        assert name
        assert not set(name) & set('/\\:*?"<>|\n\0\u202e')
        assert not name.startswith(".")
        assert len(name.encode()) <= 255
    assert folder_name("attest") == "attest"
    assert folder_name("🦆 duck") == "🦆 duck"


def test_columns_hold_what_their_rows_say() -> None:
    rows: list[dict[str, Any]] = [
        {"a": 1, "b": "x", "c": None, "d": [1], "e": True, "f": 2**70, "g": "\ud800"},
        {"a": 0.5, "b": "y", "c": None, "d": None, "e": False, "f": 1, "h": 3},
    ]
    columns = find_columns(iter(rows))
    assert columns.kinds == {
        "a": "number",
        "b": "text",
        "c": "text",
        "d": "json",
        "e": "truth",
        "f": "json",
        "g": "json",
        "h": "whole",
    }
    assert columns.gaps == {"c", "d", "g", "h"}
    assert columns.cells(rows[0])["a"] == 1.0
    assert columns.cells(rows[1])["h"] == 3
    assert columns.cells(rows[0])["h"] is None
    assert columns.without_gaps().cells(rows[0])["h"] == "null"
    with pytest.raises(UserError, match="'image'"):
        find_columns([{"image": 1}])
