# SPDX-License-Identifier: Apache-2.0
"""Bad annotations are found at their line, and repaired."""
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import KINDS
from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.errors import InputError
from src.annotations.formats import parse
from src.annotations.read_write import merge, read_annotations, repair, validate
from src.common.log import LOGGER
from tests.annotations.annotation_files import SEEN, row, same

BAD_ROWS = [
    ("syntax", "1 2 3"),
    ("syntax", "1 2 3 4 5 6"),
    ("syntax", row("1 2 3 4") + " 9"),
    ("syntax", "1 2 three 4"),
    ("syntax", row("1 2 3 4", SEEN.replace("1.0", "0.5"))),
    ("number", "1 2 nan 4"),
    ("number", "1 inf 3 4"),
    ("number", "1e300 2 3 4"),
    ("number", row("10 20 30 40", SEEN.replace("25.5", "nan"))),
    ("size", "1 2 0 4"),
    ("below_pixel", "1 2 3 0.5"),
    ("size", "0 5 -11 5"),
    ("size", "1e9 2 1 4"),
    ("size", "0 0 0 0"),
]


@pytest.mark.parametrize("kind, bad", BAD_ROWS)
def test_bad_row_is_found_at_its_line(write, kind, bad):
    path = write(f"# e/one.jpg\n10 20 30 40\n\n{bad}\n11 21 30 40\n# e/two.jpg\n1 2 3 4\n")
    with pytest.raises(InputError) as error:
        read_annotations(path)
    assert f"{path}:4: e/one.jpg: " in str(error.value)
    records = read_annotations(path, on_problem="collect")
    (problem,) = records.problems
    assert (problem.line, problem.kind, problem.image) == (4, kind, "e/one.jpg")
    assert [len(record.boxes) for record in records] == [2, 1] and records.lines(0).faces == [2, 5]
    assert validate(path) == [problem] == validate(records)
    records_after, repairs = repair(records)
    same(records_after, records)
    assert [(item.problem, item.action) for item in repairs] == [(problem, "dropped")]
    assert validate(records_after) == []


CHECKED = [
    ("outside", "70 10 20 20", "clipped"),
    ("outside", "-5 10 20 20", "clipped"),
    ("outside", "79.5 10 20 20", "dropped"),
    ("outside", "100 10 20 20", "dropped"),
    ("landmark", row("50 20 6 6", SEEN), "landmarks cleared"),
    ("duplicate", "10 20 30 40", "dropped"),
]


@pytest.mark.parametrize("kind, bad, action", CHECKED)
def test_doubtful_face_is_found_at_its_line_and_repaired(write, images, kind, bad, action):
    path = write(f"# e/one.jpg\n10 20 30 40\n{bad}\n# e/two.jpg\n1 2 3 4\n")
    read_annotations(path)
    (problem,) = validate(path, images)
    assert (problem.file, problem.line, problem.kind, problem.image) == (str(path), 3, kind, "e/one.jpg")
    records_after, ((repaired, done),) = repair(read_annotations(path), images)
    assert (repaired, done) == (problem, action)
    assert validate(records_after, images) == []
    assert len(records_after[0].boxes) == (1 if action == "dropped" else 2) and len(records_after[1].boxes) == 1
    if action == "clipped":
        assert records_after[0].boxes[1].tolist() in ([70, 10, 80, 30], [0, 10, 15, 30])
    assert not records_after[0].visibility.any()


def test_duplicate_keeps_the_landmarks_of_the_first(write, images):
    path = write(f"# e/one.jpg\n{row('10 20 30 40', SEEN)}\n10 20 30 40\n")
    records_after, _ = repair(read_annotations(path), images)
    assert records_after[0].visibility.tolist() == [[2, 1, 2, 2, 2]]


def test_image_problems(write, images):
    whole = (images / "e/one.jpg").read_bytes()
    (images / "e/cut.jpg").write_bytes(whole[:len(whole) // 2])
    (images / "e/text.jpg").write_text("no image")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(images / "e/turned.jpg", exif=exif)
    path = write("# e/one.jpg\n1 2 3 4\n# e/gone.jpg\n1 2 3 4\n# e/cut.jpg\n1 2 3 4\n# e/text.jpg\n1 2 3 4\n"
                 "# e/turned.jpg\n1 2 3 4\n")
    assert [(problem.line, problem.kind) for problem in validate(path, images)] == [
        (3, "image_missing"), (5, "image_unreadable"), (7, "image_unreadable"), (9, "image_orientation")]
    assert (5, "image_unreadable") not in [(problem.line, problem.kind)
                                           for problem in validate(path, images, check_images=False)]
    records_after, repairs = repair(read_annotations(path), images, check_images=True, exif="shown")
    assert [item.action for item in repairs] == ["image left out"] * 3 + ["boxes turned"]
    assert [(record.path, len(record.boxes)) for record in records_after] == [("e/one.jpg", 1), ("e/turned.jpg", 1)]
    assert all((record.height, record.width) == (60, 80) for record in records_after)


def test_annotated_size_that_is_not_the_files(write, images):
    path = write("# e/one.jpg 160 120\n1 2 5 8\n# e/two.jpg 60 80\n1 2 3 4\n")
    assert [(problem.line, problem.kind) for problem in validate(path, images)] == [(1, "image_size"),
                                                                                   (3, "image_shape")]
    (record,), _ = repair(read_annotations(path), images)
    assert (record.height, record.width, record.boxes.tolist()) == (60, 80, [[0.5, 1, 2.5, 4]])


def test_counts_that_do_not_fit(write):
    path = write("e/a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\ne/b.jpg\n1 2 3 4\n5 2 3 4\ne/c.jpg\n")
    assert [(problem.line, problem.kind, problem.image) for problem in validate(path)] == [
        (1, "count", "e/a.jpg"), (4, "count", "e/b.jpg"), (7, "count", "e/c.jpg")]
    with pytest.raises(InputError, match="count"):
        read_annotations(path)
    records_after, repairs = repair(read_annotations(path, on_problem="collect"))
    assert [len(record.boxes) for record in records_after] == [1, 2, 0]
    assert {item.action for item in repairs} == {"rows kept"}


NO_IMAGE = [    # format, a file with a line that may name an image and is not understood, that line, faces of e/one.jpg
    ("label", "# e/one.jpg\n1 2 3 4\n#\n5 6 7 8\n# e/two.jpg\n", 3, 1),
    ("label", "# e/one.jpg\n1 2 3 4\ne/two.jpg\n5 6 7 8\n", 3, 1),
    ("label", "# e/one.jpg\n1 2 3 4\ntwo\n5 6 7 8\n", 3, 1),
    ("label", "# e/one.jpg\n1 2 3 4 # e/two.jpg\n5 6 7 8\n", 2, 0),
    ("label", "# e/one.jpg\n1 2 3 4\n# 5 6 7 8\n9 9 9 9\n", 3, 1),
    ("label", "# e/one.jpg\n1 2 3 4\n# e/two.jpg 80 60\n5 6 7 8\n", 3, 1),
    ("label", "# e/one.jpg\n1,2,3,4\n", 2, 0),
    ("label", "1 2 3 4\n# e/one.jpg\n", 1, 0),
    ("label_v2", "# e/one.jpg 80 60\n1 2 3 4\n# e/two.jpg\n5 6 7 8\n", 3, 1),
    ("label_v2", "# e/one.jpg 80 60\n1 2 3 4\n# e/two.xyz 80 60\n5 6 7 8\n", 3, 1),
    ("bbx_gt", "e/one.jpg\n1\n1 2 3 4\n1\n5 6 7 8\n", 4, 1),
    ("bbx_gt", "e/one.jpg\n1\n1 2 3 4\n5 6 7 8\n", 4, 1),
    ("bbx_gt", "e/one.jpg\n1\n1 2 3 4\ntwo\n1\n5 6 7 8\n", 4, 1),
    ("bbx_gt", "e/one.jpg\n1\n1 2 3 4e/two.jpg\n1\n5 6 7 8\n", 3, 0),
    ("bbx_gt", "1\n1 2 3 4\ne/one.jpg\n0\n", 1, 0),
]


@pytest.mark.parametrize("fmt, content, line, faces", NO_IMAGE)
def test_faces_of_no_image_do_not_go_to_the_image_before(write, fmt, content, line, faces):
    path = write(content)
    annotations = parse(path, fmt)
    assert [(problem.line, problem.kind) for problem in annotations.problems if problem.kind != "count"] == [
        (line, "image")]
    assert {record.path: len(record.boxes) for record in annotations}.get("e/one.jpg") == faces
    for mode in ("raise", "collect"):
        with pytest.raises(InputError, match=f"label.txt:{line}: "):
            read_annotations(path, fmt, on_problem=mode)


@pytest.mark.parametrize("fmt, content, line", [
    ("label", "# e/one.jpg\n1 2 3 4\n# e/two.jpg\n5 6 7 8\n9 9 9 9\n# e//one.jpg\n5 6 7 8\n", 6),
    ("label_v2", "# e/one.jpg 80 60\n1 2 3 4\n5 6 7 8\n# e/one.jpg 80 60\n1 2 5 5\n", 4),
    ("bbx_gt", "e/one.jpg\n2\n1 2 3 4\n5 5 5 5\ne/one.jpg\n1\n5 6 7 8\n", 5)])
def test_an_image_annotated_in_two_places_is_refused(write, fmt, content, line):
    path = write(content)
    assert [(problem.line, problem.kind) for problem in parse(path, fmt).problems] == [(line, "image_twice")]
    with pytest.raises(InputError, match=f"label.txt:{line}: e/one.jpg: "):
        read_annotations(path, fmt, on_problem="collect")


@pytest.mark.parametrize("fmt, content", [
    ("label", "# e/one.jpg\n1 2 3 4\n# e/two.jpg\n1 2 3 4\n# e\\one.jpg\n5 6 7 8\n"),
    ("label_v2", "# e/one.jpg 80 60\n1 2 4 6\n# e/two.jpg 80 60\n1 2 4 6\n# e/./one.jpg 80 60\n5 6 12 14\n"),
    ("bbx_gt", "e/one.jpg\n1\n1 2 3 4\ne/two.jpg\n1\n1 2 3 4\ne//one.jpg\n1\n5 6 7 8\n")])
def test_the_name_repeated_for_each_face_is_one_image(write, fmt, content, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    one, two = read_annotations(write(content), fmt)
    assert (one.path, one.boxes.tolist()) == ("e/one.jpg", [[1, 2, 4, 6], [5, 6, 12, 14]])
    assert (two.path, two.boxes.tolist()) == ("e/two.jpg", [[1, 2, 4, 6]])
    assert len(caplog.records) == 1


def test_records_from_memory_are_checked_too():
    boxes = np.array([[0, 0, 5, 5], [5, 5, 4, 9], [0, 0, 5, 5], [0, np.nan, 5, 5]], np.float32)
    record = Record("a.jpg", boxes, np.zeros((4, 5, 2), np.float32), np.zeros((4, 5), np.uint8),
                    np.zeros(4, bool))
    problems = validate([record])
    assert sorted(problem.kind for problem in problems) == ["duplicate", "number", "size"]
    assert all(problem.line == 0 for problem in problems)
    records_after, repairs = repair([record])
    assert records_after[0].boxes.tolist() == [[0, 0, 5, 5]] and len(repairs) == 3


def test_every_kind_has_a_meaning_and_a_test(write, images):
    tested = {kind for kind, *_ in BAD_ROWS + CHECKED} | {
        "image_missing", "image_unreadable", "image_turned", "image_orientation", "image_twice", "image_size",
        "image_shape", "count", "image"}
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
