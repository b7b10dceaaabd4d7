# SPDX-License-Identifier: Apache-2.0
"""Annotation files: formats read back what was meant, whatever the bytes."""
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, read_coco, write_coco
from dependency.centernet.src.lib.utils.image_file import read_header
from dependency.errors import InputError
from src.annotations.read_write import (
    Annotations,
    fill_sizes,
    read_annotations,
    repair,
    validate,
    write_label_txt,
    write_records,
)
from src.common.log import LOGGER
from tests.annotations.annotation_files import LABEL, SEEN, row, same
from tests.dependency.mat_files import cells

# ---- reading -----------------------------------------------------------------------------------------------

def test_label_txt(write):
    records = read_annotations(write(LABEL))
    assert [(record.path, len(record.boxes)) for record in records] == [("e/one.jpg", 2), ("e/none.jpg", 0),
                                                                        ("e/two.jpg", 2)]
    one, none, two = records
    assert one.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]] and one.boxes.dtype == np.float32
    assert one.visibility.tolist() == [[2, 1, 2, 2, 2], [0] * 5]
    assert one.landmarks[0].tolist() == [[12, 25], [18, 25.5], [15, 30], [13, 34], [17, 34]]
    assert not one.landmarks[1].any(), "a point that is not labelled is 0, 0"
    assert none.boxes.shape == (0, 4) and none.landmarks.shape == (0, 5, 2)
    assert two.boxes.tolist() == [[5, 6, 12, 14], [5.5, 6, 12.5, 14]] and not two.visibility.any()
    assert records.lines(0).faces == [2, 3] and records.lines(2).image == 5 and not records.problems


@pytest.mark.parametrize("disguise", [
    lambda text: text.replace("\n", "\r\n").encode(),
    lambda text: text.replace("\n", "\r").encode(),
    lambda text: text.replace("\n", " \n\n\t\n").encode(),
    lambda text: text.replace(" ", "\t").encode(),
    lambda text: text.replace("# ", "#").replace("e/", "./e\\").encode(),
    lambda text: ("\ufeff" + text).encode("utf-8"),
    lambda text: text.encode("utf-16"),
    lambda text: text.rstrip("\n").encode(),
])
def test_text_files_of_all_systems(write, disguise):
    same(read_annotations(write(disguise(LABEL), "other.txt")), read_annotations(write(LABEL)))


@pytest.mark.parametrize("name", ["e/a.jpg", "./e/a.jpg", "e//a.jpg", "e\\a.jpg", "e\\\\a.jpg", "e/./a.jpg",
                                  "e/x/../a.jpg", "\ufeffe/a.jpg"])
@pytest.mark.parametrize("fmt, content", [
    ("label", "# {}\n5 6 7 8\n"), ("label_v2", "# {} 80 60\n5 6 12 14\n"), ("bbx_gt", "{}\n1\n5 6 7 8\n"),
    ("coco", """{{"images": [{{"id": 1, "file_name": "{}"}}],
                  "annotations": [{{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 6, 7, 8]}}]}}""")])
def test_one_image_has_one_name(write, name, content, fmt):
    name = name.replace("\\", "\\\\") if fmt == "coco" else name
    (record,) = read_annotations(write(content.format(name)), fmt)
    assert (record.path, record.boxes.tolist()) == ("e/a.jpg", [[5, 6, 12, 14]])


def test_byte_order_marks_of_joined_files(write):
    part = "\ufeff# e/{}.jpg\n1 2 3 4\n\ufeff5 6 7 8\n"
    records = read_annotations(write(part.format("a") + part.format("b")))
    assert [(record.path, len(record.boxes)) for record in records] == [("e/a.jpg", 2), ("e/b.jpg", 2)]
    (ellipses,) = read_annotations(write("\ufeffx/a\n2\n30 20 0 50 60 1\n\ufeff30 20 0 90 60 1\n"), "fddb")
    assert (ellipses.path, len(ellipses.boxes)) == ("x/a.jpg", 2)


def test_an_image_of_an_unknown_suffix_keeps_its_faces(write):
    one, two = read_annotations(write("e/one.jpg\n1\n1 2 3 4\ne/two.xyz\n2\n5 6 7 8\n9 9 9 9\n"))
    assert (one.path, len(one.boxes), two.path, len(two.boxes)) == ("e/one.jpg", 1, "e/two.xyz", 2)


def test_points_at_the_corner_are_not_labelled(write, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    for points in ("0 0 0 " * 5, "0 0 1 " * 5, "-1 -1 0 " * 5, "-1 -1 -1 " * 5):
        caplog.clear()
        (record,) = read_annotations(write(f"# e/a.jpg\n40 50 60 80 {points} 0.5\n"))
        assert not record.visibility.any() and not record.landmarks.any()
        assert len(caplog.records) == (not points.startswith("-1 -1 -1"))
    (record,) = read_annotations(write(f"# e/a.jpg\n40 50 60 80 0 0 0 {'5 6 0 ' * 4} 0.5\n"))
    assert record.visibility.tolist() == [[0, 2, 2, 2, 2]]


def test_label_v2_has_corners_and_sizes(write):
    path = write(f"# e/a.jpg 640 480\n10 20 40 60\n10 20 40 61 {SEEN}\n# e/b.jpg 64 48\n")
    first, second = read_annotations(path)
    assert first.boxes.tolist() == [[10, 20, 40, 60], [10, 20, 40, 61]] and first.visibility[1].tolist() == [
        2, 1, 2, 2, 2]
    assert (first.height, first.width) == (480, 640) and (second.height, second.width) == (48, 64)


def test_bbx_gt(write):
    path = write("e/a.jpg\n2\n1 2 3 4 0 0 0 0 0 0 \n5 6 7 8 2 0 0 1 2 0 \ne/b.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n"
                 "e/c.jpg\n1\n0 0 0 0 0 0 0 0 0 0\ne/d.jpg\n0\ne/e.jpg\n1\n1 2 3 4\n", "bbx_gt.txt")
    records = read_annotations(path)
    assert [len(record.boxes) for record in records] == [2, 0, 0, 0, 1]
    assert records[0].ignore.tolist() == [False, True] and records[0].boxes[1].tolist() == [5, 6, 12, 14]


def test_mat_equals_bbx_gt_on_the_real_val_files(shared_data):
    folder = shared_data / "wider/annotations"
    mat = read_annotations(folder / "wider_face_val.mat", on_problem="collect")
    txt = read_annotations(folder / "wider_face_val_bbx_gt.txt", on_problem="collect")
    same(sorted(mat, key=lambda record: record.path), sorted(txt, key=lambda record: record.path))
    assert len(mat) == 3226 and len({record.path.split("/")[0] for record in mat}) == 61
    zero_rows, faces = 4, sum(len(record.boxes) for record in mat)
    assert faces + len(mat.problems) + zero_rows == 39708
    assert [problem.kind for problem in mat.problems] == ["size"] * 7 and len(txt.problems) == 7
    assert sum(record.ignore.sum() for record in mat) == 585


def test_real_val_labels_agree(shared_data):
    corners = read_annotations(shared_data / "wider/annotations/val_labelv2.txt")
    labels = {record.path: record for record in
              read_annotations(shared_data / "wider/val/label.txt", on_problem="collect")}
    same([record for record in corners if record.path in labels],
         [labels[record.path] for record in corners if record.path in labels], sizes=False)
    assert len(corners) == 3226 and len(labels) == 3222
    present = [record for record in corners if (shared_data / "wider/val/images" / record.path).is_file()]
    assert len(present) == 100
    for record in present:
        assert read_header(shared_data / "wider/val/images" / record.path)[:2] == (record.height, record.width)


def test_real_train_labels_and_their_bad_row(shared_data):
    path = shared_data / "wider/train/label.txt"
    with pytest.raises(InputError) as error:
        read_annotations(path)
    assert f"{path}:1090: 7--Cheering/7_Cheering_Cheering_7_17.jpg: " in str(error.value)
    records = read_annotations(path, on_problem="collect")
    assert (len(records), sum(len(record.boxes) for record in records)) == (353, 2379)
    assert sum(record.visibility.any(axis=1).sum() for record in records) == 55
    found = validate(path, shared_data / "wider/train/images", check_images=False)
    assert [(problem.line, problem.kind) for problem in found] == [(915, "duplicate"), (1090, "size")]


def test_files_of_no_format_are_refused(write, tmp_path):
    for content in ("", "hello\n", "1 2 3 4\n", b"\x00\x01\x02\xff", "# e/a.jpg\n# e/\u4eba.jpg\n".encode("gb18030")):
        with pytest.raises(InputError, match="label.txt"):
            read_annotations(write(content))
    with pytest.raises(InputError, match="'xyz'; expected one of .*voc"):
        read_annotations(write(LABEL), "xyz")
    with pytest.raises(FileNotFoundError, match="absent.txt"):
        read_annotations(tmp_path / "absent.txt")


ODD_ROWS = ["1 2 3 4", "5 6 7 8 0.5", f"9 9 9 9 {SEEN} 0.5", "3 3 0 4", "1 2 3", "1 2 3 4 5 6 7", "a b c d",
            "1e2 3 4 5", "1.e2 3 4 5", "0x1 2 3 4", "nan 2 3 4", "1 2 3 1e400", "1_0 2 3 4", "\u0661 2 3 4", "0 0 0 0",
            "#", "# e/b", "# e/a.jpg", "e/c.jpg", "# e/d.jpg", "9 9 9 9 " + SEEN.replace("1.0", "7") + " 1", "1,2,3,4",
            '"1" 2 3 4']


@pytest.mark.parametrize("fmt", ["label", "label_v2"])
def test_rows_that_are_read_at_once_are_as_those_that_are_read_one_by_one(write, monkeypatch, fmt):
    from src.annotations import rows, wider
    rng = np.random.default_rng(0)
    headers = ["# e/{}.jpg", "# e/{}.jpg 640 480"]
    for number in range(150):
        lines = []
        for image in range(int(rng.integers(1, 8))):
            lines.append(headers[fmt == "label_v2"].format(image if rng.random() < 0.95 else "twice"))
            row = ODD_ROWS[int(rng.integers(3))] if fmt == "label" else ("5 6 70 80", f"9 9 99 99 {SEEN}")[number % 2]
            lines += [row if rng.random() < 0.97 else str(rng.choice(ODD_ROWS))] * int(rng.integers(4))
        path = write("\n".join(lines) + "\n")
        found = []
        for chunk, pending, table in ((1 << 13, 1 << 15, wider._table), (3, 2, wider._table), (1 << 13, 1 << 15, None)):
            with monkeypatch.context() as patch:
                patch.setattr(wider, "CHUNK", chunk)
                patch.setattr(rows, "PENDING", pending)
                patch.setattr(wider, "_table", table or (lambda *args: None))
                found.append(wider._headed(path, (4, 5, 20) if fmt == "label" else (4, 19), fmt == "label_v2"))
        for other in found[:2]:
            same(other, found[2])
            assert other.problems == found[2].problems
            assert [other.lines(index) for index in range(len(other))] == [
                found[2].lines(index) for index in range(len(other))]


# ---- round trips -------------------------------------------------------------------------------------------

number = st.floats(0, 3000, width=32)
extent = st.floats(1.125, 1000, width=32)


@st.composite
def a_record(draw, index):
    count = draw(st.integers(0, 3))
    low = np.array(draw(st.lists(st.tuples(number, number), min_size=count, max_size=count)), np.float32)
    size = np.array(draw(st.lists(st.tuples(extent, extent), min_size=count, max_size=count)), np.float32)
    boxes = np.concatenate([low.reshape(-1, 2), low.reshape(-1, 2) + size.reshape(-1, 2)], axis=1)
    seen = np.array(draw(st.lists(st.lists(st.sampled_from([0, 1, 2]), min_size=5, max_size=5),
                                  min_size=count, max_size=count)), np.uint8).reshape(count, 5)
    points = np.array(draw(st.lists(st.lists(st.floats(-50, 3000, width=32), min_size=10, max_size=10),
                                    min_size=count, max_size=count)), np.float32).reshape(count, 5, 2)
    # A point at 0, 0 or -1, -1 is none.
    points = np.where(np.isin(points, (0, -1)), 7, points) * (seen > 0)[..., None]
    return Record(f"e/{index}.jpg", boxes, points, seen, np.zeros(count, bool), 4000, 3000)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 3).flatmap(lambda count: st.tuples(*(a_record(index) for index in range(count)))))
def test_label_to_json_to_label(tmp_path_factory, records):
    folder = tmp_path_factory.getbasetemp()
    write_label_txt(folder / "r.txt", records)
    from_label = read_annotations(folder / "r.txt", "label")
    same(from_label, records, sizes=False)
    write_coco(folder / "r.json", records)
    from_json = read_annotations(folder / "r.json")
    same(from_json, records)
    write_label_txt(folder / "again.txt", from_json)
    assert (folder / "again.txt").read_bytes() == (folder / "r.txt").read_bytes()


def test_real_labels_round_trip(shared_data, tmp_path):
    records = read_annotations(shared_data / "wider/train/label.txt", on_problem="collect",
                               image_dir=shared_data / "wider/train/images")
    write_coco(tmp_path / "t.json", records)
    same(read_coco(tmp_path / "t.json"), records)
    write_label_txt(tmp_path / "t.txt", records)
    same(read_annotations(tmp_path / "t.txt"), records, sizes=False)


def test_faces_that_the_format_cannot_hold_are_not_written(write, tmp_path):
    (ignored,) = read_annotations(write("e/a.jpg\n1\n5 6 7 8 2 0 0 1 2 0\n"))
    empty = Record("e/a.jpg", np.array([[1, 2, 1, 4]], np.float32), np.zeros((1, 5, 2), np.float32),
                   np.zeros((1, 5), np.uint8), np.zeros(1, bool))
    for name, record in (("out.txt", ignored), ("out.txt", empty), ("out.xml", ignored)):
        with pytest.raises(InputError, match=r"e/a.jpg|out.xml"):
            write_records(tmp_path / name, [record])
        assert not (tmp_path / name).exists()


# ---- images ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_and_text_in_any_unicode(write, encoding):
    content = {"images": [{"id": 1, "file_name": "e/ä.jpg"}],
               "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40]}]}
    texts = ["\r\n" + json.dumps(content, ensure_ascii=False)]
    if encoding in ("utf-8", "utf-8-sig", "utf-16"):
        texts += ["# e/ä.jpg\r\n1 2 30 40\r\n"]
    for text in texts:
        (record,) = read_annotations(write(text.encode(encoding), "a"))
        assert (record.path, record.boxes.tolist()) == ("e/ä.jpg", [[1, 2, 31, 42]])


def test_sizes_come_from_the_images(write, images):
    path = write("# e/one.jpg\n1 2 3 4\n")
    (record,) = read_annotations(path, image_dir=images)
    assert (record.height, record.width) == (60, 80)
    known = Annotations([Record(**{**vars(record), "height": 7, "width": 9})])
    with pytest.raises(InputError, match="e/one.jpg.*9 x 7"):
        fill_sizes(known, images)
    with pytest.raises(InputError):
        read_annotations(write("# e/three.jpg\n"), image_dir=images)


# ---- any bytes ---------------------------------------------------------------------------------------------

line = st.one_of(
    st.sampled_from(["# e/a.jpg", "# e/a.jpg 10 20", "#", "e/a.jpg", "1", "0", "-1", "1 2 3 4", "0 0 0 0",
                     "1 2 3 4 0 0 0 1 0 0", row("1 2 3 4", SEEN), row("nan 2 1e999 4"), "# \0.jpg",
                     "1 2 -3 4"]),
    st.text(max_size=12))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.binary(max_size=80),
                 st.lists(line, max_size=8).map(lambda lines: "\n".join(lines).encode())),
       st.sampled_from([None, "label", "label_v2", "bbx_gt", "coco"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, fmt):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    try:
        records = read_annotations(path, fmt, on_problem="collect")
    except InputError as error:
        assert "any.txt" in str(error)
        return
    assert all(np.isfinite(record.boxes).all() and (record.boxes[:, 2:] > record.boxes[:, :2]).all()
               for record in records)
    mended, repairs = repair(records, path.parent)
    assert len(mended) == 0 and len(repairs) >= len(records), "no image exists there"
    if records.problems:
        with pytest.raises(InputError, match="any.txt"):
            read_annotations(path, fmt)


# tests/dependency/test_mat_file.py varies the bytes of a .mat; here its content is varied.

MAT = {"event_list": ["e"], "file_list": [["a", "b"]], "invalid_label_list": [[np.array([[0]]), np.array([[1], [0]])]],
       "face_bbx_list": [[np.array([[1, 2, 3, 4]]), np.array([[5, 6, 7, 8], [1, 1, 2, 2]])]]}


def write_mat(path, **changes):
    content = {**MAT, **changes}
    savemat(path, {name: cells(value) for name, value in content.items() if value is not None})
    return path


def test_mat_of_ones_own(tmp_path):
    records = read_annotations(write_mat(tmp_path / "own.mat"))
    assert [(record.path, record.ignore.tolist()) for record in records] == [
        ("e/a.jpg", [False]), ("e/b.jpg", [True, False])]
    records = read_annotations(write_mat(tmp_path / "own.mat", invalid_label_list=None))
    assert not any(record.ignore.any() for record in records)


@pytest.mark.parametrize("name, values", [
    ("event_list", (None, np.zeros((2, 2)), np.array(["text"]), ["e", "f"])),
    ("file_list", (None, [[np.zeros((0, 0))]])),
    ("face_bbx_list", (None, np.zeros((1, 1)), [[np.zeros((1, 3)), np.zeros((2, 3))]], [[np.zeros((1, 4))]],
                       [["x", "y"]])),
    ("invalid_label_list", ([[np.zeros((7, 1))]],))])
def test_mat_laid_out_otherwise_is_named(tmp_path, name, values):
    for value in values:
        with pytest.raises(InputError, match="own.mat"):
            read_annotations(write_mat(tmp_path / "own.mat", **{name: value}), on_problem="collect")
