"""Layouts as people bring them: read as meant, or asked about; every file is used or named; nothing is guessed."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from actgen.core.errors import UserError
from actgen.core.marker import mark
from actgen.data.datasets.account import by_reason
from actgen.data.datasets.evaluation import Evaluation, choose_images
from actgen.data.datasets.flat_names import class_of
from actgen.data.datasets.folder import FolderImages
from actgen.data.datasets.reading import Reading
from actgen.data.datasets.sources import RealData, load_data
from actgen.data.datasets.split_words import split_kinds
from actgen.experiment.config import build_recipe, to_toml
from tests.support.layouts import PNG, draw, picture


def counts(data: RealData) -> dict[str, int]:
    return dict(Counter(data.train.class_names[label] for label in data.train.labels))


def asked(root: Path, *words: str) -> None:
    """Check that a folder is asked about, with these words."""
    with pytest.raises(UserError, match="could mean two things") as caught:
        load_data(str(root))
    for word in words:
        assert word in str(caught.value)


# splits


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training", "testing"),
        ("seg_train", "seg_test"),
        ("Training Set", "Test Set"),
        ("TRAIN", "Evaluation"),
        ("train2017", "val2017"),
        ("training_data", "dev"),
        ("train", "test1"),
        ("fruits_training", "fruits_validation"),
    ],
)
def test_the_fields_words_for_splits(tmp_path: Path, train: str, test: str) -> None:
    draw(tmp_path, *(f"{split}/{name}/{i}.png" for split in (train, test) for name in ("cat", "dog") for i in range(3)))
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert counts(data) == {"cat": 3, "dog": 3}
    assert data.test.keys[0] == "test/cat/0.png"


def test_a_word_within_a_name_is_a_split_only_beside_its_likes() -> None:
    assert split_kinds(["test tube", "beaker"]) == {}
    assert split_kinds(["train station", "test tube"]) == {}
    assert split_kinds(["seg_train", "seg_test", "seg_pred"]) == {"seg_train": "train", "seg_test": "test"}
    assert split_kinds(["Train", "VAL"]) == {"Train": "train", "VAL": "validation"}


def test_a_split_within_a_folder_of_its_own_name(tmp_path: Path) -> None:
    for split in ("seg_train", "seg_test"):
        draw(tmp_path, *(f"{split}/{split}/{name}/{i}.png" for name in ("sea", "street") for i in range(2)))
    draw(tmp_path, "seg_pred/seg_pred/1.png")
    data = load_data(str(tmp_path))
    assert counts(data) == {"sea": 2, "street": 2}
    assert [one.count for one in by_reason(data.unused)] == [1]


def test_dev_and_eval_alone_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{split}/{name}/{i}.png" for split in ("dev", "eval") for name in ("a", "b") for i in range(2)))
    with pytest.raises(UserError, match=r"no train folder.*reading\.train=dev.*--layout classes"):
        load_data(str(tmp_path))
    data = load_data(str(tmp_path), reading=Reading(train="dev", test="eval"))
    assert data.test is not None
    assert counts(data) == {"a": 2, "b": 2}


def test_folders_that_hold_the_same_folders_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{part}/{name}/{i}.png" for part in ("fold1", "fold2") for name in ("cat", "dog") for i in range(2)))
    asked(tmp_path, "reading.train=fold1", "--layout classes")
    assert counts(load_data(str(tmp_path), reading=Reading(layout="classes"))) == {"fold1": 4, "fold2": 4}
    data = load_data(str(tmp_path), reading=Reading(train="fold1", test="fold2"))
    assert data.test is not None
    assert (counts(data), len(data.test.labels)) == ({"cat": 2, "dog": 2}, 4)


@pytest.mark.parametrize("odd", ["test", "val"])
def test_a_split_word_among_classes_is_asked_about(tmp_path: Path, odd: str) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("cat", "dog", odd) for i in range(2)))
    asked(tmp_path, odd, "--layout classes")
    assert len(load_data(str(tmp_path), reading=Reading(layout="classes")).train.class_names) == 3


def test_train_with_classes_beside_a_folder_of_pictures_is_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, "train/cat/0.png", "train/cat/1.png", "train/dog/0.png", "train/dog/1.png", "extra/0.png")
    asked(tmp_path, "extra", "--layout splits")
    data = load_data(str(tmp_path), reading=Reading(layout="splits"))
    assert [(one.reason, one.count) for one in by_reason(data.unused)] == [("in a folder that is no split", 1)]


def test_two_folders_for_one_split_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{s}/{name}/{i}.png" for s in ("train", "test", "testing") for name in ("a", "b") for i in range(2)))
    asked(tmp_path, "test and testing")


def test_one_nested_folder(tmp_path: Path) -> None:
    draw(tmp_path, *(f"my_set/data/{s}/{name}/{i}.png" for s in ("train", "test") for name in ("a", "b") for i in range(2)))
    (tmp_path / "README.md").write_text("about it", encoding="utf-8")
    data = load_data(str(tmp_path))
    assert counts(data) == {"a": 2, "b": 2}
    assert any("read from" in note for note in data.notes)
    assert [(one.count, one.first) for one in by_reason(data.unused)] == [(1, str(tmp_path / "README.md"))]


def test_a_test_split_without_a_class_is_scored_on_the_others(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{name}/{i}.png" for name in ("a", "b", "c") for i in range(2)), "test/a/0.png", "test/b/0.png")
    (tmp_path / "test" / "c").mkdir()
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert list(data.test.labels) == [0, 1]
    assert data.test.class_names == data.train.class_names
    assert "test has no images of c: it is scored on the other classes" in data.notes


def test_class_folders_of_another_case_are_the_same_class_with_a_note(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{name}/{i}.png" for name in ("cat", "dog") for i in range(2)), "test/Cat/0.png", "test/dog/0.png")
    assert "test: Cat is taken for the class cat" in load_data(str(tmp_path)).notes


def test_the_users_validation_images_are_what_validation_is_measured_on(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 3), ("test", 2)):
        draw(tmp_path, *(f"{split}/{name}/{i}.png" for name in ("a", "b") for i in range(count)))
    data = load_data(str(tmp_path))
    chosen = choose_images(data, Evaluation(on="validation"), seed=0)
    assert chosen.test is data.validation
    assert chosen.test is not None
    assert (len(chosen.test.labels), len(chosen.train.labels)) == (6, 8)
    assert chosen.test.keys[0] == "validation/a/0.png"


def test_pictures_for_testing_without_classes_are_left_out(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{name}/{i}.png" for name in ("a", "b") for i in range(2)), "test/1.png", "test/2.png")
    data = load_data(str(tmp_path))
    assert data.test is None
    assert data.notes == ("test is not used: nothing says the classes of its 2 pictures",)
    assert len(data.unused) == 2


# names, tables


def test_flat_names(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{name}.{i}.jpg" for name in ("cat", "dog") for i in range(3)))
    draw(tmp_path, *(f"test/{name}.{i}.jpg" for name in ("cat", "dog") for i in range(3, 5)))
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert (counts(data), len(data.test.labels)) == ({"cat": 3, "dog": 3}, 4)
    assert data.train.keys[0] == "train/cat.0.jpg"


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("cat.1.jpg", "cat"),
        ("great_pyrenees_12.jpg", "great_pyrenees"),
        ("Sky Lark (3).png", "Sky Lark"),
        ("n01440764_18.JPEG", "n01440764"),
        ("IMG_0001.jpg", None),
        ("7_0001.png", None),
        ("0001.png", None),
        ("holiday.png", None),
    ],
)
def test_the_class_in_a_name(name: str, label: str | None) -> None:
    assert class_of(Path(name)) == label


def test_names_that_say_nothing_are_refused_with_what_to_do(tmp_path: Path) -> None:
    draw(tmp_path, *(f"IMG_{i}.png" for i in range(6)))
    with pytest.raises(UserError, match=r"no class folders.*6 pictures.*CSV file with the columns file and label"):
        load_data(str(tmp_path))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_images_with_a_csv(tmp_path: Path, delimiter: str) -> None:
    draw(tmp_path, *(f"images/{i}.png" for i in range(7)))
    rows = [("file", "label"), *((f"{i}.png", "cat" if i % 2 else "dog") for i in range(6)), ("gone.png", "cat")]
    (tmp_path / "labels.csv").write_text("".join(delimiter.join(row) + "\n" for row in rows), encoding="utf-8-sig")
    data = load_data(str(tmp_path))
    assert counts(data) == {"cat": 3, "dog": 3}
    assert any("1 lines of" in note and "gone.png" in note for note in data.notes)
    assert ("the table has no line for it", 1) in [(one.reason, one.count) for one in by_reason(data.unused)]


def test_a_csv_with_splits_names_without_a_suffix_and_numbers(tmp_path: Path) -> None:
    draw(tmp_path, *(f"pictures/{i}.jpg" for i in range(8)))
    lines = ["id,breed,split", *(f"{i},{i % 2},{'Train' if i < 6 else 'valid'}" for i in range(8))]
    (tmp_path / "labels.csv").write_text("\n".join(lines), encoding="utf-8")
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert (counts(data), len(data.test.labels)) == ({"0": 3, "1": 3}, 2)


def test_a_table_a_split(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{split}/{i}.png" for split in ("train", "test") for i in range(4)))
    for split in ("train", "test"):
        lines = [f'{{"file_name": "{i}.png", "label": "{"ab"[i % 2]}"}}' for i in range(4)]
        (tmp_path / split / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert (counts(data), len(data.test.labels)) == ({"a": 2, "b": 2}, 4)


def test_train_csv_and_test_csv_beside_one_folder(tmp_path: Path) -> None:
    draw(tmp_path, *(f"img/{i}.png" for i in range(8)))
    for name, numbers in (("train", range(6)), ("test", range(6, 8))):
        (tmp_path / f"{name}.csv").write_text("image,class\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in numbers))
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert (counts(data), len(data.test.labels)) == ({"a": 3, "b": 3}, 2)


def test_a_table_and_folders_that_differ_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{batch}/{batch}{i}.png" for batch in ("p", "q") for i in range(4)))
    (tmp_path / "labels.csv").write_text(
        "file,label\n" + "".join(f"{b}{i}.png,{'xy'[i % 2]}\n" for b in "pq" for i in range(4))
    )
    asked(tmp_path, "--layout table", "--layout classes")
    assert counts(load_data(str(tmp_path), reading=Reading(layout="table"))) == {"x": 4, "y": 4}
    assert counts(load_data(str(tmp_path), reading=Reading(layout="classes"))) == {"p": 4, "q": 4}


def test_two_columns_that_could_be_the_class_are_asked_about(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{i}.png" for i in range(4)))
    (tmp_path / "t.csv").write_text("file,label,species\n" + "".join(f"{i}.png,{i % 2},{i // 2}\n" for i in range(4)))
    with pytest.raises(UserError, match=r"label or species.*--set reading\.label_column=label"):
        load_data(str(tmp_path))
    data = load_data(str(tmp_path), reading=Reading(label_column="species"))
    assert list(data.train.labels) == [0, 0, 1, 1]


def test_a_picture_with_two_classes_is_refused(tmp_path: Path) -> None:
    draw(tmp_path, "0.png", "1.png")
    (tmp_path / "t.csv").write_text("file,label\n0.png,a\n0.png,b\n1.png,b\n")
    with pytest.raises(UserError, match=r"says 'a' and 'b' of 0\.png"):
        load_data(str(tmp_path))


# files


@pytest.mark.parametrize("suffix", ["avif", "ppm", "pgm", "tga", "jp2", "jfif", "qoi", "pcx", "ico"])
def test_whatever_pillow_opens_is_read(tmp_path: Path, suffix: str) -> None:
    draw(tmp_path, *(f"{name}/{i}.{suffix}" for name in ("a", "b") for i in range(2)))
    data = load_data(str(tmp_path))
    assert counts(data) == {"a": 2, "b": 2}
    assert not data.unused


def test_a_picture_without_a_suffix_is_known_by_its_bytes(tmp_path: Path) -> None:
    draw(tmp_path, "a/0.png", "a/1.png", "b/0.png", "b/1.png")
    (tmp_path / "a" / "download").write_bytes(PNG)
    (tmp_path / "b" / "2.JPG_large").write_bytes(PNG)
    (tmp_path / "b" / "3.heic").write_bytes(b"\0\0\0\x18ftypheic")
    data = load_data(str(tmp_path))
    assert counts(data) == {"a": 3, "b": 3}
    assert [(one.reason, one.first) for one in by_reason(data.unused)] == [
        ("not a picture that Pillow opens", str(tmp_path / "b" / "3.heic"))
    ]


def test_bit_depth_is_that_of_the_data(tmp_path: Path) -> None:
    for name, value in (("a", 4095), ("b", 2048)):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(np.full((4, 4), value >> i, dtype=np.uint16)).save(tmp_path / name / f"{i}.png")
    data = load_data(str(tmp_path))
    assert data.train.image(0).getpixel((0, 0)) == (255, 255, 255)
    assert data.train.image(2).getpixel((0, 0)) == (128, 128, 128)
    assert data.notes == ("deep grey is read as 12 bits: its largest value is 4095",)


def test_big_pictures_are_a_setting(tmp_path: Path) -> None:
    draw(tmp_path, "a/0.png", "a/1.png", "b/0.png")
    picture(tmp_path / "b" / "1.png", size=(1100, 1000))
    with pytest.raises(UserError, match=r"1100000 pixels, more than 1000000 pixels; --set reading\.max_megapixels"):
        load_data(str(tmp_path), reading=Reading(max_megapixels=1))
    assert load_data(str(tmp_path), reading=Reading(max_megapixels=1.1)).train.image(3).size == (1100, 1000)


def test_more_than_pillows_limit_can_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    draw(tmp_path, "a/0.png", "a/1.png", "b/0.png")
    picture(tmp_path / "b" / "1.png", size=(40, 40))
    with pytest.raises(UserError, match="more than 100 pixels"):
        load_data(str(tmp_path))
    assert load_data(str(tmp_path), reading=Reading(max_megapixels=0.01)).train.image(3).size == (40, 40)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_folders_of_links_are_read_when_allowed(tmp_path: Path) -> None:
    blobs, root = tmp_path / "blobs", tmp_path / "data"
    draw(blobs, *(f"{i}.png" for i in range(4)), "more/5.png")
    for i in range(4):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[i % 2] / f"{i}.png").symlink_to(blobs / f"{i}.png")
    (root / "a" / "more").symlink_to(blobs / "more")
    (root / "a" / "round").symlink_to(root / "a")
    with pytest.raises(UserError, match=r"outside .*--follow-links"):
        load_data(str(root))
    with pytest.raises(UserError, match="would go on for ever"):
        load_data(str(root), reading=Reading(follow_links=True))
    (root / "a" / "round").unlink()
    assert counts(load_data(str(root), reading=Reading(follow_links=True))) == {"a": 3, "b": 2}


def test_a_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    draw(tmp_path, *(f"train/{name}/{i}.png" for name in (composed, "tea") for i in range(2)))
    draw(tmp_path, *(f"test/{name}/{i}.png" for name in (apart, "tea") for i in range(2)))
    data = load_data(str(tmp_path))
    assert data.train.class_names == (composed, "tea")
    assert data.test is not None
    assert data.test.class_names == data.train.class_names
    draw(tmp_path, f"train/{apart}/9.png")
    with pytest.raises(UserError, match="one name in two Unicode forms"):
        load_data(str(tmp_path))


# what actgen wrote itself


@pytest.mark.parametrize("where", ["out", "runs/train", "cat/out"])
def test_outputs_never_become_inputs(tmp_path: Path, where: str) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("cat", "dog") for i in range(2)), f"{where}/store/images/1.png")
    mark(tmp_path / where)
    data = load_data(str(tmp_path))
    assert counts(data) == {"cat": 2, "dog": 2}
    assert [(one.reason, one.count) for one in by_reason(data.unused)] == [("in a folder that actgen wrote", 2)]
    with pytest.raises(UserError, match="what actgen wrote"):
        load_data(str(tmp_path / where))


# the law


_NAMES = st.sampled_from(["train", "test", "cat", "dog", "val", "a b", ".git", "images", "x", "Training", "out"])
_FILES = st.sampled_from(
    [
        "1.png",
        "2.png",
        "cat.1.png",
        "cat.2.png",
        "dog.1.png",
        "dog.2.png",
        "notes.txt",
        "x.heic",
        ".DS_Store",
        "labels.csv",
        "p",
    ]
)
_PATHS = st.builds(lambda folders, name: "/".join([*folders, name]), st.lists(_NAMES, max_size=3), _FILES)


@given(paths=st.sets(_PATHS, max_size=14), layout=st.sampled_from(["auto", "classes", "names"]))
def test_every_file_is_used_or_named(tmp_path_factory: pytest.TempPathFactory, paths: set[str], layout: str) -> None:
    root = tmp_path_factory.mktemp("tree")
    for path in paths:
        if not any((root / above).is_file() for above in Path(path).parents) and not (root / path).is_dir():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(PNG if path.endswith((".png", "/p")) or path == "p" else b"no picture")
    try:
        data = load_data(str(root), "skip", Reading(layout=layout))
    except UserError:
        return
    parts = [part for part in (data.train, data.test, data.validation) if isinstance(part, FolderImages)]
    used = [path for part in parts for path in part.paths]
    every = {path for path in root.rglob("*") if path.is_file()}
    assert len(used) == len(set(used))
    assert {*used} | {*data.unused} == every
    assert not {*used} & {*data.unused}
    assert len(used) + len(data.unused) == len(every)


def test_how_it_is_read_comes_back_from_a_recipe_as_it_was(tmp_path: Path) -> None:
    recipe = build_recipe(None, ["reading.max_megapixels=5"])
    for one in (recipe, build_recipe()):
        (tmp_path / "recipe.toml").write_text(to_toml(one), encoding="utf-8")
        assert to_toml(build_recipe(tmp_path / "recipe.toml")) == to_toml(one)
