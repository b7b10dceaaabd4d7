# SPDX-License-Identifier: Apache-2.0
"""Files of labelling programs: Pascal VOC, CVAT, LabelMe; alone, and in folders with a file for each image."""
import json

import numpy as np
import pytest

from dependency.errors import InputError
from src.annotations.formats import parse, sniff
from src.annotations.read_write import read_annotations
from src.common.log import LOGGER

POINTS = {"left_eye": (15, 20), "right_eye": (25, 20), "nose": (20, 25), "left_mouth": (16, 32),
          "right_mouth": (24, 32)}
LANDMARKS = [list(map(float, point)) for point in POINTS.values()]


def voc(*objects, name="one.jpg", size="<size><width>80</width><height>60</height><depth>3</depth></size>"):
    return "\n".join([f"<annotation>\n<folder>x</folder><filename>{name}</filename>{size}", *objects, "</annotation>"])


def voc_object(box="10 12 30 42", name="face", more=""):
    sides = "".join(f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box.split()))
    return f"<object><name>{name}</name>{more}<bndbox>{sides}</bndbox></object>"


def cvat(*shapes, more=""):
    return ('<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta/>\n'
            '<image id="0" name="e/one.jpg" width="80" height="60">\n' + "\n".join(shapes)
            + f"\n</image>{more}</annotations>")


def cvat_box(box="10 12 30 42", label="face", more=""):
    sides = " ".join(f'{side}="{value}"' for side, value in zip(("xtl", "ytl", "xbr", "ybr"), box.split()))
    return f'<box label="{label}" occluded="0" {sides} z_order="0" {more}/>'


def cvat_points(label, *points, more=""):
    return f'<points label="{label}" points="{";".join(f"{x},{y}" for x, y in points)}" {more}/>'


def labelme(*shapes, path="..\\x\\one.jpg", **more):
    return json.dumps({"version": "5.2", "flags": {}, "shapes": shapes, "imagePath": path, "imageData": "QUJD",
                       "imageHeight": 60, "imageWidth": 80, **more})


def labelme_shape(points=((30, 12), (10, 42)), label="face", kind="rectangle", **more):
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **more}


def good():
    """The same face in each format."""
    return {"voc": voc(voc_object()),
            "cvat": cvat(cvat_box(), *(cvat_points(*point) for point in POINTS.items())),
            "labelme": labelme(labelme_shape(), *(labelme_shape([point], name, "point")
                                                  for name, point in POINTS.items()))}


@pytest.fixture
def logged():
    lines = []

    def keep(record):
        lines.append(record.getMessage())
        return True
    LOGGER.addFilter(keep)
    yield lines
    LOGGER.removeFilter(keep)


@pytest.mark.parametrize("fmt", ["voc", "cvat", "labelme"])
def test_a_face(write, fmt):
    path = write("\ufeff" + good()[fmt], "labels.anything")
    assert sniff(path) == fmt
    (record,) = read_annotations(path)
    assert record.path == ("e/one.jpg" if fmt == "cvat" else "one.jpg")
    np.testing.assert_array_equal(record.boxes, [[10, 12, 30, 42]])
    assert (record.height, record.width) == (60, 80) and record.ignore.tolist() == [False]
    if fmt != "voc":
        np.testing.assert_array_equal(record.landmarks[0], LANDMARKS)
        assert record.visibility.tolist() == [[2] * 5]


def test_what_voc_files_hold(write):
    """Difficult faces are ignored; numbers may be fractions; sizes and other parts may be absent, also a suffix."""
    path = write(voc(voc_object("1.5 2.5 30 42", more="<difficult>1</difficult><truncated>1</truncated><pose/>"),
                     voc_object(more="<difficult>0</difficult>"),
                     "<object><name>face</name><part><name>eye</name><bndbox><xmin>0</xmin></bndbox></part><bndbox>"
                     "<ymin>2</ymin><xmin>1</xmin><xmax>9</xmax><ymax>8</ymax></bndbox></object>",
                     name="C:\\data\\one", size="<size><width>0</width><height/></size>"))
    (record,) = read_annotations(path)
    assert record.path == "one" and (record.height, record.width) == (0, 0)
    np.testing.assert_array_equal(record.boxes, [[1.5, 2.5, 30, 42], [10, 12, 30, 42], [1, 2, 9, 8]])
    assert record.ignore.tolist() == [True, False, False]


def test_what_cvat_files_hold(write):
    """Several images, tags, attributes, occluded points, skeletons whose points may be outside."""
    flags = {"nose": 'outside="1"', "left_eye": 'outside="0" occluded="1"'}
    skeleton = "".join(cvat_points(name, point, more=flags.get(name, "")) for name, point in POINTS.items())
    path = write(cvat('<tag label="day"/>', cvat_box("40 12 60 42"), cvat_box(more='group_id="7"'),
                      f'<skeleton label="face" group_id="7">{skeleton}</skeleton>', cvat_box("0 0 9 9", "hat"),
                      '<polygon label="hat" points="1,2;3,4;5,6"/>',
                      more='<image id="1" name="two.jpg" width="9" height="9"/>'))
    first, second = read_annotations(path)
    np.testing.assert_array_equal(first.boxes, [[40, 12, 60, 42], [10, 12, 30, 42]])
    assert first.visibility.tolist() == [[0] * 5, [1, 2, 0, 2, 2]]
    assert second.path == "two.jpg" and not len(second.boxes)
    (record,) = read_annotations(write(cvat(cvat_box(), cvat_points("points", *POINTS.values()))))
    np.testing.assert_array_equal(record.landmarks[0], LANDMARKS)


def test_what_labelme_files_hold(write, logged):
    """Corners in any order, all four of them, difficult faces, occluded points, other classes."""
    path = write(labelme(labelme_shape(((10, 12), (30, 12), (30, 42), (10, 42)), difficult=True),
                         labelme_shape(((60, 42), (40, 12)), group_id=3),
                         labelme_shape([(50, 20)], "Nose tip", "point", group_id=3, flags={"occluded": True}),
                         labelme_shape(((1, 1), (2, 2), (3, 1)), "hat", None), path="a/one.jpg"))
    (record,) = read_annotations(path)
    np.testing.assert_array_equal(record.boxes, [[10, 12, 30, 42], [40, 12, 60, 42]])
    assert record.ignore.tolist() == [True, False] and record.visibility.tolist() == [[0] * 5, [0, 0, 1, 0, 0]]
    assert any("'hat' (1 annotations)" in line for line in logged)


@pytest.mark.parametrize("text, message", [
    (voc(voc_object("10 12 x 42")), r":3: .*bndbox of xmin"),
    (voc(voc_object(more="<difficult>2</difficult>")), "difficult"),
    (voc("<object><name>face</name><polygon/></object>"), ":3: .*bndbox"),
    (voc(voc_object("30 12 10 42")), "width -20"),
    (voc(voc_object("10 12 nan 42")), "nan"),
    (cvat(cvat_box(more='rotation="30"')), r":4: .*rotation 30"),
    (cvat('<polygon label="face" points="1,2;3,4"/>'), "polygon"),
    (cvat('<box label="face"/>'), "xtl"), (cvat(cvat_box(), cvat_points("nose", (70, 50))), "is in 0 boxes"),
    (cvat(cvat_box(), cvat_box("12 12 32 42"), cvat_points("nose", (20, 25))), "in 2 boxes; .*group id"),
    (cvat(cvat_box(), cvat_points("nose", (20, 25)), cvat_points("nose", (21, 25))), "has such a point already"),
    (labelme(labelme_shape(((1, 2), (3, 4), (5, 6)))), "rectangle of 3 points"),
    (labelme(labelme_shape(((1, 2), (3, "4")))), "not a number"), (labelme(labelme_shape(kind="circle")), "circle"),
    (labelme(labelme_shape(((1, 2, 3), (3, 4, 5)))), "3 values")])
def test_a_face_that_is_not_understood_is_named(write, text, message):
    path = write(text)
    with pytest.raises(InputError, match=rf"(?s)unusable.*{message}"):
        read_annotations(path)
    assert read_annotations(path, on_problem="collect").problems


@pytest.mark.parametrize("text, message", [
    ('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n' + voc(voc_object(name="&b;")), ":1: has a <!DOCTYPE>"),
    ('<?xml version="1.0"?>\n<!DOCTYPE annotation SYSTEM "file:///etc/passwd">\n' + voc(), ":2: has a <!DOCTYPE>"),
    (voc(voc_object())[:-5], "not an xml file"), ("<dataset/>", "begins with <dataset>"),
    (cvat('<image name="b.jpg">', "</image>"), ":4: an <image> inside another one"),
    (cvat(cvat_box(), more=cvat_box()), ":5: a <box> outside of any <image>"),
    ("<annotations><track id='0' label='face'/></annotations>", "CVAT for images"),
    (labelme(labelme_shape())[:-5], "not a json file"), ('{"shapes": 3}', "no list of shapes"),
    (cvat(cvat_box(label="hat"), cvat_box(label="mask")), 'named "face"'),
    (cvat(*(cvat_box("40 42 20 20") for _ in range(3))), "x y width height"),
    (voc(*(voc_object("0.1 0.1 0.5 0.5") for _ in range(2))), "normalised"), ("0 .5 .5 .5 .5\n", "YOLO's labels")])
def test_a_file_that_is_not_understood_is_refused(write, text, message):
    with pytest.raises(InputError, match=message):
        read_annotations(write(text), on_problem="collect")


@pytest.mark.parametrize("fmt", ["voc", "labelme"])
def test_a_folder_of_labels(images, fmt, logged):
    """Each file belongs to the image of its name; what the file says of name and folder may be old."""
    labels = images / "labels/e"
    labels.mkdir(parents=True)
    (labels / "one.dat").write_text("no label")
    (labels / "one.xml").write_text(good()[fmt])
    (labels / "gone.xml").write_text(good()[fmt])
    annotations = parse(images / "labels", image_dir=images)
    assert [(record.path, len(record.boxes)) for record in annotations] == [("e/one.jpg", 1), ("e/two.jpg", 0)]
    assert any("1 of 2 images have no label file" in line for line in logged)
    assert any("1 label files have no image, the first" in line and "gone.xml" in line for line in logged)
    (labels / "two.xml").write_text(good()[fmt])
    with pytest.raises(InputError, match="two.xml: e/two.jpg: .*it is of one.jpg, which is there, too"):
        read_annotations(images / "labels", image_dir=images)
    (labels / "two.xml").write_text(good()["cvat"].replace("</image>", '</image><image name="b"/>'))
    with pytest.raises(InputError, match="labels of 2 images"):
        read_annotations(images / "labels", image_dir=images)
    with pytest.raises(InputError, match="--image_dir"):
        read_annotations(images / "labels")


def test_a_folder_of_yolo_labels_with_its_classes(images):
    labels = images / "labels/e"
    labels.mkdir(parents=True)
    (images / "labels/classes.txt").write_text("hat\nface\n")
    (labels / "one.txt").write_text("1 .5 .5 .5 .5\n0 .5 .5 .1 .1\n")
    (labels / "two.txt").write_text("")
    one, two = read_annotations(images / "labels", image_dir=images)
    np.testing.assert_array_equal(one.boxes, [[20, 15, 60, 45]])
    assert not len(two.boxes)
    (images / "e/two.jpg").write_bytes(b"no image")
    (labels / "two.txt").write_text("1 .5 .5 .5 .5\n")
    with pytest.raises(InputError, match=r"two.txt: e/two.jpg: .*two.jpg: not an image"):
        read_annotations(images / "labels", image_dir=images)
