# SPDX-License-Identifier: Apache-2.0
"""Which images are trained on: with faces, as background, or not at all."""
import json
import logging

import pytest

from dependency.errors import InputError
from src.data.training_set import training_records

NAMES = ("face", "empty", "crowd", "flat", "twice", "twice")


def write_label(path):
    """label.txt has no word for ignored faces: crowd is empty here."""
    faces = {"face": "5 5 20 20\n", "flat": "5 5 0 20\n", "twice": "5 5 20 20\n"}
    lines = [f"# e/{name}.jpg\n{faces.get(name, '')}" for name in NAMES[:-1] if name != "crowd"]
    path.write_text("".join(lines) + "# e/twice.jpg\n")


def write_bbx_gt(path):
    faces = {"face": "5 5 20 20 0 0 0 0 0 0", "crowd": "5 5 20 20 0 0 0 1 0 0", "flat": "5 5 0 20 0 0 0 0 0 0",
             "twice": "5 5 20 20 0 0 0 0 0 0"}
    rows = [(name, faces.get(name)) for name in NAMES[:-1]] + [("twice", None)]
    path.write_text("".join(f"e/{name}.jpg\n{int(row is not None)}\n{row or ' '.join('0' * 10)}\n"
                            for name, row in rows))


def write_json(path):
    boxes = {1: [5, 5, 20, 20], 3: [5, 5, 20, 20], 4: [5, 5, 0, 20], 5: [5, 5, 20, 20]}
    path.write_text(json.dumps({
        "images": [{"id": number, "file_name": f"e/{name}.jpg", "height": 48, "width": 64}
                   for number, name in enumerate(NAMES, 1)],
        "annotations": [{"id": image, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": int(image == 3)}
                        for image, box in boxes.items()]}))


@pytest.mark.parametrize("write, name, unusable", [
    (write_label, "label.txt", 2), (write_bbx_gt, "bbx_gt.txt", 3), (write_json, "train.json", 3)])
def test_images_without_a_face_are_background_where_asked_for(tmp_path, caplog, write, name, unusable):
    """But none whose faces are all ignored or without area, nor one that shows faces elsewhere in the file."""
    for image in NAMES:
        (tmp_path / "e").mkdir(exist_ok=True)
        (tmp_path / f"e/{image}.jpg").touch()
    write(tmp_path / name)
    caplog.set_level(logging.INFO, "facedet")
    logging.getLogger("facedet").propagate = True
    assert [record.path for record in training_records(tmp_path / name, tmp_path)] == ["e/face.jpg", "e/twice.jpg"]
    assert "1 images without a face are left out; --background_images" in caplog.text
    assert f"{unusable} images are left out" in caplog.text and "Loaded train 2 samples" in caplog.text
    caplog.clear()
    records = training_records(tmp_path / name, tmp_path, background_images=True)
    assert [record.path for record in records] == ["e/face.jpg", "e/empty.jpg", "e/twice.jpg"]
    assert "1 images without a face are background" in caplog.text and "Loaded train 3 samples" in caplog.text


def test_background_alone_is_nothing_to_train_on(tmp_path):
    (tmp_path / "e").mkdir()
    (tmp_path / "e/empty.jpg").touch()
    (tmp_path / "label.txt").write_text("# e/empty.jpg\n")
    with pytest.raises(InputError, match="no image with a face"):
        training_records(tmp_path / "label.txt", tmp_path, background_images=True)
