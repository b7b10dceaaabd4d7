# SPDX-License-Identifier: Apache-2.0
"""Which images are trained on: with faces, as background, or not at all."""
import json
import logging
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.errors import InputError, TrainingError
from dependency.extd.utils.augmentations import Window
from src.centerface import dataset as centerface
from src.data.training_set import TrainingImage, fingerprint, training_records
from src.retinaface import dataset as retinaface
from tests.retinaface.small_faces import write_small_faces

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


def test_turned_photographs_whose_boxes_fit_both_ways_are_counted(tmp_path, caplog):
    """Without the annotated size; where only one way is possible, or there is no orientation, nothing is said."""
    for name, orientation in (("upright", 1), ("turned", 6), ("also", 3), ("wide", 6)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.new("RGB", (80, 60)).save(tmp_path / f"{name}.jpg", exif=exif)
    (tmp_path / "label.txt").write_text("# upright.jpg\n5 5 20 20\n# turned.jpg\n5 5 20 20\n# also.jpg\n5 5 20 20\n"
                                        "# wide.jpg\n60 5 20 20\n")
    logging.getLogger("facedet").propagate = True
    assert len(training_records(tmp_path / "label.txt", tmp_path)) == 4
    (message,) = [record.getMessage() for record in caplog.records if "EXIF" in record.getMessage()]
    assert message.startswith("2 of 4 images") and "turned.jpg" in message and "--exif shown" in message


@pytest.mark.parametrize("write, name, unusable", [
    (write_label, "label.txt", 1), (write_bbx_gt, "bbx_gt.txt", 2), (write_json, "train.json", 2)])
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


@pytest.mark.parametrize("only_existing", [False, True])
def test_a_wrong_folder_is_told_from_a_set_without_faces(tmp_path, only_existing):
    (tmp_path / "images/e").mkdir(parents=True)
    (tmp_path / "images/e/a.png").touch()
    (tmp_path / "label.txt").write_text("".join(f"# e/{name}.png\n5 5 20 20\n" for name in "abcdef"))
    with pytest.raises(InputError) as error:
        training_records(tmp_path / "label.txt", tmp_path, only_existing)
    text = str(error.value)
    assert f"{tmp_path}/e/a.png" in text and f"{tmp_path}/images/e/a.png" in text and "--img_dir" in text
    assert "6 of 6" in text and "e/c.png" in text and "e/d.png" not in text and "only_existing" not in text
    with pytest.raises(InputError, match="5 of 6.*e/b.png, e/c.png, e/d.png;.*--only_existing"):
        training_records(tmp_path / "label.txt", tmp_path / "images")


def test_images_of_a_mat_may_have_any_suffix(tmp_path):
    from src.tools.make_ground_truth import main
    (tmp_path / "e").mkdir()
    (tmp_path / "e/a.PNG").touch()
    (tmp_path / "label.txt").write_text("# e/a.PNG\n5 5 20 20\n")
    assert main([str(tmp_path / "label.txt"), str(tmp_path / "gt")]) == 0
    (record,) = training_records(tmp_path / "gt/val.mat", tmp_path)
    assert record.path == "e/a.PNG"


@pytest.mark.parametrize("samples, mosaic", [
    (lambda records, folder: centerface.CenterFaceSamples(
        records, folder, centerface.Augmentation(input_size=64, mosaic=0)), False),
    (lambda records, folder: centerface.CenterFaceSamples(
        records, folder, centerface.Augmentation(input_size=64, mosaic=1)), True),
    (lambda records, folder: retinaface.RetinaFaceSamples(
        records, folder, retinaface.SampleOptions(image_size=64)), False),
    (lambda records, folder: retinaface.RetinaFaceSamples(
        records, folder, retinaface.SampleOptions(image_size=64, mosaic=1)), True)])
def test_any_error_of_a_sample_names_its_image(tmp_path, monkeypatch, samples, mosaic):
    (tmp_path / "e").mkdir()
    (tmp_path / "label.txt").write_text("# e/a.png\n5 5 20 20\n# e/b.png\n5 5 20 20\n")
    for name, value in (("a", 0), ("b", 200)):
        cv2.imwrite(str(tmp_path / f"e/{name}.png"), np.full((48, 64, 3), value, np.uint8))
    sample = samples(training_records(tmp_path / "label.txt", tmp_path), tmp_path)
    read = TrainingImage.read

    def broken(image, *args):
        if image.index == 1:
            raise cv2.error("no memory")
        return read(image, *args)

    monkeypatch.setattr(TrainingImage, "read", broken)
    for index in range(2):      # a mosaic of a.png shows b.png, too
        if index or mosaic:
            with pytest.raises(TrainingError, match="^e/b.png: error: no memory"):
                sample(index, np.random.default_rng(1))
        else:
            sample(index, np.random.default_rng(1))


def test_the_fingerprint_tells_sets_of_as_many_images_apart(tmp_path):
    records = write_small_faces(tmp_path, images=3)
    first, *rest = records
    same = fingerprint(records)
    assert len(same) == 16 and same == fingerprint(training_records(tmp_path / "label.txt", tmp_path / "images"))
    unseen = replace(first, visibility=first.visibility * 0)
    others = [replace(first, path="0--Ellipse/9.jpg"), replace(first, boxes=first.boxes + 1), unseen,
              replace(first, landmarks=first.landmarks + 1), replace(first, ignore=~first.ignore)]
    assert len({same, fingerprint([*rest, first]), *(fingerprint([other, *rest]) for other in others)}) == 7
    # What an unlabelled landmark holds does not count.
    assert fingerprint([unseen]) == fingerprint([replace(unseen, landmarks=-unseen.landmarks - 1)])


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("window, size", [
    (Window(10, 20, 40), 64), (Window(-30, -30, 500), 500), (Window(40, 20, 64), 32), (Window(40, 40, 64), 16),
    (Window(0, 0, 128), 16), (Window(110.5, -7.25, 20), 20), (Window(300, 20, 10), 10)])
def test_the_part_that_a_window_shows(tmp_path, suffix, window, size):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (121, 90), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    record = Record(f"a.{suffix}", *(np.zeros((0, *shape)) for shape in ((4,), (5, 2), (5,), ())), 90, 121)
    photograph = TrainingImage(tmp_path, record, 0)
    assert photograph.shape == (90, 121)
    part, found = photograph.read(window, size)
    factor = window.reduction(size)
    left, top = window.x / factor - found.x, window.y / factor - found.y
    whole = read_image(tmp_path / f"a.{suffix}", factor)
    np.testing.assert_array_equal(part, whole[int(top):, int(left):][:part.shape[0], :part.shape[1]])
    assert found.side == window.side / factor and left % 1 == top % 1 == 0
    assert part.size < 3 * 5 ** 2 + 3 * (window.side / factor + 6) ** 2 and part.size
