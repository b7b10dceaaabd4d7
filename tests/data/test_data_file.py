# SPDX-License-Identifier: Apache-2.0
"""The data file: which images, which labels, which split."""
import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from dependency.errors import InputError
from src.data.data_file import read_data_file
from src.tools import prepare_wider

POINTS = "0.3 0.4 2 0.5 0.4 2 0.4 0.5 1 0.3 0.6 2 0.5 0.6 0"


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "facedet")
    logging.getLogger("facedet").propagate = True
    return caplog


def make(folder, files, yaml="train: images/train\nval: images/val\nnames: [face]\n"):
    """Write files by name; an image (None) is 80 wide and 60 high."""
    for name, text in {"my.yaml": yaml, **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            assert cv2.imwrite(str(path), np.zeros((60, 80, 3), np.uint8))
        else:
            path.write_bytes(text.encode())
    return folder / "my.yaml"


def two(train="0 .5 .5 .5 .5\n", val="0 .5 .5 .5 .5\n"):
    """An image each to train and to validate on."""
    return {"images/train/a.jpg": None, "labels/train/a.txt": train, "images/val/b.PNG": None, "labels/val/b.txt": val}


def test_yolo_folders(tmp_path, log):
    train = f"\ufeff0 0.5 0.5 0.5 0.5 {POINTS}\r\n\r\n0 0.25 0.25 0.5 0.5\r\n"
    path = make(tmp_path, {**two(train, ""), "images/val/c.jpg": None, "labels/val/old.txt": "0 1 1 1 1"},
                "path: .\ntrain: images/train\nval: [images/val]\nnc: 1\nnames: {0: face}\nkpt_shape: [5, 3]\n"
                "download: x\n")
    data = read_data_file(path)
    (record,) = data.train
    assert data.image_dir == tmp_path and data.landmarks
    assert (record.path, record.height, record.width) == ("images/train/a.jpg", 60, 80)
    np.testing.assert_array_equal(record.boxes, [[20, 15, 60, 45], [0, 0, 40, 30]])
    np.testing.assert_allclose(record.landmarks[0], [[24, 24], [40, 24], [32, 30], [24, 36], [0, 0]], rtol=1e-6)
    assert record.visibility.tolist() == [[2, 2, 1, 2, 0], [0] * 5] and not record.ignore.any()
    assert [(each.path, len(each.boxes)) for each in data.val] == [("images/val/b.PNG", 0), ("images/val/c.jpg", 0)]
    for text in ("download: without a meaning", "1 of 3 images have no label file", "c.jpg",
                 "1 images have an empty label file", "1 label files have no image", "old.txt"):
        assert text in log.text


@pytest.mark.parametrize("row, landmarks", [
    ("0 .5 .5 .5 .5 .25 .5 .5 .5 -1 -1 0 0 .5 .75", [[20, 30], [40, 30], [0, 0], [0, 0], [40, 45]]),
    ("0 .5 .5 .5 .5 .25 .5 2 .5 .5 2 -1 -1 2 0 0 0 .5 .75 2", [[20, 30], [40, 30], [0, 0], [0, 0], [40, 45]])])
def test_landmarks_with_and_without_visibility(tmp_path, row, landmarks):
    (record,) = read_data_file(make(tmp_path, two(row))).train
    np.testing.assert_array_equal(record.landmarks[0], landmarks)
    assert record.visibility.tolist() == [[2, 2, 0, 0, 2]]


def test_of_several_classes_the_one_named_face(tmp_path, log):
    rows = "1 .5 .5 .5 .5\n0 .25 .25 .5 .5\n2 .1 .1 .1 .1\n"
    yaml = "train: images/train\nval: images/val\nnames: [mask, face, hat]\n"
    (record,) = read_data_file(make(tmp_path, two(rows), yaml)).train
    np.testing.assert_array_equal(record.boxes, [[20, 15, 60, 45]])
    assert "'mask' (2 annotations), 'hat' (1 annotations)" in log.text
    with pytest.raises(InputError, match=r"a.txt:3: .*class 2: names lists 2 classes, 0 to 1"):
        read_data_file(make(tmp_path, {}, yaml.replace(", hat", "")))


@pytest.mark.parametrize("row, message", [
    ("0 .5 .5 .5", "4 columns"), ("0 .5 .5 .5 .5 .9", "6 columns"), ("0 .5 .5 .5 .5 .1 .1 .2 .2", "polygons"),
    ("0 .5 .5 .5 x", "numbers"), ("-1 .5 .5 .5 .5", "class -1"), ("0.5 .5 .5 .5 .5", "class 0.5"),
    ("0 .5 .5 nan .5", "from 0 to 1"), ("0 .5 1.5 .5 .5", "from 0 to 1"), ("0 .5 .5 .5 .5 " + "1 1 3 " * 5, "flags")])
def test_a_bad_row_is_named(tmp_path, row, message):
    with pytest.raises(InputError, match=rf"(?s)labels/train/a.txt:2: .*{message}"):
        read_data_file(make(tmp_path, two(f"0 .5 .5 .5 .5\n{row}\n0 .2 .2 .1 .1\n0 .3 .3 .1 .1\n")))


def test_faces_below_a_pixel_are_counted(tmp_path, log):
    (record,) = read_data_file(make(tmp_path, two("0 .5 .5 .5 .5\n0 .5 .5 .005 .5\n"))).train
    assert len(record.boxes) == 1 and "1 faces of less than a pixel" in log.text


@pytest.mark.parametrize("rows, message", [
    ("0 40 30 20 20\n", "pixels; divide"),
    ("0 .1 .1 .9 .9\n0 .2 .2 .95 .95\n0 .5 .5 .9 .9\n", "x1 y1 x2 y2"),
    ("0 .05 .05 .5 .5\n0 .1 .1 .4 .4\n0 .4 .4 .3 .3\n", "top left corner")])
def test_another_layout_is_refused_as_a_whole(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        read_data_file(make(tmp_path, two(rows, rows)))


@pytest.mark.parametrize("yaml, message", [
    ("trian: images/train\n", "'trian'; did you mean train"), ("train: images/absent\n", "absent is neither"),
    ("- a\n", "own_images.md"), ("a: b: c\n", "not a YAML file"), ("val: labels/val\n", "no image in"),
    ("nc: 1\n", "neither train: nor val:"), ("train: images/train\nnc: 2\nnames: [face]\n", "nc: 2"),
    ("train: images/train\nkpt_shape: [17, 3]\n", "kpt_shape"), ("path: /nowhere\ntrain: x\n", "/nowhere is not"),
    ("train: images/train\nlabels: none.json\n", "none.json is neither"),
    ("train: images/train\nexif: up\n", "exif: up"),
    ("train: images/train\nlabels: {train: x}\n", "labels:"), ("train: images/train\nnames: face\n", "names: face")])
def test_a_wrong_data_file_is_refused(tmp_path, yaml, message):
    with pytest.raises(InputError, match=message):
        read_data_file(make(tmp_path, two(), yaml))


def test_a_share_is_split_off_by_name(tmp_path, log):
    names = [f"{number}.jpg" for number in range(40)]
    files = {name: text for each in names for name, text in
             ((f"images/{each}", None), (f"images/{each[:-4]}.txt", "0 .5 .5 .5 .5"))}
    path = make(tmp_path, files, "train: images\n")
    data = read_data_file(path)
    val = {record.path for record in data.val}
    assert 1 <= len(val) <= 10 and len(val) + len(data.train) == 40
    assert val.isdisjoint(record.path for record in data.train) and "no val:" in log.text
    make(tmp_path, {"images/x/1.jpg": None, "images/x/1.txt": ""}, "train: images\n")
    assert val <= {record.path for record in read_data_file(path).val} | {"images/x/1.jpg"}
    both = read_data_file(make(tmp_path / "few", {name: files[name] for name in list(files)[:4]}, "train: images\n"))
    assert len(both.train) == len(both.val) == 1
    with pytest.raises(InputError, match="one image"):
        read_data_file(make(tmp_path / "one", {name: files[name] for name in list(files)[:2]}, "train: images\n"))


def test_lists_of_images_and_images_in_both_splits(tmp_path, log):
    files = {**two(), "lists/train.txt": f"../images/train/a.jpg\n{tmp_path}/images/val/b.PNG\n",
             "lists/val.txt": "images/val/b.PNG\n"}
    data = read_data_file(make(tmp_path, files, "train: lists/train.txt\nval: lists/val.txt\n"))
    assert [record.path for record in data.train] == ["images/train/a.jpg", "images/val/b.PNG"]
    assert "1 images are in train and in val, the first: images/val/b.PNG" in log.text
    with pytest.raises(InputError, match="lists none.jpg"):
        read_data_file(make(tmp_path, {"lists/val.txt": "none.jpg"}, "val: lists/val.txt\n"))


def test_images_outside_path(tmp_path):
    path = make(tmp_path / "data", {}, "train: ../images/train\nval: ../images/val\n")
    make(tmp_path, two())
    data = read_data_file(path)
    assert data.image_dir == tmp_path / "images" and data.train[0].path == "train/a.jpg"
    (tmp_path / "data/images").symlink_to(tmp_path / "images")
    assert read_data_file(make(tmp_path / "data", {}, "train: ../images/train\nval: ../images/val\n")).train


@pytest.mark.parametrize("labels", ["label.txt", "{train: label.txt, val: label.txt}"])
def test_an_annotation_file(tmp_path, log, labels):
    text = "# train/a.jpg\n10 10 20 20\n# val/b.PNG\n5 5 9 9\n# gone.jpg\n5 5 9 9\n"
    text = text if "{" not in labels else text.replace("train/", "").replace("val/", "")
    path = make(tmp_path, {**two(), "images/train/x.jpg": None, "label.txt": text},
                f"train: {'images/train' if '{' in labels else 'images'}\nlabels: {labels}\n"
                + "val: images/val\n" * ("{" in labels))
    data = read_data_file(path)
    assert sorted(record.path for record in [*data.train, *data.val]) == ["images/train/a.jpg", "images/val/b.PNG"]
    assert "of its 3 images are not among" in log.text and "images/train/x.jpg" in log.text
    path.with_name("label.txt").write_text("# other/a.jpg\n10 10 20 20\n")
    with pytest.raises(InputError, match="not one of its 1 images"):
        read_data_file(path)


def test_labels_of_a_turned_photograph(tmp_path):
    """YOLO's are of the picture as shown, unless the data file says otherwise; Records are of the stored pixels."""
    path = make(tmp_path, two("0 .75 .25 .5 .5"))
    exif = Image.Exif()
    exif[274] = 6       # shown turned by a quarter, 60 wide and 80 high
    Image.new("RGB", (80, 60)).save(tmp_path / "images/train/a.jpg", exif=exif)
    (record,) = read_data_file(path).train
    np.testing.assert_array_equal(record.boxes, [[0, 0, 40, 30]])
    assert (record.width, record.height) == (80, 60)
    (record,) = read_data_file(make(tmp_path, {}, path.read_text() + "exif: shown\n")).train
    np.testing.assert_array_equal(record.boxes, [[0, 0, 40, 30]])


def test_repaired_labels_take_the_place_of_the_others(tmp_path, capsys):
    path = make(tmp_path / "d", two("0 .5 .5 .5 .5\n0 .5 .5\n"), "path: ..\ntrain: d/images/train\nval: d/images/val\n")
    with pytest.raises(InputError, match="prepare_wider"):
        read_data_file(path)
    assert prepare_wider.main(["--annotation", str(path), "--validate"]) == 1
    assert "a.txt:2: d/images/train/a.jpg: 3 columns" in capsys.readouterr().out
    fixed = tmp_path / "d/fixed.json"
    assert prepare_wider.main(["--annotation", str(path), "--repair", str(fixed)]) == 0
    data = read_data_file(make(tmp_path / "d", {}, path.read_text() + "labels: fixed.json\n"))
    assert [len(each[0].boxes) for each in (data.train, data.val)] == [1, 1]
    for split, name in (("train", "a.jpg"), ("val", "b.PNG")):
        assert prepare_wider.main(["--annotation", str(path), "--split", split, "--out", str(tmp_path / "x.txt")]) == 0
        assert (tmp_path / "x.txt").read_text().splitlines()[0] == f"# d/images/{split}/{name}"
    with pytest.raises(InputError, match="leave it out"):
        prepare_wider.main(["--annotation", str(path), "--image_dir", str(tmp_path / "d"), "--validate"])


def test_two_label_files_of_one_image(tmp_path):
    with pytest.raises(InputError, match="both labels"):
        read_data_file(make(tmp_path, {**two(), "images/train/a.json": "{}"}))
