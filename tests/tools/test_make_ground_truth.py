# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record, write_coco
from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate.eval import evaluate
from dependency.evaluate.ground_truth import load_ground_truth
from dependency.evaluate.prediction_io import write_prediction, write_predictions_json
from src.evaluation.scoring import find_trees
from src.evaluation.split_images import check_folder, list_images, prediction_name
from src.tools.make_ground_truth import main, make


def record(path, *heights, ignore=()):
    boxes = np.array([[10 + 100 * i, 20, 10 + 100 * i + h * .8, 20 + h] for i, h in enumerate(heights)], np.float32)
    count = len(heights)
    return Record(path, boxes.reshape(-1, 4), np.zeros((count, 5, 2), np.float32), np.zeros((count, 5), np.uint8),
                  np.isin(np.arange(count), ignore), 200, 900)


def test_perfect_predictions_score_one_in_every_subset(tmp_path):
    records = [record("a--A/1.jpg", 100, 35, 12, 5), record("a--A/2.jpg"), record("b--B/x.y.png", 60, 60, ignore=[1])]
    assert make(records, tmp_path / "gt") == {"images": 3, "easy": 2, "medium": 3, "hard": 4}
    for each in records:
        boxes = np.rint(each.boxes)
        scores = np.linspace(0.9, 0.5, len(boxes)).astype(np.float32)
        stem = each.path.rsplit(".", 1)[0]
        faces = Faces(boxes, scores, np.zeros((len(boxes), 5, 2)))
        write_prediction(tmp_path / "pred" / f"{stem}.txt", each.path, faces)
    report = evaluate(tmp_path / "pred", tmp_path / "gt")
    assert all(value == pytest.approx(1) for value in report.ap[0.5].values())


@pytest.mark.parametrize("names", [
    ["a.jpg", "b.PNG", "c.jpeg"], ["e/a.png", "e/b.JPG", "f/c.jpeg"], ["a.png", "e/a.jpg", "2002/08/big/c.x.bmp"]])
def test_own_images_are_found_and_scored_whatever_their_suffix_and_folder(tmp_path, names):
    records = [record(name, 100, 35) for name in names]
    make(records, tmp_path / "gt")
    for name in names:
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(b"x")
    images = list_images(tmp_path / "gt", tmp_path / "images")
    assert sorted(images) == sorted(names)
    check_folder(tmp_path / "pred", images)
    found = {}
    for each in records:
        faces = Faces(np.rint(each.boxes), np.float32([0.9, 0.5]), np.zeros((2, 5, 2)))
        write_prediction(tmp_path / "pred" / prediction_name(each.path), each.path, faces)
        found[str(PurePosixPath(each.path).with_suffix(""))] = faces
    truth = load_ground_truth(tmp_path / "gt")
    assert [image.path for image in truth.images] == list(found)
    assert find_trees([tmp_path / "pred"], truth) == [tmp_path / "pred"]
    write_predictions_json(tmp_path / "pred.json", found)
    for source in (tmp_path / "pred", tmp_path / "pred.json", found):
        report = evaluate(source, truth)
        assert report.ap[0.5]["hard"] == pytest.approx(1) and not report.warnings
    check_folder(tmp_path / "pred", images)
    (tmp_path / "pred/stray.txt").write_text("0\n")
    (warning,) = evaluate(tmp_path / "pred", truth).warnings
    assert "first: stray.txt" in warning and "1 " in warning


def test_two_images_that_differ_in_their_suffix_are_refused(tmp_path):
    for pair in (["e/a.jpg", "e/a.png"], ["a.JPG", "a.jpeg"]):
        with pytest.raises(InputError, match=" and ".join(pair)):
            make([record(name, 50) for name in pair], tmp_path / "gt")
        (tmp_path / "label.txt").write_text("".join(f"# {name}\n1 2 30 40\n" for name in pair))
        for name in pair:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        with pytest.raises(InputError, match=" and ".join(pair)):
            list_images(tmp_path / "label.txt", tmp_path)
        make([record(pair[0], 50)], tmp_path / "gt")
        with pytest.raises(InputError, match=" and ".join(pair)):
            list_images(tmp_path / "gt", tmp_path)


def test_an_image_in_two_places_has_the_faces_of_both(tmp_path):
    assert make([record("e/a.jpg", 100), record("e/b.jpg"), record("e/a.jpg", 100, 60)], tmp_path)["easy"] == 2
    assert [len(image.boxes) for image in load_ground_truth(tmp_path).images] == [2, 0]


def test_boxes_of_turned_images_are_those_of_the_stored_pixels(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "e").mkdir()
    Image.fromarray(np.zeros((60, 80, 3), np.uint8)).save(tmp_path / "e/a.png", exif=exif)
    write_coco(tmp_path / "a.json", [replace(record("e/a.png", 30), height=80, width=60)])
    assert main([str(tmp_path / "a.json"), str(tmp_path / "gt"), "--image_dir", str(tmp_path)]) == 0
    assert load_ground_truth(tmp_path / "gt").images[0].boxes.tolist() == [[20, 26, 30, 24]]


def test_there_must_be_an_image_and_a_file(tmp_path):
    with pytest.raises(InputError, match="no image"):
        make([], tmp_path)
    with pytest.raises((InputError, OSError), match="absent.json"):
        main([str(tmp_path / "absent.json"), str(tmp_path)])


def test_a_link_in_the_folder_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "official.mat").write_text("official")
    (tmp_path / "gt").mkdir()
    (tmp_path / "gt" / "val.mat").symlink_to(tmp_path / "official.mat")
    make([record("a/1.jpg", 50)], tmp_path / "gt")
    assert (tmp_path / "official.mat").read_text() == "official"
    assert (tmp_path / "gt" / "val.mat").read_bytes() == (tmp_path / "gt" / "wider_face_val.mat").read_bytes()
