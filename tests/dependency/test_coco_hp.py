# SPDX-License-Identifier: Apache-2.0
"""train.json: what is written is read back, pycocotools agrees, and bad files are named, never swallowed."""
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import short_number, xywh_numbers
from dependency.centernet.src.lib.datasets.dataset.coco_hp import LOGGER, Record, make_record, read_coco, write_coco
from dependency.errors import InputError
from tests.annotations.annotation_files import same


def record(path="e/a.jpg", boxes=((1, 2, 11, 22),), visibility=2, height=60, width=80, ignore=False):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    count = len(boxes)
    seen = np.full((count, 5), visibility, np.uint8)
    points = np.tile(np.arange(10).reshape(1, 5, 2) + 0.25, (count, 1, 1)) * (seen > 0)[..., None]
    return Record(path, boxes, points.astype(np.float32), seen, np.full(count, ignore), height, width)


def document(**changes):
    """A minimal file with one image and one face; `changes` go to the annotation, None removes a key."""
    face = {"id": 7, "image_id": 3, "category_id": 1, "bbox": [1, 2, 10, 20],
            "keypoints": [5, 6, 2, 7, 6, 1, 6, 8, 2, 5, 9, 0, 7, 9, 2], **changes}
    face = {key: value for key, value in face.items() if value is not None}
    return {"images": [{"id": 3, "file_name": "e/a.jpg", "height": 60, "width": 80}], "annotations": [face],
            "categories": [{"id": 1, "name": "face"}]}


@pytest.fixture
def read(tmp_path):
    def _read(content, problems=None):
        path = tmp_path / "t.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return read_coco(path, problems)
    return _read


def test_round_trip_keeps_everything_also_images_without_faces(tmp_path):
    records = [record(), record("e/ünïcode 人.jpg", boxes=()),
               record("f/c.jpg", [(0.1, 0.7, 3.3, 9), (5, 5, 6, 6)], 1),
               record("f/d.jpg", visibility=0, ignore=True)]
    write_coco(tmp_path / "t.json", records)
    same(read_coco(tmp_path / "t.json"), records)


def test_file_is_what_the_manual_describes(tmp_path):
    two = record(boxes=[(1, 2, 11, 22), (3, 3, 5.5, 5)])
    two.visibility[1] = (2, 1, 0, 0, 2)
    write_coco(tmp_path / "t.json", [record(boxes=()), two, record("b.jpg", ignore=True)])
    data = json.loads((tmp_path / "t.json").read_text())
    assert data["categories"] == [{"id": 1, "name": "face", "keypoints": [
        "left_eye", "right_eye", "nose", "left_mouth", "right_mouth"]}]
    assert data["images"][1] == {"id": 2, "file_name": "e/a.jpg", "height": 60, "width": 80}
    first, second, third = data["annotations"]
    assert [face["id"] for face in data["annotations"]] == [1, 2, 3]
    assert [face["image_id"] for face in data["annotations"]] == [2, 2, 3]
    assert first["bbox"] == [1, 2, 10, 20] and first["area"] == 200 and first["num_keypoints"] == 5
    assert first["category_id"] == 1 and first["iscrowd"] == 0 and first["segmentation"] == []
    assert second["bbox"] == [3, 3, 2.5, 2] and second["area"] == 5 and second["num_keypoints"] == 3
    assert second["keypoints"][6:12] == [0, 0, 0, 0, 0, 0], "points not labelled carry no coordinates"
    assert third["ignore"] == 1 and "ignore" not in first


def test_pycocotools_reads_it(tmp_path, capsys):
    from pycocotools.coco import COCO
    write_coco(tmp_path / "t.json", [record(boxes=()), record("b.jpg", [(1, 2, 3, 4), (5, 6, 7, 9)])])
    coco = COCO(str(tmp_path / "t.json"))
    assert sorted(coco.getImgIds()) == [1, 2] and coco.getAnnIds(imgIds=2, catIds=1) == [1, 2]
    assert coco.loadAnns(2)[0]["bbox"] == [5, 6, 2, 3] and coco.loadCats(1)[0]["name"] == "face"
    capsys.readouterr()
    read_coco(tmp_path / "t.json")
    assert capsys.readouterr().out == "", "the index is built silently"


coordinate = st.floats(-2e4, 2e4, width=32, allow_subnormal=False)
size = st.floats(1.125, 2e4, width=32)


@given(coordinate, coordinate, size, size)
def test_corners_survive_the_file_exactly(x, y, width, height):
    box = np.array([x, y, np.float32(x) + np.float32(width), np.float32(y) + np.float32(height)], np.float32)
    if not (box[2:] > box[:2]).all():
        return
    numbers = xywh_numbers(box)
    back, faults = make_record("a.jpg", np.array([numbers + [0] * 15], np.float64), [False])
    assert not faults
    np.testing.assert_array_equal(back.boxes[0], box)
    assert all(np.float32(short_number(value)) == value for value in box)


@pytest.mark.parametrize("changes", [
    {"bbox": None}, {"image_id": None}, {"category_id": None}, {"image_id": 99}, {"image_id": [1]},
    {"ignore": "yes"}, {"iscrowd": 2}, {"bbox": [1, 2, 3, 0.5]}, {"bbox": [1, 2, 3]}, {"bbox": "1 2 3 4"},
    {"bbox": [1, 2, "3", 4]}, {"bbox": [1, 2, -3, 4]}, {"bbox": [1, 2, 0, 4]}, {"bbox": [1, 2, float("nan"), 4]},
    {"bbox": [1, 2, 10 ** 400, 4]}, {"bbox": [1, 2, 1e39, 4]}])
def test_bad_annotation_raises_with_its_id_or_is_collected(read, changes):
    with pytest.raises(InputError, match="t.json: .*annotation 7"):
        read(document(**changes))
    problems = []
    records = read(document(**changes), problems)
    assert len(problems) == 1 and "annotation 7" in problems[0].text
    assert len(records) == 1 and len(records[0].boxes) == 0, "the image stays"


@pytest.mark.parametrize("points", [[1, 2, 2] * 68, [1, 2, 3] * 5, [1, 2, "2"] * 5, {"nose": 1}, 1])
def test_bad_keypoints_raise_or_leave_the_box(read, points):
    with pytest.raises(InputError, match="t.json: .*annotation 7"):
        read(document(keypoints=points))
    problems = []
    (only,) = read(document(keypoints=points), problems)
    assert [problem.kind for problem in problems] == ["landmark"]
    assert only.boxes.tolist() == [[1, 2, 11, 22]] and not only.visibility.any()


ORDER = [2, 0, 1, 3, 4]
EXTRA = ["left_ear", "eyebrow_left", "left_eye_outer", "chin"]


@pytest.mark.parametrize("names", [
    ["nose", "left_eye", "right_eye", "left_mouth", "right_mouth"],
    ["Nose tip", "leftEye", "rightEye", "mouth left corner", "mouth right corner"],
    ["nose_tip", "eye-l", "eye-r", "l_mouth", "r_mouth"],
    ["NOSE", "left eye center", "right eye centre", "left_lip_corner", "right_lip_corner"],
    ["nose", "eye_left", "eye_right", "mouth_corner_left", "mouth_corner_right", *EXTRA]])
def test_keypoints_are_found_by_their_names(read, names):
    points = [[70, 96, 2], [58, 82, 1], [82, 82, 2], [61, 110, 2], [79, 110, 0]] + [[1, 2, 2]] * (len(names) - 5)
    content = document(bbox=[40, 50, 60, 80], keypoints=[number for point in points for number in point])
    content["categories"][0]["keypoints"] = names
    (only,) = read(content)
    assert only.landmarks[0].tolist() == [[58, 82], [82, 82], [70, 96], [61, 110], [0, 0]]
    assert only.visibility[0].tolist() == [1, 2, 2, 2, 0]


@pytest.mark.parametrize("names", [["a", "b", "c", "d", "e"],
                                   ["nose", "nose", "right_eye", "left_mouth", "right_mouth"],
                                   ["left_eye", "right_eye", "nose", "mouth", "chin"],
                                   ["left_eye", "left_eye", "right_eye", "nose", "left_mouth", "right_mouth"]])
def test_keypoints_of_other_names_are_not_guessed(read, names):
    content = document(keypoints=[5, 6, 2] * len(names))
    content["categories"][0]["keypoints"] = names
    with pytest.raises(InputError, match="annotation 7: keypoints are named"):
        read(content)
    content["annotations"][0]["keypoints"] = [0] * 3 * len(names)
    assert len(read(content)[0].boxes) == 1, "without labelled points the names do not matter"


@pytest.mark.parametrize("changes", [{"image_id": "3"}, {"category_id": "1"}, {"category_id": 1.0, "image_id": 3.0},
                                     {"iscrowd": None, "ignore": "0"}])
def test_ids_are_the_same_as_numbers_and_as_text(read, changes):
    (only,) = read(document(**changes))
    assert only.boxes.tolist() == [[1, 2, 11, 22]] and not only.ignore.any()


def test_sizes_may_be_whole_floats_or_unknown(read):
    content = document()
    content["images"][0].update(height=60.0, width=None)
    (only,) = read(content)
    assert (only.height, only.width) == (60, 0) and isinstance(only.height, int)
    for height in (60.5, "60", -1, float("nan"), 1e300):
        content["images"][0]["height"] = height
        with pytest.raises(InputError, match="t.json"):
            read(content)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_of_any_unicode(tmp_path, encoding):
    (tmp_path / "t.json").write_bytes(json.dumps(document()).encode(encoding))
    assert len(read_coco(tmp_path / "t.json")[0].boxes) == 1


@pytest.mark.parametrize("content", [
    "", "{", "[" * 100000, "[]", "{}", '{"images": [1], "annotations": []}', '{"images": [], "annotations": {}}',
    '{"images": [{"id": 1}], "annotations": []}', '{"images": [{"id": 1, "file_name": "  "}], "annotations": []}',
    '{"images": [{"id": 1, "file_name": "a", "height": "9"}], "annotations": []}',
    '{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []}'])
def test_bad_file_is_named(read, content):
    with pytest.raises(InputError, match="t.json"):
        read(content)


def test_optional_keys(read):
    (only,) = read({**document(keypoints=None), "categories": []})
    assert only.visibility.sum() == 0 and len(only.boxes) == 1
    assert read(document(iscrowd=1))[0].ignore.tolist() == [True]
    assert read(document(ignore=1))[0].ignore.tolist() == [True]
    assert read(document(ignore=0, iscrowd=0))[0].ignore.tolist() == [False]


@pytest.mark.parametrize("names, kept, lines", [
    (("person", "face"), [2], 1), (("face", "face"), [1, 2], 1), (("face", "Face_with_mask"), [1, 2], 1),
    (("Human face", "face mask"), [1], 1), (("no_face", "faces"), [2], 1), (("face", "unused", "face"), [1, 2], 1)])
def test_categories_of_faces_are_read_and_the_others_counted(read, caplog, monkeypatch, names, kept, lines):
    monkeypatch.setattr(LOGGER, "propagate", True)
    content = document()
    content["categories"] = [{"id": index, "name": name} for index, name in zip((1, 2, 3) if len(names) < 3 else
                                                                                (1, 3, 2), names)]
    content["annotations"].append({**content["annotations"][0], "id": 8, "category_id": "2", "bbox": [0, 0, 2, 5]})
    (only,) = read(content)
    assert only.boxes[:, 2:].tolist() == [{1: [11, 22], 2: [2, 5]}[kind] for kind in kept]
    assert len(caplog.records) == lines
    assert all(repr(name) in caplog.text for name in names[:2] if name != "unused")


def test_categories_that_leave_a_choice_are_refused(read):
    content = document()
    content["annotations"].append({**content["annotations"][0], "id": 8, "category_id": 2})
    for categories in ([], [{"id": 1, "name": "person"}, {"id": 2, "name": "head"}]):
        with pytest.raises(InputError, match="t.json: categories"):
            read({**content, "categories": categories})
    with pytest.raises(InputError, match="annotation 8: no category has the id 2"):
        read(content)


def test_images_listed_for_each_face_are_one(read, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    content = document()
    content["images"] += [{"id": 4, "file_name": "e//a.jpg", "height": 60, "width": 80},
                          {"id": 5, "file_name": "e/b.jpg", "height": 60, "width": 80}]
    content["annotations"].append({**content["annotations"][0], "id": 8, "image_id": 4, "bbox": [0, 0, 2, 5]})
    one, none = read(content)
    assert one.boxes.tolist() == [[1, 2, 11, 22], [0, 0, 2, 5]] and len(caplog.records) == 1
    assert (none.path, none.boxes.shape) == ("e/b.jpg", (0, 4)), "an image without annotations stays"
    content["annotations"].append({**content["annotations"][0], "id": 9, "image_id": 4, "bbox": [9, 9, 2, 5]})
    with pytest.raises(InputError, match="t.json: e/a.jpg: "):
        read(content)
    content["annotations"].pop()
    content["images"][1]["height"] = 61
    with pytest.raises(InputError, match="t.json: e/a.jpg: "):
        read(content)


@pytest.mark.parametrize("bad", [record(height=0), record(width=0), record(boxes=[(5, 5, 5, 9)])])
def test_what_could_not_be_read_back_is_not_written(tmp_path, bad):
    path = tmp_path / "t.json"
    path.write_text("before")
    with pytest.raises(InputError, match="e/a.jpg"):
        write_coco(path, [bad])
    assert path.read_text() == "before"


json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["id", "image_id", "category_id", "bbox", "keypoints", "file_name", "height"]),
        inner, max_size=6), max_leaves=12)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from(["id", "image_id", "category_id", "bbox", "keypoints", "ignore"]), json_value)
def test_any_value_in_an_annotation_is_read_or_refused(tmp_path_factory, key, value):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({**document(), "annotations": [{**document()["annotations"][0], key: value}]}),
                    encoding="utf-8")
    problems = []
    (only,) = read_coco(path, problems)
    left_out = [problem for problem in problems if problem.kind != "landmark"]
    assert len(only.boxes) + len(left_out) == 1
