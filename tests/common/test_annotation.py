# SPDX-License-Identifier: Apache-2.0
"""Annotation files: formats read back what was meant, bad rows are found at their line and repaired."""
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, read_coco, write_coco
from dependency.centernet.src.lib.datasets.dataset.faults import KINDS
from dependency.centernet.src.lib.utils.image import read_image
from dependency.errors import InputError
from src.common.annotation import (
    FORMATS, Annotations, fill_sizes, image_size, merge, read_annotations, repair, validate, write_label_txt,
    write_records)

NONE = " ".join(["-1.0"] * 15)
SEEN = "12 25 0.0 18 25.5 1.0 15 30 0.0 13 34 0.0 17 34 0.0"
LABEL = f"""# e/one.jpg
10 20 30 40 {SEEN} 0.7
1 2 3 4 {NONE} 0.1
# e/none.jpg
# e/two.jpg
5 6 7 8
5.5 6 7 8 0.3
"""


@pytest.fixture
def write(tmp_path):
    def _write(content, name="label.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path
    return _write


@pytest.fixture
def images(tmp_path):
    """A folder with e/one.jpg and e/two.jpg, 80 wide and 60 high."""
    for name in ("one", "two"):
        (tmp_path / "e").mkdir(exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
        assert cv2.imwrite(str(tmp_path / f"e/{name}.jpg"), pixels)
    return tmp_path


def same(left, right, sizes=True):
    assert [item.path for item in left] == [item.path for item in right]
    for one, other in zip(left, right):
        for name in ("boxes", "landmarks", "visibility", "ignore"):
            first, second = getattr(one, name), getattr(other, name)
            assert first.dtype == second.dtype and first.shape == second.shape, name
            np.testing.assert_array_equal(first, second)
        if sizes:
            assert (one.height, one.width) == (other.height, other.width)


# ---- reading -----------------------------------------------------------------------------------------------

def test_label_txt(write):
    records = read_annotations(write(LABEL))
    assert [(record.path, len(record.boxes)) for record in records] == [("e/one.jpg", 2), ("e/none.jpg", 0),
                                                                        ("e/two.jpg", 2)]
    one, none, two = records
    assert one.boxes.tolist() == [[10, 20, 40, 60], [1, 2, 4, 6]] and one.boxes.dtype == np.float32
    assert one.visibility.tolist() == [[2, 1, 2, 2, 2], [0] * 5]
    assert one.landmarks[0].tolist() == [[12, 25], [18, 25.5], [15, 30], [13, 34], [17, 34]]
    assert not one.landmarks[1].any(), "a point that is not labelled has no place"
    assert none.boxes.shape == (0, 4) and none.landmarks.shape == (0, 5, 2)
    assert two.boxes.tolist() == [[5, 6, 12, 14], [5.5, 6, 12.5, 14]] and not two.visibility.any()
    assert records.lines[0].faces == [2, 3] and records.lines[2].image == 5 and not records.problems


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


def test_names_outside_ascii_and_with_spaces(write):
    (record,) = read_annotations(write("# e/人 脸 1 2.jpg\n1 2 3 4\n"))
    assert record.path == "e/人 脸 1 2.jpg"
    with pytest.raises(InputError, match=r"label.txt:2: not utf-8"):
        read_annotations(write("# e/a.jpg\n# e/人.jpg\n".encode("gb18030")))


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
        assert image_size(shared_data / "wider/val/images" / record.path) == (record.height, record.width)


def test_real_train_labels_and_their_bad_row(shared_data):
    path = shared_data / "wider/train/label.txt"
    with pytest.raises(InputError) as error:
        read_annotations(path)
    place = f"{path}:1090: 7--Cheering/7_Cheering_Cheering_7_17.jpg: "
    assert f"{place}box of width -11, height 5" in str(error.value)
    records = read_annotations(path, on_problem="collect")
    assert (len(records), sum(len(record.boxes) for record in records)) == (353, 2379)
    assert sum(record.visibility.any(axis=1).sum() for record in records) == 55
    found = validate(path, shared_data / "wider/train/images", check_images=False)
    assert [(problem.line, problem.kind) for problem in found] == [(915, "duplicate"), (1090, "size")]


def test_broken_mat_is_named(write, shared_data):
    data = (shared_data / "wider/annotations/wider_face_val.mat").read_bytes()
    for content in (data[:2000], data[:130] + bytes(500), data[:128]):
        with pytest.raises(InputError, match="cut.mat"):
            read_annotations(write(content, "cut.mat"))


def test_format_is_found_out_or_named(write, tmp_path):
    for content in ("", "hello\n", "1 2 3 4\n", b"\x00\x01\x02\xff"):
        with pytest.raises(InputError, match="label.txt"):
            read_annotations(write(content))
    with pytest.raises(InputError, match="annotation format 'voc'; expected one of label"):
        read_annotations(write(LABEL), "voc")
    with pytest.raises(InputError, match="on_problem"):
        read_annotations(write(LABEL), on_problem="ignore")
    with pytest.raises(FileNotFoundError, match="absent.txt"):
        read_annotations(tmp_path / "absent.txt")


# ---- round trips -------------------------------------------------------------------------------------------

number = st.floats(0, 3000, width=32)
extent = st.floats(0.25, 1000, width=32)


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
    points *= (seen > 0)[..., None]
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
    wanted = (shared_data / "wider/train/label.txt").read_text().splitlines()
    del wanted[1090 - 1]

    def columns(lines):
        return [[float(word) for word in line.split()[:-1]] for line in lines if line[0] != "#"]
    assert columns((tmp_path / "t.txt").read_text().splitlines()) == columns(wanted), "all but the quality"


def test_ignored_faces_do_not_turn_into_faces(write, tmp_path):
    records = read_annotations(write("e/a.jpg\n1\n5 6 7 8 2 0 0 1 2 0\n"))
    with pytest.raises(InputError, match="e/a.jpg: 1 faces to ignore, which label.txt cannot say"):
        write_label_txt(tmp_path / "out.txt", records)
    assert not (tmp_path / "out.txt").exists()


def test_degenerate_faces_are_not_written(tmp_path):
    bad = Record("e/a.jpg", np.array([[1, 2, 1, 4]], np.float32), np.zeros((1, 5, 2), np.float32),
                 np.zeros((1, 5), np.uint8), np.zeros(1, bool))
    with pytest.raises(InputError, match="e/a.jpg: box of width 0"):
        write_label_txt(tmp_path / "out.txt", [bad])
    with pytest.raises(InputError, match="out.xml: expected a name that ends in .json"):
        write_records(tmp_path / "out.xml", [])


# ---- images ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp", "tiff", "ppm"])
@pytest.mark.parametrize("orientation", [None, 1, 3, 6])
def test_image_size_is_that_of_the_array_training_reads(tmp_path, suffix, orientation):
    path = tmp_path / f"Ünï {suffix}.{suffix}"
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path, exif=exif)
    assert image_size(path) == read_image(path).shape[:2]
    assert image_size(str(path)) == image_size(path)


def test_image_size_names_what_it_cannot_read(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for name, text in (("text.jpg", "not an image"), ("empty.jpg", "not an image"),
                       ("no.jpg", "no such image"), ("", "no such image")):
        with pytest.raises(InputError, match=text) as error:
            image_size(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)


def test_sizes_come_from_the_images(write, images):
    path = write("# e/one.jpg\n1 2 3 4\n")
    (record,) = read_annotations(path, image_dir=images)
    assert (record.height, record.width) == (60, 80)
    known = Annotations([Record(**{**vars(record), "height": 7, "width": 9})])
    assert fill_sizes(known, images)[0].height == 7, "what is known stays"
    with pytest.raises(InputError, match="no such image"):
        read_annotations(write("# e/three.jpg\n"), image_dir=images)


# ---- problems ----------------------------------------------------------------------------------------------

def row(box, points=NONE):
    return f"{box} {points} 0.5"


BAD_ROWS = [
    ("syntax", "1 2 3", "3 columns"),
    ("syntax", "1 2 3 4 5 6", "6 columns"),
    ("syntax", row("1 2 3 4") + " 9", "21 columns"),
    ("syntax", "1 2 three 4", "expected numbers"),
    ("syntax", row("1 2 3 4", SEEN.replace("1.0", "0.5")), "landmark flag 0.5"),
    ("number", "1 2 nan 4", "nan is not"),
    ("number", "1 inf 3 4", "inf is not"),
    ("number", "1e300 2 3 4", "inf is not"),
    ("number", row("10 20 30 40", SEEN.replace("25.5", "nan")), "nan is not"),
    ("size", "1 2 0 4", "width 0, height 4"),
    ("size", "0 5 -11 5", "width -11, height 5"),
    ("size", "1e9 2 1 4", "width 0"),
    ("size", "0 0 0 0", "width 0, height 0"),
]


@pytest.mark.parametrize("kind, bad, text", BAD_ROWS)
def test_bad_row_is_found_at_its_line(write, kind, bad, text):
    path = write(f"# e/one.jpg\n10 20 30 40\n\n{bad}\n11 21 30 40\n# e/two.jpg\n1 2 3 4\n")
    with pytest.raises(InputError) as error:
        read_annotations(path)
    assert f"{path}:4: e/one.jpg: " in str(error.value) and text in str(error.value)
    assert f"--annotation {path} --repair" in str(error.value)
    records = read_annotations(path, on_problem="collect")
    (problem,) = records.problems
    assert (problem.line, problem.kind, problem.image) == (4, kind, "e/one.jpg") and text in problem.text
    assert [len(record.boxes) for record in records] == [2, 1] and records.lines[0].faces == [2, 5]
    assert validate(path) == [problem] == validate(records)
    mended, repairs = repair(records)
    same(mended, records)
    assert [(item.problem, item.action) for item in repairs] == [(problem, "dropped")]
    assert validate(mended) == []


CHECKED = [
    ("outside", "70 10 20 20", "box from 70, 10 to 90, 30 in an image of 80 x 60", "clipped"),
    ("outside", "-5 10 20 20", "box from -5, 10", "clipped"),
    ("outside", "79.5 10 20 20", "box from 79.5", "dropped"),
    ("outside", "100 10 20 20", "box from 100", "dropped"),
    ("landmark", row("50 20 6 6", SEEN), "landmark (12, 25), (18, 25.5)", "landmarks cleared"),
    ("duplicate", "10 20 30 40", "box 10 20 30 40 is in this image before", "dropped"),
]


@pytest.mark.parametrize("kind, bad, text, action", CHECKED)
def test_doubtful_face_is_found_at_its_line_and_repaired(write, images, kind, bad, text, action):
    path = write(f"# e/one.jpg\n10 20 30 40\n{bad}\n# e/two.jpg\n1 2 3 4\n")
    read_annotations(path)
    (problem,) = validate(path, images)
    assert (problem.file, problem.line, problem.kind, problem.image) == (str(path), 3, kind, "e/one.jpg")
    assert problem.text.startswith(text)
    mended, ((found, done),) = repair(read_annotations(path), images)
    assert (found, done) == (problem, action)
    assert validate(mended, images) == []
    assert len(mended[0].boxes) == (1 if action == "dropped" else 2) and len(mended[1].boxes) == 1
    if action == "clipped":
        assert mended[0].boxes[1].tolist() in ([70, 10, 80, 30], [0, 10, 15, 30])
    assert not mended[0].visibility.any()


def test_landmarks_a_little_outside_are_no_problem(write):
    assert validate(write(f"# e/one.jpg\n{row('12 24 6 10', SEEN.replace('12 25', '10.6 25'))}\n")) == []


def test_duplicate_keeps_the_landmarks_of_the_first(write, images):
    path = write(f"# e/one.jpg\n{row('10 20 30 40', SEEN)}\n10 20 30 40\n")
    mended, _ = repair(read_annotations(path), images)
    assert mended[0].visibility.tolist() == [[2, 1, 2, 2, 2]]


def test_image_problems(write, images):
    whole = (images / "e/one.jpg").read_bytes()
    (images / "e/cut.jpg").write_bytes(whole[:len(whole) // 2])
    (images / "e/text.jpg").write_text("no image")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(images / "e/turned.jpg", exif=exif)
    path = write("# e/one.jpg\n1 2 3 4\n# e/gone.jpg\n1 2 3 4\n# e/cut.jpg\n1 2 3 4\n# e/text.jpg\n1 2 3 4\n"
                 "# e/turned.jpg\n1 2 3 4\n# e/one.jpg\n1 2 3 4\n9 9 9 9\n")
    assert [(problem.line, problem.kind) for problem in validate(path, images)] == [
        (3, "image_missing"), (5, "image_unreadable"), (7, "image_unreadable"), (9, "image_turned"),
        (11, "image_twice")]
    assert "line 1" in validate(path, images)[-1].text
    assert (5, "image_unreadable") not in [(problem.line, problem.kind)
                                           for problem in validate(path, images, check_images=False)]
    mended, repairs = repair(read_annotations(path), images, check_images=True)
    assert [item.action for item in repairs] == ["image left out"] * 3 + [
        "kept as it is", "faces joined to the first"]
    assert [(record.path, len(record.boxes)) for record in mended] == [("e/one.jpg", 2), ("e/turned.jpg", 1)]
    assert all((record.height, record.width) == (60, 80) for record in mended)


def test_annotated_size_that_is_not_the_files(write, images):
    path = write("# e/one.jpg 60 80\n1 2 3 4\n")
    (problem,) = validate(path, images)
    assert (problem.line, problem.kind, problem.text) == (1, "image_size",
                                                          "annotated as 60 x 80, the file is 80 x 60")
    mended, _ = repair(read_annotations(path), images)
    assert (mended[0].height, mended[0].width) == (60, 80)


def test_counts_that_do_not_fit(write):
    path = write("e/a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n"
                 "e/b.jpg\n1\n1 2 3 4 0 0 0 0 0 0\n5 2 3 4 0 0 0 0 0 0\ne/c.jpg\n")
    assert [(problem.line, problem.kind, problem.image) for problem in validate(path)] == [
        (1, "count", "e/a.jpg"), (4, "count", "e/b.jpg"), (8, "count", "e/c.jpg")]
    with pytest.raises(InputError, match="count is 2, but 1 rows follow"):
        read_annotations(path)
    mended, repairs = repair(read_annotations(path, on_problem="collect"))
    assert [len(record.boxes) for record in mended] == [1, 2, 0]
    assert {item.action for item in repairs} == {"rows kept"}


def test_rows_without_an_image_do_not_go_to_the_image_before(write):
    path = write("# e/one.jpg\n1 2 3 4\n#\n5 6 7 8\n# e/two.jpg\n")
    records = read_annotations(path, on_problem="collect")
    assert [len(record.boxes) for record in records] == [1, 0]
    assert [(problem.line, problem.kind) for problem in records.problems] == [(3, "syntax")]
    start = read_annotations(write("1 2 3 4\n# e/one.jpg\n"), "label", on_problem="collect")
    assert [(problem.line, problem.kind) for problem in start.problems] == [(1, "syntax")]


def test_records_from_memory_are_checked_too():
    boxes = np.array([[0, 0, 5, 5], [5, 5, 4, 9], [0, 0, 5, 5], [0, np.nan, 5, 5]], np.float32)
    record = Record("a.jpg", boxes, np.zeros((4, 5, 2), np.float32), np.zeros((4, 5), np.uint8),
                    np.zeros(4, bool))
    problems = validate([record])
    assert sorted(problem.kind for problem in problems) == ["duplicate", "number", "size"]
    assert all(problem.line == 0 for problem in problems)
    assert any(problem.text.startswith("face 2: box of width -1") for problem in problems)
    mended, repairs = repair([record])
    assert mended[0].boxes.tolist() == [[0, 0, 5, 5]] and len(repairs) == 3


def test_every_kind_has_a_meaning_and_a_test(write, images):
    tested = {kind for kind, *_ in BAD_ROWS + CHECKED} | {
        "image_missing", "image_unreadable", "image_turned", "image_twice", "image_size", "count"}
    assert tested == set(KINDS)
    page = (Path(__file__).resolve().parents[2] / "docs/formats.md").read_text(encoding="utf-8")
    assert all(f"`{kind}`" in page for kind in KINDS), "docs/formats.md lists the kinds"


def test_merge_brings_landmarks_and_flags_together(write):
    label = read_annotations(write(f"# e/a.jpg\n1 2 3 4\n{row('10 20 30 40', SEEN)}\n# e/b.jpg\n1 2 3 4\n"))
    flags = read_annotations(write("e/a.jpg\n3\n10 20 30 40 0 0 0 1 0 0\n1 2 3 4 0 0 0 0 0 0\n"
                                   "7 7 7 7 0 0 0 0 0 0\n"))
    for order in ([label, flags], [flags, label]):
        united = {record.path: record for record in merge(order)}
        assert set(united) == {"e/a.jpg", "e/b.jpg"} and len(united["e/a.jpg"].boxes) == 3
        both = united["e/a.jpg"]
        faces = {tuple(box): (bool(seen.any()), bool(ignore))
                 for box, seen, ignore in zip(both.boxes.tolist(), both.visibility, both.ignore)}
        assert faces == {(1, 2, 4, 6): (False, False), (10, 20, 40, 60): (True, True),
                         (7, 7, 14, 14): (False, False)}
    assert not label[0].ignore.any() and not flags[0].visibility.any(), "the sources stay as they were"


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


# Bytes of a .mat are not varied: scipy's compiled reader itself can crash on them. Its content is.

def cells(*values):
    column = np.empty((len(values), 1), object)
    for index, value in enumerate(values):
        column[index, 0] = value
    return column


MAT = {"event_list": cells(np.array(["e"])), "file_list": cells(cells(np.array(["a"]), np.array(["b"]))),
       "face_bbx_list": cells(cells(np.array([[1, 2, 3, 4]]), np.array([[5, 6, 7, 8], [1, 1, 2, 2]]))),
       "invalid_label_list": cells(cells(np.array([[0]]), np.array([[1], [0]])))}


def test_mat_of_ones_own(tmp_path):
    savemat(tmp_path / "own.mat", MAT)
    records = read_annotations(tmp_path / "own.mat")
    assert [(record.path, record.ignore.tolist()) for record in records] == [
        ("e/a.jpg", [False]), ("e/b.jpg", [True, False])]
    savemat(tmp_path / "own.mat", {name: MAT[name] for name in MAT if name != "invalid_label_list"})
    assert not any(record.ignore.any() for record in read_annotations(tmp_path / "own.mat"))


@pytest.mark.parametrize("changes", [
    {"event_list": None}, {"file_list": None}, {"face_bbx_list": None}, {"event_list": np.zeros((2, 2))},
    {"event_list": np.array(["text"])}, {"event_list": cells(np.array(["e"]), np.array(["f"]))},
    {"face_bbx_list": cells(cells(np.zeros((1, 3)), np.zeros((2, 3))))}, {"face_bbx_list": np.zeros((1, 1))},
    {"face_bbx_list": cells(cells(np.zeros((1, 4))))}, {"invalid_label_list": cells(cells(np.zeros((7, 1))))},
    {"file_list": cells(cells(np.zeros((0, 0))))},
    {"face_bbx_list": cells(cells(np.array(["x"]), np.array(["y"])))},
])
def test_mat_laid_out_otherwise_is_named(tmp_path, changes):
    content = {name: value for name, value in {**MAT, **changes}.items() if value is not None}
    savemat(tmp_path / "own.mat", content)
    with pytest.raises(InputError, match="own.mat: not laid out like wider_face_train.mat"):
        read_annotations(tmp_path / "own.mat", on_problem="collect")


def test_no_format_is_forgotten():
    assert set(FORMATS) == {"label", "label_v2", "bbx_gt", "mat", "coco", "fddb"}
